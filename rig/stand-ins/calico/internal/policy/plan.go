// Package policy turns pods, namespaces and NetworkPolicies into the rules that one node has to enforce.
//
// It is pure: API objects in, a Plan out, no cluster and no packet filter. The same objects give the same Plan
// whatever their order, so a caller can compare two plans to know whether there is work to do.
//
// The shape of a plan:
//
//	Dispatch          packets of established connections leave; every isolated pod has one jump per direction
//	NETPOL-OUT-hash   the rules for packets that this pod sends
//	NETPOL-IN-hash    the rules for packets that this pod receives
//
// Return in a pod's chain means "this direction is fine, go on with the next jump": a packet from one isolated pod to
// another has to pass the sender's chain and the receiver's. What no rule of a pod's chain lets through is dropped.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Names that the packet filter shows. A name's hash is short because a chain may have 28 characters at most.
const (
	DispatchChain = "NETPOL"
	ChainPrefix   = "NETPOL"
	SetPrefix     = "netpol-"

	hashLength = 16
)

// Verdicts of a rule; any other Jump is the name of a chain.
const (
	Return = "RETURN"
	Drop   = "DROP"
)

// Plan is what one node has to enforce.
type Plan struct {
	Sets   []Set
	Chains []Chain // the dispatch chain comes last: it names all the others
}

// Set is a set of addresses. Its name is a hash of its content, so a set never changes: it is made or dropped.
type Set struct {
	Name     string
	Networks []netip.Prefix
	Except   []netip.Prefix
}

// Chain is a list of rules under a name; the first rule that matches decides.
type Chain struct {
	Name  string
	Rules []Rule
}

// Rule matches a packet when every field that is set matches it.
type Rule struct {
	Established    bool       // part of a connection that was let through before
	Source         netip.Addr // the sender is this address
	Destination    netip.Addr // the receiver is this address
	SourceSet      string     // the sender is in the set of this name
	DestinationSet string     // the receiver is in the set of this name
	Protocol       corev1.Protocol
	FirstPort      int32 // destination port, the first of a range
	LastPort       int32 // the same as FirstPort for a single port
	Jump           string
}

// Compute returns the plan that enforces the policies on the pods.
func Compute(pods []*corev1.Pod, namespaces []*corev1.Namespace, policies []*networkingv1.NetworkPolicy) Plan {
	planner := newPlanner(pods, namespaces, policies)
	dispatch := Chain{Name: DispatchChain, Rules: []Rule{{Established: true, Jump: Return}}}
	for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress} {
		for _, pod := range planner.pods {
			selecting := planner.selecting(pod, direction)
			if len(selecting) == 0 {
				continue // no policy selects it in this direction: it is open
			}
			chain := planner.podChain(pod, direction, selecting)
			planner.plan.Chains = append(planner.plan.Chains, chain)
			dispatch.Rules = append(dispatch.Rules, jumpToPod(pod, direction, chain.Name))
		}
	}
	planner.plan.Chains = append(planner.plan.Chains, dispatch)
	sort.Slice(planner.plan.Sets, func(left, right int) bool {
		return planner.plan.Sets[left].Name < planner.plan.Sets[right].Name
	})
	return planner.plan
}

func jumpToPod(pod pod, direction networkingv1.PolicyType, chain string) Rule {
	if direction == networkingv1.PolicyTypeEgress {
		return Rule{Source: pod.address, Jump: chain}
	}
	return Rule{Destination: pod.address, Jump: chain}
}

func chainName(pod pod, direction networkingv1.PolicyType) string {
	way := "-IN-"
	if direction == networkingv1.PolicyTypeEgress {
		way = "-OUT-"
	}
	return ChainPrefix + way + shortHash(pod.namespace+"/"+pod.name)
}

// set returns the name of the set with this content and adds it to the plan when it is new.
func (planner *planner) set(networks, except []netip.Prefix) string {
	name := SetPrefix + shortHash(prefixText(networks)+"!"+prefixText(except))
	for _, known := range planner.plan.Sets {
		if known.Name == name {
			return name
		}
	}
	planner.plan.Sets = append(planner.plan.Sets, Set{Name: name, Networks: networks, Except: except})
	return name
}

func prefixText(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for index, prefix := range prefixes {
		words[index] = prefix.String()
	}
	return strings.Join(words, ",")
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:hashLength]
}
