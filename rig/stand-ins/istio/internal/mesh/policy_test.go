package mesh

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	cases := []struct{ kind, spec, refusedFor string }{
		{"PeerAuthentication", `{"mtls":{"mode":"STRICT"}}`, ""},
		{"PeerAuthentication", `{"mtls":{"mode":"strict"}}`, "strict"},
		{"PeerAuthentication", `{"portLevelMtls":{"80":{"mode":"DISABLE"}}}`, "portLevelMtls"},
		{"AuthorizationPolicy", ``, ""},
		{"AuthorizationPolicy", `{"rules":[{"from":[{"source":{"principals":["*"]}}],"to":[{"operation":{"paths":["/x"]}}]}]}`, ""},
		{"AuthorizationPolicy", `{"rules":[{"when":[{"key":"request.headers[a]","values":["b"]}]}]}`, "when"},
		{"AuthorizationPolicy", `{"rules":[{"from":[{"source":{"ipBlocks":["10.0.0.0/8"]}}]}]}`, "ipBlocks"},
		{"AuthorizationPolicy", `{"action":"CUSTOM"}`, "CUSTOM"},
		{"AuthorizationPolicy", `{"rules":[{"to":[{"operation":{"ports":["5000"]}}]}]}`, ""},
		{"AuthorizationPolicy", `{"rules":[{"to":[{"operation":{"notPorts":["http"]}}]}]}`, "http"},
		{"Gateway", `{"selector":{"istio":"ingressgateway"},"servers":[{"port":{"number":80,"name":"http","protocol":"HTTP"},"hosts":["*"]}]}`, ""},
		{"Gateway", `{"servers":[{"port":{"number":443,"name":"https","protocol":"HTTPS"},"hosts":["*"]}]}`, "HTTPS"},
		{"VirtualService", `{"hosts":["*"],"http":[{"route":[{"destination":{"host":"a"}}],"timeout":"10s"}]}`, ""},
		{"VirtualService", `{"hosts":["*"],"http":[{"route":[{"destination":{"host":"a"}}],"timeout":"soon"}]}`, "timeout"},
		{"VirtualService", `{"hosts":["*"],"http":[{"route":[{"destination":{"host":"a","subset":"v1"}}]}]}`, "subset"},
		{"DestinationRule", `{"host":"a"}`, "DestinationRule"},
	}
	for _, test := range cases {
		err := Check(test.kind, []byte(test.spec))
		switch {
		case test.refusedFor == "" && err != nil:
			t.Errorf("%s %s: refused: %v", test.kind, test.spec, err)
		case test.refusedFor != "" && err == nil:
			t.Errorf("%s %s: accepted", test.kind, test.spec)
		case err != nil && !strings.Contains(err.Error(), test.refusedFor):
			t.Errorf("%s %s: the message does not name %s: %v", test.kind, test.spec, test.refusedFor, err)
		}
	}
}

func TestSpeaksHTTP(t *testing.T) {
	cases := []struct {
		name, appProtocol string
		want              bool
	}{
		{"http", "", true}, {"http2-api", "", true}, {"grpc-xds", "", true}, {"", "", true}, {"metrics", "", true},
		{"https", "", false}, {"tcp-db", "", false}, {"tls", "", false}, {"web", "https", false}, {"tcp", "http", true},
	}
	for _, test := range cases {
		if got := (Port{Name: test.name, AppProtocol: test.appProtocol}).SpeaksHTTP(); got != test.want {
			t.Errorf("name %q, protocol %q: got %v", test.name, test.appProtocol, got)
		}
	}
}
