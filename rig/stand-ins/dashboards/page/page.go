// Package page serves what a dashboard's manifest asks of its container: an answer to the probes
// and one page. It says plainly that the dashboard itself is not there.
package page

import (
	"context"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Dashboard describes one stand-in by what its manifest expects.
type Dashboard struct {
	Name       string
	Version    string
	Root       string // path of the page; "/" is sent there
	HealthPath string // what the probes ask
	Health     string // body of the answer, in the real program's words
	HealthType string // its content type
	Shows      string // what the real program would show here
}

const shutdownGrace = 2 * time.Second

var document = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Name}} (stand-in)</title></head>
<body><h1>{{.Name}} {{.Version}} (stand-in)</h1>
<p>This is the rig's stand-in for {{.Name}}. It answers the probes of the real manifest and shows this page, nothing else.</p>
<p>The real {{.Name}} would show {{.Shows}}</p></body></html>
`))

// Handler answers the probes, the page, and sends "/" to the page. Anything else is not found.
func (dashboard Dashboard) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(dashboard.HealthPath, func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Type", dashboard.HealthType)
		fmt.Fprint(response, dashboard.Health)
	})
	mux.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		switch request.URL.Path {
		case dashboard.Root, dashboard.Root + "/":
			response.Header().Set("Content-Type", "text/html; charset=utf-8")
			if err := document.Execute(response, dashboard); err != nil {
				log.Printf("page not written: %v", err)
			}
		case "/":
			http.Redirect(response, request, dashboard.Root, http.StatusFound)
		default:
			http.NotFound(response, request)
		}
	})
	return mux
}

// Metrics answers a Prometheus scrape with one series that names the stand-in.
func (dashboard Dashboard) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(response, "# TYPE rig_stand_in gauge\nrig_stand_in{name=%q} 1\n", dashboard.Name)
	})
	return mux
}

// Serve listens on every address until the pod is told to end. A port that cannot be had ends the program at once,
// so that the kubelet shows it instead of a probe that never answers.
func Serve(handlers map[string]http.Handler) {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	var running sync.WaitGroup
	for address, handler := range handlers {
		server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
		running.Add(1)
		go func() {
			defer running.Done()
			if err := server.ListenAndServe(); err != http.ErrServerClosed {
				log.Fatalf("cannot serve on %s: %v", address, err)
			}
		}()
		context.AfterFunc(stop, func() {
			grace, end := context.WithTimeout(context.Background(), shutdownGrace)
			defer end()
			if err := server.Shutdown(grace); err != nil {
				log.Printf("connections on %s were still open: %v", address, err)
			}
		})
		log.Printf("listening on %s", address)
	}
	running.Wait()
}
