package proxyconfig

import (
	"fmt"
	"sort"

	"ztlab.rig/istio/internal/authentication"
	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/routing"
)

// connectTimeout is how long a peer may stay silent, for example because a network policy drops the packets. Then Envoy
// answers 503. The real Istio also tries again after some failures; no attempt is repeated here.
const connectTimeout = "10s"

// serviceClusters has one cluster for each port that speaks HTTP.
func serviceClusters(snapshot *mesh.Snapshot) envoy.List {
	clusters := envoy.List{}
	for _, service := range snapshot.Services {
		for _, port := range service.Ports {
			if port.SpeaksHTTP() {
				clusters = append(clusters, serviceCluster(snapshot, service, port))
			}
		}
	}
	return clusters
}

// serviceCluster reaches the pods of a Service: those with a proxy that accepts mutual TLS by it, the others in plaintext.
func serviceCluster(snapshot *mesh.Snapshot, service mesh.Service, port mesh.Port) envoy.Object {
	name := routing.ClusterName(port.Number, service.Host())
	endpoints, identities := endpoints(snapshot, port)
	cluster := envoy.Object{
		"name":            name,
		"type":            "STATIC",
		"connect_timeout": connectTimeout,
		"load_assignment": envoy.Object{
			"cluster_name": name,
			"endpoints":    envoy.List{envoy.Object{"lb_endpoints": endpoints}},
		},
	}
	if len(identities) > 0 {
		serverName := fmt.Sprintf("outbound_.%d_._.%s", port.Number, service.Host())
		cluster["transport_socket_matches"] = envoy.List{
			envoy.Object{
				"name":             "mutual-tls",
				"match":            envoy.Object{"tlsMode": "istio"},
				"transport_socket": clientTLS(serverName, identities),
			},
			envoy.Object{
				"name":  "plaintext",
				"match": envoy.Object{},
				"transport_socket": envoy.Extension("envoy.transport_sockets.raw_buffer",
					"envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", nil),
			},
		}
	}
	return envoy.Typed("envoy.config.cluster.v3.Cluster", cluster)
}

// endpoints lists the addresses behind a port, and the identities of those that are spoken to by mutual TLS.
func endpoints(snapshot *mesh.Snapshot, port mesh.Port) (envoy.List, []string) {
	addresses := envoy.List{}
	identities := map[string]bool{}
	for _, endpoint := range port.Endpoints {
		described := envoy.Object{
			"endpoint": envoy.Object{"address": envoy.Address(endpoint.Address, endpoint.Port)},
		}
		if workload, found := snapshot.WorkloadAt(endpoint.Address); found && acceptsMutualTLS(snapshot, workload) {
			described["metadata"] = envoy.Object{"filter_metadata": envoy.Object{
				"envoy.transport_socket_match": envoy.Object{"tlsMode": "istio"},
			}}
			identities[workload.Identity()] = true
		}
		addresses = append(addresses, described)
	}
	sorted := make([]string, 0, len(identities))
	for identity := range identities {
		sorted = append(sorted, identity)
	}
	sort.Strings(sorted)
	return addresses, sorted
}

func acceptsMutualTLS(snapshot *mesh.Snapshot, workload mesh.Workload) bool {
	return workload.Meshed() &&
		authentication.Resolve(snapshot.PeerAuthentications, workload) != authentication.Disable
}

// passthroughCluster goes to the address that the app wanted.
func passthroughCluster() envoy.Object {
	return envoy.Typed("envoy.config.cluster.v3.Cluster", envoy.Object{
		"name":            passthroughClusterName,
		"type":            "ORIGINAL_DST",
		"lb_policy":       "CLUSTER_PROVIDED",
		"connect_timeout": connectTimeout,
	})
}
