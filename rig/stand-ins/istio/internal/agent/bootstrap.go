package agent

import (
	"encoding/json"
	"os"

	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/names"
	"ztlab.rig/istio/internal/proxyconfig"
)

const (
	agentCluster = "agent"
	adminCluster = "prometheus_stats"
)

// writeBootstrap writes what Envoy starts from: where its files are, and the two ports that never change, one for the
// kubelet's question whether the proxy is ready, one for its statistics.
func writeBootstrap(settings Settings) error {
	bootstrap := envoy.Object{
		"node":  envoy.Object{"id": settings.node(), "cluster": settings.Pod + "." + settings.Namespace},
		"admin": envoy.Object{"address": envoy.Address("127.0.0.1", names.AdminPort)},
		"dynamic_resources": envoy.Object{
			"lds_config": proxyconfig.FileSource(proxyconfig.ListenersFile),
			"cds_config": proxyconfig.FileSource(proxyconfig.ClustersFile),
		},
		"static_resources": envoy.Object{
			"listeners": envoy.List{
				forward("health", names.HealthPort, "/healthz/ready", agentCluster),
				forward("statistics", names.PrometheusPort, "/stats/prometheus", adminCluster),
			},
			"clusters": envoy.List{
				local(agentCluster, names.AgentPort),
				local(adminCluster, names.AdminPort),
			},
		},
	}
	text, err := json.MarshalIndent(bootstrap, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(bootstrapFile, text, 0o600)
}

// forward is a port on which one path goes to a local cluster and nothing else is answered.
func forward(name string, port int, path, cluster string) envoy.Object {
	router := envoy.Extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", nil)
	manager := envoy.Extension("envoy.filters.network.http_connection_manager",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", envoy.Object{
			"stat_prefix":  name,
			"http_filters": envoy.List{router},
			"route_config": envoy.Object{"virtual_hosts": envoy.List{envoy.Object{
				"name": name, "domains": envoy.List{"*"}, "routes": envoy.List{envoy.Object{
					"match": envoy.Object{"path": path}, "route": envoy.Object{"cluster": cluster},
				}},
			}}},
		})
	return envoy.Object{
		"name":          name,
		"address":       envoy.Address("0.0.0.0", port),
		"filter_chains": envoy.List{envoy.Object{"filters": envoy.List{manager}}},
	}
}

func local(name string, port int) envoy.Object {
	return envoy.Object{
		"name": name, "type": "STATIC", "connect_timeout": "1s",
		"load_assignment": envoy.Object{"cluster_name": name, "endpoints": envoy.List{envoy.Object{
			"lb_endpoints": envoy.List{envoy.Object{"endpoint": envoy.Object{"address": envoy.Address("127.0.0.1", port)}}},
		}}},
	}
}
