package proxyconfig

import (
	"ztlab.rig/istio/internal/authentication"
	"ztlab.rig/istio/internal/authorization"
	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/names"
)

const inboundClusterName = "InboundPassthroughCluster"

// inboundListener takes everything that was sent to the pod. Which filter chains it has is what PeerAuthentication
// means: a connection that fits none, such as plaintext under STRICT, is accepted by the kernel and closed at once.
func inboundListener(snapshot *mesh.Snapshot, workload mesh.Workload) envoy.Object {
	requests := connectionManager(httpSettings{
		statPrefix: "inbound",
		reporter:   reporterDestination,
		filters:    authorization.Filters(snapshot.AuthorizationPolicies, workload),
		hosts: envoy.List{envoy.Object{
			"name": "inbound", "domains": envoy.List{"*"},
			"routes": envoy.List{envoy.Object{
				"match": envoy.Object{"prefix": "/"},
				"route": envoy.Object{"cluster": inboundClusterName, "timeout": "0s"},
			}},
		}},
		extra: envoy.Object{
			"server_header_transformation": "PASS_THROUGH",
			// The caller's identity goes to the app in X-Forwarded-Client-Cert. From a caller without a certificate Envoy
			// removes the header in this mode too, so nobody can make one up.
			"forward_client_cert_details":     "APPEND_FORWARD",
			"set_current_client_cert_details": envoy.Object{"subject": true, "dns": true, "uri": true},
		},
	})
	mutual := envoy.Object{
		"name":               "mutual-tls",
		"filter_chain_match": envoy.Object{"transport_protocol": "tls"},
		"transport_socket":   serverTLS(),
		"filters":            envoy.List{requests},
	}
	plaintext := envoy.Object{
		"name":               "plaintext",
		"filter_chain_match": envoy.Object{"transport_protocol": "raw_buffer"},
		"filters":            envoy.List{requests},
	}
	chains := envoy.List{}
	switch authentication.Resolve(snapshot.PeerAuthentications, workload) {
	case authentication.Strict:
		chains = append(chains, mutual)
	case authentication.Disable:
		chains = append(chains, plaintext)
	default:
		chains = append(chains, mutual, plaintext)
	}
	return envoy.Typed("envoy.config.listener.v3.Listener", envoy.Object{
		"name":              "virtualInbound",
		"traffic_direction": "INBOUND",
		"address":           envoy.Address("0.0.0.0", names.InboundPort),
		"listener_filters": envoy.List{
			originalDestination(),
			listenerFilter("tls_inspector", "tls_inspector.v3.TlsInspector"),
		},
		"filter_chains": append(chains, withoutLoop(names.InboundPort)),
	})
}

// withoutLoop closes connections that were made to the proxy's own port: their original destination is the proxy
// itself, and carrying them on would bring them back for ever.
func withoutLoop(port int) envoy.Object {
	return envoy.Object{
		"name":               "loop",
		"filter_chain_match": envoy.Object{"destination_port": port},
		"filters":            envoy.List{passBytes("BlackHoleCluster")},
	}
}

// inboundCluster is the app: the address that the caller wanted, called from an address that the redirection lets pass.
func inboundCluster() envoy.Object {
	return envoy.Typed("envoy.config.cluster.v3.Cluster", envoy.Object{
		"name":            inboundClusterName,
		"type":            "ORIGINAL_DST",
		"lb_policy":       "CLUSTER_PROVIDED",
		"connect_timeout": connectTimeout,
		"upstream_bind_config": envoy.Object{
			"source_address": envoy.Object{"address": names.InboundSource, "port_value": 0},
		},
	})
}
