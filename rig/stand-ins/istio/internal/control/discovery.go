package control

import (
	"encoding/json"
	"log"
	"net/http"
	"time"

	"ztlab.rig/istio/internal/authority"
	"ztlab.rig/istio/internal/proxyconfig"
	"ztlab.rig/istio/internal/wire"
)

// holdFor is how long a proxy's question stays open when there is nothing new.
const holdFor = 10 * time.Second

// maximumRequest bounds what a proxy may send; a certificate request is about 500 bytes.
const maximumRequest = 64 << 10

// Discovery answers the proxies: who they are and what they should do.
type Discovery struct {
	authority *authority.Authority
	reviewer  *Reviewer
	store     *Store
	proxies   *Proxies
}

// Handler has the paths of port 15012.
func (discovery *Discovery) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(wire.CertificatePath, discovery.certificate)
	mux.HandleFunc(wire.ConfigurationPath, discovery.configuration)
	return mux
}

func (discovery *Discovery) certificate(writer http.ResponseWriter, request *http.Request) {
	var asked wire.CertificateRequest
	caller, ok := discovery.accept(writer, request, &asked)
	if !ok {
		return
	}
	certificate, err := discovery.authority.SignWorkload([]byte(asked.Request), caller.Identity())
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	log.Printf("signed %s for pod %s", caller.Identity(), caller.Pod)
	reply(writer, wire.CertificateReply{Certificate: string(certificate), Root: string(discovery.authority.Root())})
}

func (discovery *Discovery) configuration(writer http.ResponseWriter, request *http.Request) {
	var asked wire.ConfigurationRequest
	caller, ok := discovery.accept(writer, request, &asked)
	if !ok {
		return
	}
	discovery.proxies.Acked(caller, asked)
	deadline := time.NewTimer(holdFor)
	defer deadline.Stop()
	for {
		snapshot, changed := discovery.store.Snapshot()
		workload, found := snapshot.WorkloadNamed(caller.Namespace, caller.Pod)
		if found {
			configuration, err := proxyconfig.Build(snapshot, workload, asked.Kind)
			if err != nil {
				http.Error(writer, err.Error(), http.StatusInternalServerError)
				return
			}
			// Also when the proxy has it already: an istiod that was restarted knows nothing of what the last one sent.
			discovery.proxies.Sent(caller, configuration)
			if configuration.Version() != asked.Has {
				reply(writer, wire.ConfigurationReply{Configuration: configuration})
				return
			}
		}
		// A pod that just got its address is not in the snapshot yet: it waits like one for which nothing is new.
		select {
		case <-changed:
		case <-request.Context().Done():
			return
		case <-deadline.C:
			writer.WriteHeader(http.StatusNoContent)
			return
		}
	}
}

// accept reads the request and finds out who sent it; when it cannot, it has answered already.
func (discovery *Discovery) accept(writer http.ResponseWriter, request *http.Request, into any) (Caller, bool) {
	caller, err := discovery.reviewer.Caller(request)
	if err != nil {
		log.Printf("refused %s: %v", request.RemoteAddr, err)
		http.Error(writer, err.Error(), http.StatusUnauthorized)
		return Caller{}, false
	}
	body := http.MaxBytesReader(writer, request.Body, maximumRequest)
	if err := json.NewDecoder(body).Decode(into); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return Caller{}, false
	}
	return caller, true
}

func reply(writer http.ResponseWriter, value any) {
	writer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(writer).Encode(value); err != nil {
		log.Printf("answering: %v", err)
	}
}
