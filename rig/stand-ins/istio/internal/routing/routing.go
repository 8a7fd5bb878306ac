// Package routing turns VirtualServices into Envoy's virtual hosts.
package routing

import (
	"sort"
	"strings"
	"time"

	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/names"
)

// MeshGateway is the name by which a VirtualService means the sidecars.
const MeshGateway = "mesh"

// ClusterName is the name of the cluster for a Service's port, as in the real Istio.
func ClusterName(port int, host string) string {
	return "outbound|" + itoa(port) + "||" + host
}

// FullHost is a destination's full name: one without a dot is a Service of the given namespace, and the shorter forms
// that Kubernetes resolves (name.namespace, name.namespace.svc) are completed.
func FullHost(host, namespace string) string {
	parts := strings.Split(host, ".")
	switch {
	case len(parts) == 1:
		return names.ServiceHost(host, namespace)
	case len(parts) == 2, len(parts) == 3 && parts[2] == "svc":
		return names.ServiceHost(parts[0], parts[1])
	default:
		return host
	}
}

// Table has the routes of each domain.
type Table map[string]envoy.List

// AddGateway adds the routes of one server of a gateway, from the VirtualServices that name the gateway.
func (table Table) AddGateway(snapshot *mesh.Snapshot, gateway mesh.Gateway, server mesh.Server) {
	for _, service := range byAge(snapshot.VirtualServices) {
		if !namesGateway(service, gateway) {
			continue
		}
		for _, serverHost := range server.Hosts {
			for _, host := range service.Spec.Hosts {
				if domain, ok := intersection(withoutNamespace(serverHost), host); ok {
					table[domain] = append(table[domain], Routes(snapshot, service)...)
				}
			}
		}
	}
}

// VirtualHosts makes one virtual host of each domain: Envoy refuses a domain that two of them have.
func (table Table) VirtualHosts() envoy.List {
	hosts := envoy.List{}
	for _, domain := range sortedKeys(table) {
		hosts = append(hosts, envoy.Object{"name": domain, "domains": envoy.List{domain}, "routes": table[domain]})
	}
	return hosts
}

// ForService makes the routes of a Service's port for the callers inside the mesh: those of a VirtualService that names
// the Service as a host, or the plain way to the Service.
func ForService(snapshot *mesh.Snapshot, service mesh.Service, port mesh.Port) envoy.List {
	for _, candidate := range byAge(snapshot.VirtualServices) {
		if !forSidecars(candidate) {
			continue
		}
		for _, host := range candidate.Spec.Hosts {
			if FullHost(host, candidate.Namespace) == service.Host() {
				return Routes(snapshot, candidate)
			}
		}
	}
	return envoy.List{envoy.Object{
		"match": envoy.Object{"prefix": "/"},
		"route": envoy.Object{"cluster": ClusterName(port.Number, service.Host()), "timeout": "0s"},
	}}
}

// Routes makes Envoy's routes from a VirtualService, in its order.
func Routes(snapshot *mesh.Snapshot, service mesh.VirtualService) envoy.List {
	routes := envoy.List{}
	for _, route := range service.Spec.HTTP {
		action := routeAction(snapshot, service.Namespace, route)
		matches := route.Match
		if len(matches) == 0 {
			matches = []mesh.HTTPMatch{{}}
		}
		for _, match := range matches {
			routes = append(routes, envoy.Object{"match": routeMatch(match), "route": withRewrite(action, route, match)})
		}
	}
	return routes
}

func routeAction(snapshot *mesh.Snapshot, namespace string, route mesh.HTTPRoute) envoy.Object {
	action := envoy.Object{"timeout": "0s"}
	if route.Timeout != "" {
		if duration, err := time.ParseDuration(route.Timeout); err == nil {
			action["timeout"] = seconds(duration)
		}
	}
	if len(route.Route) == 1 {
		action["cluster"] = destinationCluster(snapshot, namespace, route.Route[0].Destination)
		return action
	}
	weighted := envoy.List{}
	for _, destination := range route.Route {
		weighted = append(weighted, envoy.Object{
			"name":   destinationCluster(snapshot, namespace, destination.Destination),
			"weight": destination.Weight,
		})
	}
	action["weighted_clusters"] = envoy.Object{"clusters": weighted}
	return action
}

func routeMatch(match mesh.HTTPMatch) envoy.Object {
	switch {
	case match.URI == nil:
		return envoy.Object{"prefix": "/"}
	case match.URI.Exact != "":
		return envoy.Object{"path": match.URI.Exact}
	case match.URI.Regex != "":
		return envoy.Regex(match.URI.Regex)
	case match.URI.Prefix != "":
		return envoy.Object{"prefix": match.URI.Prefix}
	default:
		return envoy.Object{"prefix": "/"}
	}
}

// withRewrite replaces what the match found at the beginning of the path.
func withRewrite(action envoy.Object, route mesh.HTTPRoute, match mesh.HTTPMatch) envoy.Object {
	if route.Rewrite == nil {
		return action
	}
	rewritten := envoy.Object{}
	for key, value := range action {
		rewritten[key] = value
	}
	if match.URI != nil && match.URI.Regex != "" {
		rewritten["regex_rewrite"] = envoy.Object{
			"pattern": envoy.Object{"regex": match.URI.Regex}, "substitution": route.Rewrite.URI,
		}
	} else {
		rewritten["prefix_rewrite"] = route.Rewrite.URI
	}
	return rewritten
}

// destinationCluster names the destination's cluster. Without a port the Service's only port is meant.
// A Service that does not exist gets a name too: Envoy answers 503 for it until the Service appears.
func destinationCluster(snapshot *mesh.Snapshot, namespace string, destination mesh.Destination) string {
	host := FullHost(destination.Host, namespace)
	if destination.Port != nil {
		return ClusterName(destination.Port.Number, host)
	}
	if service, found := snapshot.ServiceNamed(host); found && len(service.Ports) == 1 {
		return ClusterName(service.Ports[0].Number, host)
	}
	return ClusterName(0, host)
}

func namesGateway(service mesh.VirtualService, gateway mesh.Gateway) bool {
	for _, name := range service.Spec.Gateways {
		namespace, short, qualified := strings.Cut(name, "/")
		if !qualified {
			namespace, short = service.Namespace, name
		}
		if namespace == gateway.Namespace && short == gateway.Name {
			return true
		}
	}
	return false
}

func forSidecars(service mesh.VirtualService) bool {
	if len(service.Spec.Gateways) == 0 {
		return true
	}
	for _, name := range service.Spec.Gateways {
		if name == MeshGateway {
			return true
		}
	}
	return false
}

// intersection is the narrower of two host patterns, when one covers the other.
func intersection(first, second string) (string, bool) {
	switch {
	case covers(first, second):
		return second, true
	case covers(second, first):
		return first, true
	default:
		return "", false
	}
}

func covers(pattern, host string) bool {
	if pattern == "*" || pattern == host {
		return true
	}
	suffix, isWildcard := strings.CutPrefix(pattern, "*")
	return isWildcard && strings.HasSuffix(host, suffix)
}

// withoutNamespace drops the "namespace/" that a gateway's host may begin with.
func withoutNamespace(host string) string {
	if _, name, qualified := strings.Cut(host, "/"); qualified {
		return name
	}
	return host
}

func byAge(services []mesh.VirtualService) []mesh.VirtualService {
	sorted := append([]mesh.VirtualService(nil), services...)
	sort.SliceStable(sorted, func(left, right int) bool { return sorted[left].Created.Before(sorted[right].Created) })
	return sorted
}
