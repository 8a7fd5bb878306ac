// Package authentication finds out which peers a workload accepts: mutual TLS only, plaintext too, or plaintext only.
package authentication

import (
	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/names"
)

// Mode is the resolved mode of a workload's inbound traffic.
type Mode string

const (
	Strict     Mode = "STRICT"
	Permissive Mode = "PERMISSIVE"
	Disable    Mode = "DISABLE"
)

// Resolve finds the mode: a policy that selects the workload comes before its namespace's, that before the mesh's.
// A level that leaves the mode unset inherits; nothing at all means PERMISSIVE. Of several at one level the oldest counts.
func Resolve(policies []mesh.PeerAuthentication, workload mesh.Workload) Mode {
	levels := []func(mesh.PeerAuthentication) bool{
		func(policy mesh.PeerAuthentication) bool {
			return policy.Namespace == workload.Namespace && !policy.Spec.Selector.Empty() &&
				policy.Spec.Selector.Picks(workload.Labels)
		},
		func(policy mesh.PeerAuthentication) bool {
			return policy.Namespace == workload.Namespace && policy.Spec.Selector.Empty()
		},
		func(policy mesh.PeerAuthentication) bool {
			return policy.Namespace == names.RootNamespace && policy.Spec.Selector.Empty()
		},
	}
	for _, applies := range levels {
		oldest := oldestOf(policies, applies)
		if oldest != nil && oldest.Spec.MTLS.Mode != "" && oldest.Spec.MTLS.Mode != "UNSET" {
			return Mode(oldest.Spec.MTLS.Mode)
		}
	}
	return Permissive
}

func oldestOf(policies []mesh.PeerAuthentication, applies func(mesh.PeerAuthentication) bool) *mesh.PeerAuthentication {
	var oldest *mesh.PeerAuthentication
	for index := range policies {
		policy := &policies[index]
		if applies(*policy) && (oldest == nil || policy.Created.Before(oldest.Created)) {
			oldest = policy
		}
	}
	return oldest
}
