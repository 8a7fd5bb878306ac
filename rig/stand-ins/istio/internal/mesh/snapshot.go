// Package mesh is the cluster as the mesh sees it: workloads, services and the policies about them, as plain values.
// Everything that turns them into a proxy's configuration is a pure function of a Snapshot.
package mesh

import (
	"strings"

	"ztlab.rig/istio/internal/names"
)

// Workload is a pod.
type Workload struct {
	Name           string
	Namespace      string
	ServiceAccount string
	Address        string
	Labels         map[string]string
}

// Identity is what the workload's certificate says.
func (workload Workload) Identity() string {
	return names.Identity(workload.Namespace, workload.ServiceAccount)
}

// Meshed says whether the workload's proxy answers mutual TLS.
func (workload Workload) Meshed() bool {
	return workload.Labels[names.TLSModeLabel] == "istio"
}

// Service is a Kubernetes Service with a cluster address.
type Service struct {
	Name      string
	Namespace string
	ClusterIP string
	Selector  map[string]string
	Ports     []Port
}

// Picks says whether the workload is one of those behind the Service, ready or not.
func (service Service) Picks(workload Workload) bool {
	return service.Namespace == workload.Namespace && len(service.Selector) > 0 && hasAll(workload.Labels, service.Selector)
}

// Host is the Service's full name.
func (service Service) Host() string {
	return names.ServiceHost(service.Name, service.Namespace)
}

// Port is one TCP port of a Service with the addresses behind it. TargetPort is 0 when it is given by name.
type Port struct {
	Name        string
	Number      int
	TargetPort  int
	AppProtocol string
	Endpoints   []Endpoint
}

// Endpoint is one ready address behind a port.
type Endpoint struct {
	Address string
	Port    int
}

// SpeaksHTTP says whether a proxy should read requests on this port. As in Istio, the port's name tells the protocol
// by its first word; a name that tells nothing leaves it to looking at the first bytes.
func (port Port) SpeaksHTTP() bool {
	protocol := port.AppProtocol
	if protocol == "" {
		protocol, _, _ = strings.Cut(port.Name, "-")
	}
	switch strings.ToLower(protocol) {
	case "tcp", "tls", "https", "mongo", "mysql", "redis", "udp":
		return false
	default:
		return true
	}
}

// Snapshot is everything that proxies' configurations are made from.
type Snapshot struct {
	Workloads             []Workload
	Services              []Service
	PeerAuthentications   []PeerAuthentication
	AuthorizationPolicies []AuthorizationPolicy
	Gateways              []Gateway
	VirtualServices       []VirtualService
}

// WorkloadAt finds the workload with an address.
func (snapshot *Snapshot) WorkloadAt(address string) (Workload, bool) {
	for _, workload := range snapshot.Workloads {
		if workload.Address == address {
			return workload, true
		}
	}
	return Workload{}, false
}

// WorkloadNamed finds the workload with a name.
func (snapshot *Snapshot) WorkloadNamed(namespace, name string) (Workload, bool) {
	for _, workload := range snapshot.Workloads {
		if workload.Namespace == namespace && workload.Name == name {
			return workload, true
		}
	}
	return Workload{}, false
}

// ServiceNamed finds the Service with a full name.
func (snapshot *Snapshot) ServiceNamed(host string) (Service, bool) {
	for _, service := range snapshot.Services {
		if service.Host() == host {
			return service, true
		}
	}
	return Service{}, false
}
