// Package proxyconfig writes the Envoy configuration of one proxy from a snapshot of the mesh.
//
// A proxy gets two lists, listeners and clusters. Routes travel inside the listeners and endpoints inside the clusters,
// although Envoy could watch a file for each: a watched file costs an inotify instance, all proxies of a node run as one
// user, and the kernel gives a user 128 of them.
package proxyconfig

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/mesh"
)

// Kind is what a proxy does.
type Kind string

const (
	// Sidecar stands before one app and carries its traffic in both directions.
	Sidecar Kind = "sidecar"
	// Router is a gateway: it has no app, only the ports that Gateway objects open.
	Router Kind = "router"
)

// Configuration is what a proxy gets. A version is a hash of its list, so the same mesh gives the same version.
type Configuration struct {
	Listeners        envoy.List `json:"listeners"`
	ListenersVersion string     `json:"listenersVersion"`
	Clusters         envoy.List `json:"clusters"`
	ClustersVersion  string     `json:"clustersVersion"`
	HasRoutes        bool       `json:"hasRoutes"`
}

// Version changes whenever anything in the configuration does.
func (configuration Configuration) Version() string {
	return configuration.ClustersVersion + "/" + configuration.ListenersVersion
}

// Build makes the configuration of one workload's proxy.
func Build(snapshot *mesh.Snapshot, workload mesh.Workload, kind Kind) (Configuration, error) {
	configuration := Configuration{Clusters: serviceClusters(snapshot)}
	if kind == Sidecar {
		configuration.Listeners = envoy.List{inboundListener(snapshot, workload), outboundListener(snapshot, workload)}
		configuration.Clusters = append(configuration.Clusters, inboundCluster(), passthroughCluster())
	} else {
		configuration.Listeners = gatewayListeners(snapshot, workload)
	}
	configuration.HasRoutes = len(configuration.Listeners) > 0
	var err error
	if configuration.ListenersVersion, err = version(configuration.Listeners); err != nil {
		return Configuration{}, err
	}
	configuration.ClustersVersion, err = version(configuration.Clusters)
	return configuration, err
}

// version has the form of a UUID because that is how the real Istio's nonces look.
func version(resources envoy.List) (string, error) {
	text, err := json.Marshal(resources)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]), nil
}
