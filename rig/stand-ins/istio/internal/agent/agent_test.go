package agent

import (
	"strings"
	"testing"
)

func TestRedirectionAsIstioInitIsTold(t *testing.T) {
	redirection, err := ParseRedirection([]string{
		"-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020",
		"--log_output_level=default:info",
	})
	if err != nil {
		t.Fatal(err)
	}
	rules := redirection.Rules()
	inOrder := []string{
		"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001",
		"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
		"-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN",
		"-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
		"-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN",
		"-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN",
		"-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
		"-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
		"COMMIT",
	}
	position := 0
	for _, rule := range inOrder {
		found := strings.Index(rules[position:], rule+"\n")
		if found < 0 {
			t.Fatalf("%q is absent or too early in\n%s", rule, rules)
		}
		position += found
	}
}

func TestRedirectionRefusesWhatItCannotDo(t *testing.T) {
	for _, arguments := range [][]string{
		{"-m", "TPROXY"}, {"-i", "10.0.0.0/8"}, {"-x", "10.0.0.0/8"}, {"-b", "80"}, {"--unknown"},
	} {
		if _, err := ParseRedirection(arguments); err == nil {
			t.Errorf("%v was accepted", arguments)
		}
	}
}

func TestRequestsAreCountedByTheirLabels(t *testing.T) {
	counter := newRequestCounter("webapp", "backend")
	mutual := `{"reporter":"destination","code":200,"flags":null,"caller":"spiffe://cluster.local/ns/webapp/sa/frontend",` +
		`"callee":"spiffe://cluster.local/ns/webapp/sa/backend","cluster":"InboundPassthroughCluster",` +
		`"asked":"outbound_.5000_._.backend-service.webapp.svc.cluster.local","host":"backend-service:5000"}`
	plaintext := `{"reporter":"destination","code":403,"caller":null,"callee":null,"cluster":null,"asked":null,"host":"10.0.0.1"}`
	sent := `{"reporter":"source","code":200,"caller":"spiffe://cluster.local/ns/webapp/sa/backend","callee":"spiffe://cluster.local/ns/other/sa/x","cluster":"outbound|80||frontend-service.webapp.svc.cluster.local","host":"frontend-service"}`
	counter.read(strings.NewReader(mutual + "\n" + mutual + "\n" + plaintext + "\n" + sent + "\n" + "not JSON\n"))
	lines := strings.Split(strings.TrimSpace(counter.text()), "\n")
	if len(lines) != 4 {
		t.Fatalf("got %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, want := range [][]string{
		{`connection_security_policy="mutual_tls"} 2`, `destination_service="backend-service.webapp.svc.cluster.local"`,
			`source_principal="spiffe://cluster.local/ns/webapp/sa/frontend"`, `source_workload_namespace="webapp"`},
		{`connection_security_policy="none"} 1`, `response_code="403"`, `source_principal="unknown"`,
			// Plaintext must be seen as the app's own, or nobody looking at the namespace would notice it.
			`destination_workload="backend",destination_workload_namespace="webapp"`},
		{`connection_security_policy="unknown"} 1`, `reporter="source",source_workload="backend"`, `destination_workload_namespace="other"`, `destination_service="frontend-service.webapp.svc.cluster.local"`},
	} {
		if !anyHasAll(lines, want) {
			t.Errorf("no line has all of %v:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

func anyHasAll(lines, parts []string) bool {
	for _, line := range lines {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			return true
		}
	}
	return false
}
