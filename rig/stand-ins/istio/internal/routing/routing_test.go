package routing

import (
	"encoding/json"
	"testing"
	"time"

	"ztlab.rig/istio/internal/mesh"
)

func virtualService(t *testing.T, namespace, name, spec string) mesh.VirtualService {
	t.Helper()
	result := mesh.VirtualService{Object: mesh.Object{Namespace: namespace, Name: name}}
	if err := json.Unmarshal([]byte(spec), &result.Spec); err != nil {
		t.Fatal(err)
	}
	return result
}

func text(t *testing.T, value any) string {
	t.Helper()
	result, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(result)
}

var (
	frontend = mesh.Service{Name: "frontend-service", Namespace: "webapp", Ports: []mesh.Port{{Name: "http", Number: 80}}}
	gateway  = mesh.Gateway{Object: mesh.Object{Namespace: "webapp", Name: "webapp-gateway"}}
)

func server(hosts ...string) mesh.Server { return mesh.Server{Hosts: hosts} }

func TestTheLabsGateway(t *testing.T) {
	snapshot := &mesh.Snapshot{VirtualServices: []mesh.VirtualService{
		virtualService(t, "webapp", "webapp", `{"hosts":["*"],"gateways":["webapp-gateway"],
			"http":[{"route":[{"destination":{"host":"frontend-service","port":{"number":80}}}]}]}`),
		virtualService(t, "other", "same-name-elsewhere", `{"hosts":["*"],"gateways":["webapp-gateway"],
			"http":[{"route":[{"destination":{"host":"intruder"}}]}]}`),
	}}
	table := Table{}
	table.AddGateway(snapshot, gateway, server("*"))
	want := `[{"domains":["*"],"name":"*","routes":[{"match":{"prefix":"/"},` +
		`"route":{"cluster":"outbound|80||frontend-service.webapp.svc.cluster.local","timeout":"0s"}}]}]`
	if got := text(t, table.VirtualHosts()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRoutes(t *testing.T) {
	snapshot := &mesh.Snapshot{Services: []mesh.Service{frontend}}
	cases := []struct{ what, http, want string }{
		{"the Service's only port is meant when none is named", `{"route":[{"destination":{"host":"frontend-service"}}]}`,
			`[{"match":{"prefix":"/"},"route":{"cluster":"outbound|80||frontend-service.webapp.svc.cluster.local","timeout":"0s"}}]`},
		{"an unknown Service keeps its place", `{"route":[{"destination":{"host":"a.b","port":{"number":1}}}]}`,
			`[{"match":{"prefix":"/"},"route":{"cluster":"outbound|1||a.b.svc.cluster.local","timeout":"0s"}}]`},
		{"two matches are two routes, the prefix is rewritten", `{"match":[{"uri":{"exact":"/a"}},{"uri":{"prefix":"/b/"}}],
			"rewrite":{"uri":"/"},"timeout":"1.5s","route":[{"destination":{"host":"x","port":{"number":1}}}]}`,
			`[{"match":{"path":"/a"},"route":{"cluster":"outbound|1||x.webapp.svc.cluster.local","prefix_rewrite":"/","timeout":"1.5s"}},` +
				`{"match":{"prefix":"/b/"},"route":{"cluster":"outbound|1||x.webapp.svc.cluster.local","prefix_rewrite":"/","timeout":"1.5s"}}]`},
		{"weights", `{"route":[{"destination":{"host":"x","port":{"number":1}},"weight":90},{"destination":{"host":"y","port":{"number":1}},"weight":10}]}`,
			`[{"match":{"prefix":"/"},"route":{"timeout":"0s","weighted_clusters":{"clusters":[` +
				`{"name":"outbound|1||x.webapp.svc.cluster.local","weight":90},{"name":"outbound|1||y.webapp.svc.cluster.local","weight":10}]}}}]`},
	}
	for _, test := range cases {
		service := virtualService(t, "webapp", "s", `{"hosts":["*"],"http":[`+test.http+`]}`)
		if got := text(t, Routes(snapshot, service)); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.what, got, test.want)
		}
	}
}

func TestSidecarsUseOnlyVirtualServicesForTheMesh(t *testing.T) {
	toOther := `"http":[{"route":[{"destination":{"host":"other","port":{"number":1}}}]}]}`
	plain := `[{"match":{"prefix":"/"},"route":{"cluster":"outbound|80||frontend-service.webapp.svc.cluster.local","timeout":"0s"}}]`
	other := `[{"match":{"prefix":"/"},"route":{"cluster":"outbound|1||other.webapp.svc.cluster.local","timeout":"0s"}}]`
	cases := []struct{ what, spec, want string }{
		{"for a gateway only", `{"hosts":["frontend-service"],"gateways":["g"],` + toOther, plain},
		{"without gateways", `{"hosts":["frontend-service"],` + toOther, other},
		{"named mesh", `{"hosts":["frontend-service.webapp"],"gateways":["g","mesh"],` + toOther, other},
		{"another host", `{"hosts":["backend-service"],` + toOther, plain},
	}
	for _, test := range cases {
		snapshot := &mesh.Snapshot{VirtualServices: []mesh.VirtualService{virtualService(t, "webapp", "s", test.spec)}}
		if got := text(t, ForService(snapshot, frontend, frontend.Ports[0])); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.what, got, test.want)
		}
	}
}

func TestOlderVirtualServiceComesFirst(t *testing.T) {
	younger := virtualService(t, "webapp", "a", `{"hosts":["*"],"gateways":["webapp-gateway"],
		"http":[{"route":[{"destination":{"host":"younger","port":{"number":1}}}]}]}`)
	older := virtualService(t, "webapp", "b", `{"hosts":["*"],"gateways":["webapp/webapp-gateway"],
		"http":[{"match":[{"uri":{"prefix":"/o"}}],"route":[{"destination":{"host":"older","port":{"number":1}}}]}]}`)
	older.Created, younger.Created = time.Unix(1, 0), time.Unix(2, 0)
	table := Table{}
	table.AddGateway(&mesh.Snapshot{VirtualServices: []mesh.VirtualService{younger, older}}, gateway, server("*"))
	if got := len(table["*"]); got != 2 {
		t.Fatalf("got %d routes, want those of both", got)
	}
	first := table["*"][0].(map[string]any)["match"]
	if got := text(t, first); got != `{"prefix":"/o"}` {
		t.Errorf("the first route matches %s", got)
	}
}

func TestIntersection(t *testing.T) {
	cases := []struct {
		server, service, want string
	}{
		{"*", "*", "*"}, {"*", "a.example", "a.example"}, {"a.example", "*", "a.example"},
		{"*.example", "a.example", "a.example"}, {"a.example", "b.example", ""}, {"*.example", "example", ""},
	}
	for _, test := range cases {
		got, found := intersection(test.server, test.service)
		if got != test.want || found != (test.want != "") {
			t.Errorf("%s with %s: got %q", test.server, test.service, got)
		}
	}
}

func TestFullHost(t *testing.T) {
	for host, want := range map[string]string{
		"a": "a.here.svc.cluster.local", "a.b": "a.b.svc.cluster.local", "a.b.svc": "a.b.svc.cluster.local",
		"a.b.svc.cluster.local": "a.b.svc.cluster.local", "www.example.com": "www.example.com",
	} {
		if got := FullHost(host, "here"); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}
