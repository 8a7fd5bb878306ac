package proxyconfig

import (
	"encoding/json"
	"strings"
	"testing"

	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/names"
)

func peerAuthentication(mode string) mesh.PeerAuthentication {
	result := mesh.PeerAuthentication{Object: mesh.Object{Namespace: names.RootNamespace}}
	result.Spec.MTLS.Mode = mode
	return result
}

// lab is a meshed backend, an unmeshed one, and the gateway.
func lab(mode string) *mesh.Snapshot {
	gateway := mesh.Gateway{Object: mesh.Object{Namespace: "webapp", Name: "gateway"}}
	gateway.Spec.Selector = map[string]string{"istio": "ingressgateway"}
	gateway.Spec.Servers = make([]mesh.Server, 1)
	gateway.Spec.Servers[0].Port.Number = 80
	gateway.Spec.Servers[0].Hosts = []string{"*"}
	return &mesh.Snapshot{
		PeerAuthentications: []mesh.PeerAuthentication{peerAuthentication(mode)},
		Gateways:            []mesh.Gateway{gateway},
		Workloads: []mesh.Workload{
			{Name: "meshed", Namespace: "webapp", ServiceAccount: "backend", Address: "10.0.0.1", Labels: map[string]string{names.TLSModeLabel: "istio"}},
			{Name: "plain", Namespace: "webapp", ServiceAccount: "backend", Address: "10.0.0.2"},
			{Name: "gateway", Namespace: "istio-system", Address: "10.0.0.3", Labels: map[string]string{"istio": "ingressgateway"}},
		},
		Services: []mesh.Service{
			{Name: "backend-service", Namespace: "webapp", ClusterIP: "10.96.0.5", Ports: []mesh.Port{{
				Name: "http", Number: 5000, Endpoints: []mesh.Endpoint{{Address: "10.0.0.1", Port: 5000}, {Address: "10.0.0.2", Port: 5000}},
			}}},
			{Name: "kubernetes", Namespace: "default", ClusterIP: "10.96.0.1", Ports: []mesh.Port{{Name: "https", Number: 443}}},
			{Name: "istio-ingressgateway", Namespace: "istio-system", ClusterIP: "10.96.0.6",
				Selector: map[string]string{"istio": "ingressgateway"}, Ports: []mesh.Port{{Name: "http2", Number: 80, TargetPort: 8080}}},
		},
	}
}

func build(t *testing.T, snapshot *mesh.Snapshot, index int, kind Kind) Configuration {
	t.Helper()
	configuration, err := Build(snapshot, snapshot.Workloads[index], kind)
	if err != nil {
		t.Fatal(err)
	}
	return configuration
}

func text(t *testing.T, value any) string {
	t.Helper()
	result, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(result)
}

func TestInboundChainsFollowTheMode(t *testing.T) {
	for mode, want := range map[string][2]bool{
		"STRICT": {true, false}, "PERMISSIVE": {true, true}, "DISABLE": {false, true}, "": {true, true},
	} {
		inbound := text(t, build(t, lab(mode), 0, Sidecar).Listeners[0])
		mutual, plaintext := strings.Contains(inbound, `"transport_protocol":"tls"`), strings.Contains(inbound, `"transport_protocol":"raw_buffer"`)
		if mutual != want[0] || plaintext != want[1] {
			t.Errorf("%s: mutual TLS %v, plaintext %v", mode, mutual, plaintext)
		}
	}
}

func TestOnlyMeshedEndpointsAreCalledByMutualTLS(t *testing.T) {
	cluster := text(t, build(t, lab("STRICT"), 0, Sidecar).Clusters[0])
	meshed := `{"endpoint":{"address":{"socket_address":{"address":"10.0.0.1","port_value":5000}}},` +
		`"metadata":{"filter_metadata":{"envoy.transport_socket_match":{"tlsMode":"istio"}}}}`
	plain := `{"endpoint":{"address":{"socket_address":{"address":"10.0.0.2","port_value":5000}}}}`
	for _, want := range []string{meshed, plain, `{"exact":"spiffe://cluster.local/ns/webapp/sa/backend"}`} {
		if !strings.Contains(cluster, want) {
			t.Errorf("the cluster lacks %s:\n%s", want, cluster)
		}
	}
}

func TestDisabledMutualTLSIsNotTriedEither(t *testing.T) {
	if cluster := text(t, build(t, lab("DISABLE"), 0, Sidecar).Clusters[0]); strings.Contains(cluster, "tlsMode") {
		t.Errorf("callers would still use mutual TLS: %s", cluster)
	}
}

func TestTLSPortsAreNotReadAsHTTP(t *testing.T) {
	configuration := build(t, lab("STRICT"), 0, Sidecar)
	if all := text(t, configuration.Clusters); strings.Contains(all, "outbound|443||kubernetes") {
		t.Error("the API server's port has a cluster")
	}
	if outbound := text(t, configuration.Listeners[1]); strings.Contains(outbound, `"destination_port":443`) {
		t.Error("the API server's port has an HTTP chain")
	}
}

func TestShortNamesAreForTheCallersNamespace(t *testing.T) {
	snapshot := lab("STRICT")
	service := snapshot.Services[0]
	if got := text(t, serviceNames(service, "webapp")); !strings.HasSuffix(got, `,"backend-service"]`) {
		t.Errorf("same namespace: %s", got)
	}
	if got := text(t, serviceNames(service, "other")); strings.Contains(got, `"backend-service"`) {
		t.Errorf("other namespace: %s", got)
	}
}

func TestGatewayListensOnTheTargetPort(t *testing.T) {
	configuration := build(t, lab("STRICT"), 2, Router)
	if len(configuration.Listeners) != 1 {
		t.Fatalf("got %d listeners", len(configuration.Listeners))
	}
	if name := configuration.Listeners[0].(map[string]any)["name"]; name != "0.0.0.0_8080" {
		t.Errorf("got listener %v", name)
	}
}

func TestGatewayWithoutGatewayObjectOpensNothing(t *testing.T) {
	snapshot := lab("STRICT")
	snapshot.Gateways = nil
	configuration := build(t, snapshot, 2, Router)
	if len(configuration.Listeners) != 0 || configuration.HasRoutes {
		t.Errorf("got %s", text(t, configuration.Listeners))
	}
}

func TestVersionChangesWithTheContentOnly(t *testing.T) {
	first, same, other := build(t, lab("STRICT"), 0, Sidecar), build(t, lab("STRICT"), 0, Sidecar), build(t, lab("PERMISSIVE"), 0, Sidecar)
	if first.Version() != same.Version() {
		t.Error("the same mesh gives two versions")
	}
	if first.ListenersVersion == other.ListenersVersion {
		t.Error("a changed mode keeps the version")
	}
	if first.ClustersVersion != other.ClustersVersion {
		t.Error("clusters changed although only the listeners should")
	}
}
