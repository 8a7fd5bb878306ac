// mesh-probe is the app and the caller of check.sh; no lab has it.
//
//	mesh-probe serve :PORT                        answers each request with what it saw of it
//	mesh-probe get [-X METHOD] [-H K:V] [-0] URL  asks once, prints the status and the body, or what went wrong
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// patience is above the time after which a proxy gives up on a silent peer.
const patience = 20 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: mesh-probe serve ADDRESS | get URL")
	}
	switch arguments[0] {
	case "serve":
		return serve(arguments[1])
	case "get":
		return get(arguments[1:])
	default:
		return fmt.Errorf("unknown command %q", arguments[0])
	}
}

func serve(address string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	log.Printf("%s serves on %s", name, address)
	return http.ListenAndServe(address, http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(writer, "%s saw %s %s from %s; certificate %q\n", name, request.Method, request.URL.Path,
			strings.Split(request.RemoteAddr, ":")[0], request.Header.Values("X-Forwarded-Client-Cert"))
	}))
}

func get(arguments []string) error {
	flags := pflag.NewFlagSet("get", pflag.ContinueOnError)
	method := flags.StringP("request", "X", http.MethodGet, "method")
	headers := flags.StringArrayP("header", "H", nil, "header")
	old := flags.BoolP("http1.0", "0", false, "speak HTTP/1.0")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	request, err := http.NewRequest(*method, flags.Arg(0), nil)
	if err != nil {
		return err
	}
	for _, header := range *headers {
		name, value, _ := strings.Cut(header, ":")
		request.Header.Set(name, strings.TrimSpace(value))
	}
	started := time.Now()
	response, err := send(request, *old)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Printf("%d in %.1f s: %s\n", response.StatusCode, time.Since(started).Seconds(), strings.TrimSpace(string(body)))
	return err
}

func send(request *http.Request, old bool) (*http.Response, error) {
	if !old {
		client := http.Client{Timeout: patience}
		return client.Do(request)
	}
	host := request.URL.Host
	if request.URL.Port() == "" {
		host += ":80"
	}
	connection, err := net.DialTimeout("tcp", host, patience)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(connection, "%s %s HTTP/1.0\r\nHost: %s\r\n\r\n", request.Method, request.URL.Path, request.URL.Host)
	return http.ReadResponse(bufio.NewReader(connection), request)
}
