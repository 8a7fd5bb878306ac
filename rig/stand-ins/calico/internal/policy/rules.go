package policy

import (
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// podChain lists what the policies let through in one direction, and ends with a drop.
func (planner *planner) podChain(subject pod, direction networkingv1.PolicyType, policies []*networkingv1.NetworkPolicy) Chain {
	chain := Chain{Name: chainName(subject, direction)}
	// A pod cannot be kept from itself. Packets reach here for that when it calls its own Service.
	chain.add(Rule{Source: subject.address, Destination: subject.address, Jump: Return})
	for _, policy := range policies {
		for _, allowed := range allowances(policy, direction) {
			for _, peers := range planner.peers(policy.Namespace, allowed.peers) {
				for _, rule := range planner.rules(subject, direction, peers, allowed.ports) {
					chain.add(rule)
				}
			}
		}
	}
	chain.add(Rule{Jump: Drop})
	return chain
}

// add leaves out a rule that is there already: two policies often say the same.
func (chain *Chain) add(rule Rule) {
	for _, known := range chain.Rules {
		if known == rule {
			return
		}
	}
	chain.Rules = append(chain.Rules, rule)
}

// allowance is an ingress or an egress rule of a policy: the two have the same shape and different names in the API.
type allowance struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func allowances(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) []allowance {
	var found []allowance
	if direction == networkingv1.PolicyTypeEgress {
		for _, rule := range policy.Spec.Egress {
			found = append(found, allowance{peers: rule.To, ports: rule.Ports})
		}
		return found
	}
	for _, rule := range policy.Spec.Ingress {
		found = append(found, allowance{peers: rule.From, ports: rule.Ports})
	}
	return found
}

// peerGroup is who one item of `from` or `to` means.
type peerGroup struct {
	anyone bool  // no item at all: every address, pods or not
	pods   []pod // the pods that the item selects
	block  *networkingv1.IPBlock
}

// peers resolves the items one by one. Each gets a set of its own, because an `except` of one item must not take away
// what another item allows.
func (planner *planner) peers(namespace string, items []networkingv1.NetworkPolicyPeer) []peerGroup {
	if len(items) == 0 {
		return []peerGroup{{anyone: true, pods: planner.pods}}
	}
	var groups []peerGroup
	for _, item := range items {
		if item.IPBlock != nil {
			groups = append(groups, peerGroup{block: item.IPBlock})
			continue
		}
		groups = append(groups, peerGroup{pods: planner.selectedPods(namespace, item)})
	}
	return groups
}

// rules returns one rule per port for one group of peers.
func (planner *planner) rules(subject pod, direction networkingv1.PolicyType, peers peerGroup, ports []networkingv1.NetworkPolicyPort) []Rule {
	if len(ports) == 0 {
		return planner.forPeers(Rule{Jump: Return}, direction, peers)
	}
	var rules []Rule
	for _, port := range ports {
		rule := Rule{Protocol: corev1.ProtocolTCP, Jump: Return}
		if port.Protocol != nil {
			rule.Protocol = *port.Protocol
		}
		switch {
		case port.Port == nil: // every port of the protocol
			rules = append(rules, planner.forPeers(rule, direction, peers)...)
		case port.Port.Type == intstr.Int:
			rule.FirstPort, rule.LastPort = port.Port.IntVal, port.Port.IntVal
			if port.EndPort != nil {
				rule.LastPort = *port.EndPort
			}
			rules = append(rules, planner.forPeers(rule, direction, peers)...)
		default:
			rules = append(rules, planner.forNamedPort(rule, port.Port.StrVal, subject, direction, peers)...)
		}
	}
	return rules
}

// forNamedPort resolves a port name at the pod that receives: the subject of ingress, each peer of egress. Peers may
// give the same name to different numbers, so egress gets one rule per number.
func (planner *planner) forNamedPort(rule Rule, name string, subject pod, direction networkingv1.PolicyType, peers peerGroup) []Rule {
	wanted := namedPort{name: name, protocol: rule.Protocol}
	if direction == networkingv1.PolicyTypeIngress {
		number, found := subject.ports[wanted]
		if !found {
			return nil
		}
		rule.FirstPort, rule.LastPort = number, number
		return planner.forPeers(rule, direction, peers)
	}
	byNumber := map[int32][]pod{}
	for _, peer := range peers.pods {
		if number, found := peer.ports[wanted]; found {
			byNumber[number] = append(byNumber[number], peer)
		}
	}
	numbers := make([]int32, 0, len(byNumber))
	for number := range byNumber {
		numbers = append(numbers, number)
	}
	sort.Slice(numbers, func(left, right int) bool { return numbers[left] < numbers[right] })
	var rules []Rule
	for _, number := range numbers {
		rule.FirstPort, rule.LastPort = number, number
		rules = append(rules, planner.forPeers(rule, direction, peerGroup{pods: byNumber[number]})...)
	}
	return rules
}

// forPeers limits a rule to a group of peers. A group of nobody gives no rule.
func (planner *planner) forPeers(rule Rule, direction networkingv1.PolicyType, peers peerGroup) []Rule {
	if peers.anyone {
		return []Rule{rule}
	}
	networks, except := peers.addresses()
	if len(networks) == 0 {
		return nil
	}
	name := planner.set(networks, except)
	if direction == networkingv1.PolicyTypeEgress {
		rule.DestinationSet = name
	} else {
		rule.SourceSet = name
	}
	return []Rule{rule}
}

func (peers peerGroup) addresses() (networks, except []netip.Prefix) {
	if peers.block == nil {
		for _, peer := range peers.pods {
			networks = append(networks, netip.PrefixFrom(peer.address, peer.address.BitLen()))
		}
		return networks, nil
	}
	networks = ipv4Prefixes([]string{peers.block.CIDR})
	return networks, ipv4Prefixes(peers.block.Except)
}

// ipv4Prefixes leaves IPv6 out: the rig's pods have none.
func ipv4Prefixes(texts []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err == nil && prefix.Addr().Is4() {
			prefixes = append(prefixes, prefix.Masked())
		}
	}
	return prefixes
}
