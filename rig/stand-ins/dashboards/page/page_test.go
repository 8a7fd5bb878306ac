package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

var example = Dashboard{
	Name: "Example", Version: "1", Root: "/example", HealthPath: "/example/healthz",
	Health: "fine", HealthType: "text/plain", Shows: "things.",
}

func get(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	example.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return answer
}

func TestAnswersByPath(t *testing.T) {
	cases := []struct {
		path   string
		status int
		body   string
	}{
		{"/example/healthz", http.StatusOK, "fine"},
		{"/example", http.StatusOK, "Example 1 (stand-in)"},
		{"/example/", http.StatusOK, "Example 1 (stand-in)"},
		{"/", http.StatusFound, "/example"},
		{"/api/namespaces", http.StatusNotFound, "not found"},
	}
	for _, expected := range cases {
		answer := get(t, expected.path)
		if answer.Code != expected.status || !strings.Contains(answer.Body.String(), expected.body) {
			t.Errorf("GET %s: status %d, body %q", expected.path, answer.Code, answer.Body.String())
		}
	}
}

func TestMetricsNameTheStandIn(t *testing.T) {
	answer := httptest.NewRecorder()
	example.Metrics().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(answer.Body.String(), `rig_stand_in{name="Example"} 1`) {
		t.Errorf("metrics: %q", answer.Body.String())
	}
}
