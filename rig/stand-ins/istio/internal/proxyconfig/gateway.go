package proxyconfig

import (
	"fmt"
	"sort"

	"ztlab.rig/istio/internal/authorization"
	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/routing"
)

// gatewayListeners opens the ports that Gateway objects ask for. A Gateway names the port of the gateway's Service (80);
// the pod listens on the target port behind it (8080), because it may not open low ports.
func gatewayListeners(snapshot *mesh.Snapshot, workload mesh.Workload) envoy.List {
	tables := map[int]routing.Table{}
	ports := []int{}
	for _, gateway := range snapshot.Gateways {
		if !gateway.Picks(workload) {
			continue
		}
		for _, server := range gateway.Spec.Servers {
			port := targetPort(snapshot, workload, server.Port.Number)
			if tables[port] == nil {
				tables[port] = routing.Table{}
				ports = append(ports, port)
			}
			tables[port].AddGateway(snapshot, gateway, server)
		}
	}
	sort.Ints(ports)
	listeners := envoy.List{}
	for _, port := range ports {
		listeners = append(listeners, gatewayListener(snapshot, workload, port, tables[port].VirtualHosts()))
	}
	return listeners
}

func gatewayListener(snapshot *mesh.Snapshot, workload mesh.Workload, port int, hosts envoy.List) envoy.Object {
	requests := connectionManager(httpSettings{
		statPrefix: fmt.Sprintf("outbound_0.0.0.0_%d", port),
		reporter:   reporterSource,
		filters:    authorization.Filters(snapshot.AuthorizationPolicies, workload),
		hosts:      hosts,
		extra: envoy.Object{
			// The gateway is the mesh's edge: what a caller claims about itself is replaced by what the gateway sees.
			"use_remote_address":              true,
			"forward_client_cert_details":     "SANITIZE_SET",
			"set_current_client_cert_details": envoy.Object{"subject": true, "dns": true, "uri": true},
		},
	})
	return envoy.Typed("envoy.config.listener.v3.Listener", envoy.Object{
		"name":              fmt.Sprintf("0.0.0.0_%d", port),
		"traffic_direction": "OUTBOUND",
		"address":           envoy.Address("0.0.0.0", port),
		"filter_chains":     envoy.List{envoy.Object{"filters": envoy.List{requests}}},
	})
}

// targetPort finds the pod's port behind a port of the Service that selects the pod.
func targetPort(snapshot *mesh.Snapshot, workload mesh.Workload, number int) int {
	for _, service := range snapshot.Services {
		if !service.Picks(workload) {
			continue
		}
		for _, port := range service.Ports {
			if port.Number == number && port.TargetPort != 0 {
				return port.TargetPort
			}
		}
	}
	return number
}
