package proxyconfig

import (
	"sort"
	"strconv"

	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/names"
	"ztlab.rig/istio/internal/routing"
)

const passthroughClusterName = "PassthroughCluster"

// outboundListener takes everything that the app sends. What looks like HTTP and goes to a port that some Service has is
// routed by its Host header, wherever it was going; all the rest goes on to where it was going, as it is.
func outboundListener(snapshot *mesh.Snapshot, workload mesh.Workload) envoy.Object {
	chains := envoy.List{}
	for _, port := range httpPorts(snapshot) {
		chains = append(chains, envoy.Object{
			"name": strconv.Itoa(port),
			"filter_chain_match": envoy.Object{
				"destination_port":      port,
				"application_protocols": envoy.List{"http/1.0", "http/1.1", "h2c"},
			},
			"filters": envoy.List{connectionManager(httpSettings{
				statPrefix: "outbound_" + strconv.Itoa(port),
				reporter:   reporterSource,
				hosts:      outboundHosts(snapshot, workload, port),
			})},
		})
	}
	return envoy.Typed("envoy.config.listener.v3.Listener", envoy.Object{
		"name":              "virtualOutbound",
		"traffic_direction": "OUTBOUND",
		"address":           envoy.Address("127.0.0.1", names.OutboundPort),
		"listener_filters": envoy.List{
			originalDestination(),
			listenerFilter("http_inspector", "http_inspector.v3.HttpInspector"),
		},
		// A protocol in which the server speaks first never shows its first bytes: after this time it is carried on as it is.
		"listener_filters_timeout":             "5s",
		"continue_on_listener_filters_timeout": true,
		"filter_chains":                        append(chains, withoutLoop(names.OutboundPort)),
		"default_filter_chain": envoy.Object{
			"name": passthroughClusterName, "filters": envoy.List{passBytes(passthroughClusterName)},
		},
	})
}

func httpPorts(snapshot *mesh.Snapshot) []int {
	seen := map[int]bool{}
	ports := []int{}
	for _, service := range snapshot.Services {
		for _, port := range service.Ports {
			if port.SpeaksHTTP() && !seen[port.Number] {
				seen[port.Number] = true
				ports = append(ports, port.Number)
			}
		}
	}
	sort.Ints(ports)
	return ports
}

// outboundHosts has one virtual host for each Service with the port, under every name that an app may call it by.
// An unknown host goes on to where it was going, in plaintext.
func outboundHosts(snapshot *mesh.Snapshot, workload mesh.Workload, number int) envoy.List {
	hosts := envoy.List{}
	for _, service := range snapshot.Services {
		for _, port := range service.Ports {
			if port.Number != number || !port.SpeaksHTTP() {
				continue
			}
			hosts = append(hosts, envoy.Object{
				"name":    service.Host() + ":" + strconv.Itoa(number),
				"domains": serviceNames(service, workload.Namespace),
				"routes":  routing.ForService(snapshot, service, port),
			})
		}
	}
	return append(hosts, envoy.Object{
		"name": "allow_any", "domains": envoy.List{"*"},
		"routes": envoy.List{envoy.Object{
			"match": envoy.Object{"prefix": "/"},
			"route": envoy.Object{"cluster": passthroughClusterName, "timeout": "0s"},
		}},
	})
}

func serviceNames(service mesh.Service, callerNamespace string) envoy.List {
	withNamespace := service.Name + "." + service.Namespace
	known := envoy.List{service.Host(), withNamespace, withNamespace + ".svc", service.ClusterIP}
	if service.Namespace == callerNamespace {
		known = append(known, service.Name)
	}
	return known
}
