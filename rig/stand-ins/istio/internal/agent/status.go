package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ztlab.rig/istio/internal/inject"
	"ztlab.rig/istio/internal/names"
)

// status answers on port 15020, which is never redirected: readiness, the app's probes, and statistics.
type status struct {
	settings Settings
	admin    *admin
	counter  *requestCounter
	probers  map[string]inject.Prober
}

func newStatus(settings Settings, admin *admin, counter *requestCounter) (*status, error) {
	status := &status{settings: settings, admin: admin, counter: counter, probers: map[string]inject.Prober{}}
	if settings.Probers == "" {
		return status, nil
	}
	if err := json.Unmarshal([]byte(settings.Probers), &status.probers); err != nil {
		return nil, fmt.Errorf("ISTIO_KUBE_APP_PROBERS: %w", err)
	}
	return status, nil
}

func (status *status) listen() error {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz/ready", status.ready)
	mux.HandleFunc("/stats/prometheus", status.statistics)
	mux.HandleFunc("/app-health/", status.appHealth)
	server := http.Server{Addr: fmt.Sprintf(":%d", names.AgentPort), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

func (status *status) ready(writer http.ResponseWriter, request *http.Request) {
	if !status.admin.live(request.Context()) {
		http.Error(writer, "envoy is not live", http.StatusServiceUnavailable)
	}
}

func (status *status) statistics(writer http.ResponseWriter, request *http.Request) {
	body, err := status.admin.get(request.Context(), http.MethodGet, "/stats/prometheus")
	if err != nil {
		http.Error(writer, err.Error(), http.StatusServiceUnavailable)
		return
	}
	writer.Header().Set("Content-Type", "text/plain; version=0.0.4")
	if _, err := io.WriteString(writer, body+status.counter.text()); err != nil {
		log.Printf("answering with statistics: %v", err)
	}
}

// appHealth does a probe in the kubelet's place.
func (status *status) appHealth(writer http.ResponseWriter, request *http.Request) {
	prober, known := status.probers[request.URL.Path]
	if !known {
		http.NotFound(writer, request)
		return
	}
	timeout := time.Duration(max(prober.TimeoutSeconds, 1)) * time.Second
	if err := status.probe(request, prober, timeout); err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
	}
}

// probe calls the app from the address that the redirection lets pass: the call would otherwise go through the proxy's
// own inbound side, which refuses it.
func (status *status) probe(request *http.Request, prober inject.Prober, timeout time.Duration) error {
	dialer := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(names.InboundSource)}}
	if prober.TCPSocket != nil {
		connection, err := dialer.DialContext(request.Context(), "tcp", status.appAddress(prober.TCPSocket.Port.IntValue()))
		if err != nil {
			return err
		}
		return connection.Close()
	}
	get := prober.HTTPGet
	scheme := strings.ToLower(string(get.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	address := fmt.Sprintf("%s://%s%s", scheme, status.appAddress(get.Port.IntValue()), "/"+strings.TrimPrefix(get.Path, "/"))
	forwarded, err := http.NewRequestWithContext(request.Context(), http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	for _, header := range get.HTTPHeaders {
		forwarded.Header.Add(header.Name, header.Value)
		if strings.EqualFold(header.Name, "Host") {
			forwarded.Host = header.Value
		}
	}
	client := http.Client{Timeout: timeout, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	response, err := client.Do(forwarded)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("the app answered %s", response.Status)
	}
	return nil
}

func (status *status) appAddress(port int) string {
	return net.JoinHostPort(status.settings.Address, strconv.Itoa(port))
}
