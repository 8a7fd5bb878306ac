package control

import (
	"net/http"
	"sort"
	"sync"

	"ztlab.rig/istio/internal/names"
	"ztlab.rig/istio/internal/proxyconfig"
	"ztlab.rig/istio/internal/wire"
)

// Proxies remembers what was sent to each proxy and what it accepted.
type Proxies struct {
	mutex sync.Mutex
	known map[Caller]proxyState
}

type proxyState struct {
	kind  proxyconfig.Kind
	sent  proxyconfig.Configuration
	acked wire.Acked
}

// NewProxies knows no proxy yet.
func NewProxies() *Proxies { return &Proxies{known: map[Caller]proxyState{}} }

// Acked notes what a proxy's Envoy has in use.
func (proxies *Proxies) Acked(caller Caller, request wire.ConfigurationRequest) {
	proxies.mutex.Lock()
	defer proxies.mutex.Unlock()
	state := proxies.known[caller]
	state.kind, state.acked = request.Kind, request.Acked
	proxies.known[caller] = state
}

// Sent notes what a proxy was given.
func (proxies *Proxies) Sent(caller Caller, configuration proxyconfig.Configuration) {
	proxies.mutex.Lock()
	defer proxies.mutex.Unlock()
	state := proxies.known[caller]
	state.sent = configuration
	proxies.known[caller] = state
}

// syncState is one entry of /debug/syncz, with the names that istioctl proxy-status reads.
type syncState struct {
	ClusterID     string `json:"cluster_id"`
	Proxy         string `json:"proxy"`
	ProxyType     string `json:"proxy_type"`
	Version       string `json:"istio_version"`
	ClusterSent   string `json:"cluster_sent,omitempty"`
	ClusterAcked  string `json:"cluster_acked,omitempty"`
	ListenerSent  string `json:"listener_sent,omitempty"`
	ListenerAcked string `json:"listener_acked,omitempty"`
	RouteSent     string `json:"route_sent,omitempty"`
	RouteAcked    string `json:"route_acked,omitempty"`
	EndpointSent  string `json:"endpoint_sent,omitempty"`
	EndpointAcked string `json:"endpoint_acked,omitempty"`
}

// Syncz answers /debug/syncz. Routes travel inside the listeners and endpoints inside the clusters, so they share their
// versions; a proxy without listeners has no routes to report.
func (proxies *Proxies) Syncz(store *Store) http.HandlerFunc {
	return func(writer http.ResponseWriter, _ *http.Request) {
		snapshot, _ := store.Snapshot()
		proxies.mutex.Lock()
		defer proxies.mutex.Unlock()
		states := []syncState{}
		for caller, state := range proxies.known {
			if _, alive := snapshot.WorkloadNamed(caller.Namespace, caller.Pod); !alive {
				delete(proxies.known, caller)
				continue
			}
			states = append(states, describe(caller, state))
		}
		sort.Slice(states, func(left, right int) bool { return states[left].Proxy < states[right].Proxy })
		reply(writer, states)
	}
}

func describe(caller Caller, state proxyState) syncState {
	described := syncState{
		ClusterID:     names.ClusterID,
		Proxy:         caller.Pod + "." + caller.Namespace,
		ProxyType:     string(state.kind),
		Version:       names.Version,
		ClusterSent:   state.sent.ClustersVersion,
		ClusterAcked:  state.acked.Clusters,
		ListenerSent:  state.sent.ListenersVersion,
		ListenerAcked: state.acked.Listeners,
		EndpointSent:  state.sent.ClustersVersion,
		EndpointAcked: state.acked.Clusters,
	}
	if state.sent.HasRoutes {
		described.RouteSent, described.RouteAcked = state.sent.ListenersVersion, state.acked.Listeners
	}
	return described
}
