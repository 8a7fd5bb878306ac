// Package health answers the kubelet's probes the way the Calico components do: HTTP on the loopback address, with
// /liveness and /readiness.
package health

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Addresses of the components. Those of calico-node and typha are in the probes that the operator writes; nothing but
// its own check-status command asks kube-controllers.
const (
	NodeAddress            = "127.0.0.1:9099"
	TyphaAddress           = "127.0.0.1:9098"
	KubeControllersAddress = "127.0.0.1:9094"
)

// State is whether a component is ready. A new one is not; the error says why.
type State struct {
	mutex  sync.Mutex
	reason error
}

// NewState returns a state that is not ready for the given reason.
func NewState(reason error) *State {
	return &State{reason: reason}
}

// Set makes the component ready when the reason is nil.
func (state *State) Set(reason error) {
	state.mutex.Lock()
	defer state.mutex.Unlock()
	state.reason = reason
}

func (state *State) get() error {
	state.mutex.Lock()
	defer state.mutex.Unlock()
	return state.reason
}

// Serve answers probes until listening fails.
func Serve(address string, state *State) error {
	handler := http.NewServeMux()
	handler.HandleFunc("/liveness", func(http.ResponseWriter, *http.Request) {})
	handler.HandleFunc("/readiness", func(response http.ResponseWriter, _ *http.Request) {
		if reason := state.get(); reason != nil {
			http.Error(response, reason.Error(), http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

// Ask is the other end, for probes that run a command in the container. It fails with what the component answered.
func Ask(address, path string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %s", response.Status, body)
}
