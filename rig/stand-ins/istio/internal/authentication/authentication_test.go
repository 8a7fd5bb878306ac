package authentication

import (
	"testing"
	"time"

	"ztlab.rig/istio/internal/mesh"
)

var workload = mesh.Workload{Namespace: "webapp", Labels: map[string]string{"app": "backend"}}

func policy(namespace, app, mode string, age time.Duration) mesh.PeerAuthentication {
	result := mesh.PeerAuthentication{Object: mesh.Object{Namespace: namespace, Created: time.Unix(1e9, 0).Add(-age)}}
	if app != "" {
		result.Spec.Selector = &mesh.Selector{MatchLabels: map[string]string{"app": app}}
	}
	result.Spec.MTLS.Mode = mode
	return result
}

func TestResolve(t *testing.T) {
	meshWide := policy("istio-system", "", "STRICT", 0)
	cases := []struct {
		what     string
		policies []mesh.PeerAuthentication
		want     Mode
	}{
		{"nothing said", nil, Permissive},
		{"the whole mesh", []mesh.PeerAuthentication{meshWide}, Strict},
		{"another namespace", []mesh.PeerAuthentication{policy("other", "", "STRICT", 0)}, Permissive},
		{"namespace before mesh", []mesh.PeerAuthentication{meshWide, policy("webapp", "", "PERMISSIVE", 0)}, Permissive},
		{"workload before namespace", []mesh.PeerAuthentication{
			meshWide, policy("webapp", "", "PERMISSIVE", 0), policy("webapp", "backend", "DISABLE", 0)}, Disable},
		{"another workload", []mesh.PeerAuthentication{meshWide, policy("webapp", "frontend", "DISABLE", 0)}, Strict},
		{"unset inherits", []mesh.PeerAuthentication{meshWide, policy("webapp", "", "UNSET", 0)}, Strict},
		{"a selector in the root namespace is not for the mesh", []mesh.PeerAuthentication{
			policy("istio-system", "backend", "STRICT", 0)}, Permissive},
		{"the oldest of two", []mesh.PeerAuthentication{
			policy("webapp", "", "DISABLE", time.Minute), policy("webapp", "", "STRICT", time.Hour)}, Strict},
	}
	for _, test := range cases {
		if got := Resolve(test.policies, workload); got != test.want {
			t.Errorf("%s: got %s, want %s", test.what, got, test.want)
		}
	}
}
