package netfilter

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"ztlab/rig/calico/internal/policy"
)

func testPlan() policy.Plan {
	return policy.Plan{
		Sets: []policy.Set{{
			Name:     "netpol-one",
			Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
			Except:   []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		}, {
			Name:     "netpol-two",
			Networks: []netip.Prefix{netip.MustParsePrefix("10.244.0.9/32")},
		}},
		Chains: []policy.Chain{{
			Name: "NETPOL-IN-pod",
			Rules: []policy.Rule{
				{SourceSet: "netpol-one", Protocol: corev1.ProtocolTCP, FirstPort: 80, LastPort: 90, Jump: policy.Return},
				{DestinationSet: "netpol-two", Protocol: corev1.ProtocolUDP, Jump: policy.Return},
				{Jump: policy.Drop},
			},
		}, {
			Name: policy.DispatchChain,
			Rules: []policy.Rule{
				{Established: true, Jump: policy.Return},
				{Destination: netip.MustParseAddr("10.244.0.5"), Jump: "NETPOL-IN-pod"},
			},
		}},
	}
}

func TestSetScriptMakesOnlyMissingSets(t *testing.T) {
	got := setScript(testPlan(), map[string]bool{"netpol-two": true})
	want := `create netpol-one hash:net family inet maxelem 65536
add netpol-one 0.0.0.0/1
add netpol-one 128.0.0.0/1
add netpol-one 10.244.0.0/16 nomatch
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestChainScriptReplacesOursAndLeavesOthers(t *testing.T) {
	got := chainScript(testPlan(), []string{"KUBE-POSTROUTING", "NETPOL", "NETPOL-IN-gone", "NETPOL-IN-pod"})
	want := `*mangle
:NETPOL-IN-pod - [0:0]
:NETPOL - [0:0]
:NETPOL-IN-gone - [0:0]
-A NETPOL-IN-pod -m set --match-set netpol-one src -p tcp -m tcp --dport 80:90 -j RETURN
-A NETPOL-IN-pod -m set --match-set netpol-two dst -p udp -j RETURN
-A NETPOL-IN-pod -j DROP
-A NETPOL -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
-A NETPOL -d 10.244.0.5 -j NETPOL-IN-pod
-X NETPOL-IN-gone
COMMIT
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
