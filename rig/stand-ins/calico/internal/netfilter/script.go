// Package netfilter puts a policy plan into the kernel with ipset and iptables.
//
// It uses the mangle table's FORWARD and INPUT: there a packet has its final destination already (the address of a
// pod, not of a Service), and none of kube-proxy's rules has accepted it yet. In the filter table they would come
// first, because kube-proxy keeps putting its own jumps on top. INPUT is there for what pods send to the node itself;
// what the node sends to its pods passes neither hook and is never policed.
//
// It never looks at anything whose name does not begin with the policy package's prefixes.
package netfilter

import (
	"fmt"
	"net/netip"
	"sort"
	"strings"

	"ztlab/rig/calico/internal/policy"
)

// setCapacity is ipset's own default, named because `create` wants it written for a comparison of sets.
const setCapacity = 65536

// setScript is the input of `ipset restore` that makes the sets which are not there yet.
func setScript(plan policy.Plan, existing map[string]bool) string {
	var script strings.Builder
	for _, set := range plan.Sets {
		if existing[set.Name] {
			continue // the name is a hash of the content, so the content is right
		}
		fmt.Fprintf(&script, "create %s hash:net family inet maxelem %d\n", set.Name, setCapacity)
		for _, network := range set.Networks {
			for _, part := range withoutZeroLength(network) {
				fmt.Fprintf(&script, "add %s %s\n", set.Name, part)
			}
		}
		for _, network := range set.Except {
			for _, part := range withoutZeroLength(network) {
				fmt.Fprintf(&script, "add %s %s nomatch\n", set.Name, part)
			}
		}
	}
	return script.String()
}

// withoutZeroLength splits 0.0.0.0/0, which hash:net refuses, into its two halves.
func withoutZeroLength(network netip.Prefix) []netip.Prefix {
	if network.Bits() > 0 {
		return []netip.Prefix{network}
	}
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}
}

// chainScript is the input of `iptables-restore --noflush`: it replaces the plan's chains and removes the others of
// ours in one transaction, so no packet sees half a plan.
func chainScript(plan policy.Plan, existing []string) string {
	stale := staleChains(plan, existing)
	var script strings.Builder
	script.WriteString("*mangle\n")
	for _, chain := range plan.Chains {
		fmt.Fprintf(&script, ":%s - [0:0]\n", chain.Name)
	}
	for _, name := range stale {
		fmt.Fprintf(&script, ":%s - [0:0]\n", name)
	}
	for _, chain := range plan.Chains {
		for _, rule := range chain.Rules {
			fmt.Fprintf(&script, "-A %s%s\n", chain.Name, arguments(rule))
		}
	}
	for _, name := range stale {
		fmt.Fprintf(&script, "-X %s\n", name)
	}
	script.WriteString("COMMIT\n")
	return script.String()
}

func staleChains(plan policy.Plan, existing []string) []string {
	wanted := map[string]bool{}
	for _, chain := range plan.Chains {
		wanted[chain.Name] = true
	}
	var stale []string
	for _, name := range existing {
		if !wanted[name] && strings.HasPrefix(name, policy.ChainPrefix+"-") {
			stale = append(stale, name)
		}
	}
	sort.Strings(stale)
	return stale
}

// arguments writes a rule in the words of iptables.
func arguments(rule policy.Rule) string {
	var words strings.Builder
	if rule.Established {
		words.WriteString(" -m conntrack --ctstate ESTABLISHED,RELATED")
	}
	if rule.Source.IsValid() {
		fmt.Fprintf(&words, " -s %s", rule.Source)
	}
	if rule.Destination.IsValid() {
		fmt.Fprintf(&words, " -d %s", rule.Destination)
	}
	if rule.SourceSet != "" {
		fmt.Fprintf(&words, " -m set --match-set %s src", rule.SourceSet)
	}
	if rule.DestinationSet != "" {
		fmt.Fprintf(&words, " -m set --match-set %s dst", rule.DestinationSet)
	}
	if rule.Protocol != "" {
		protocol := strings.ToLower(string(rule.Protocol))
		fmt.Fprintf(&words, " -p %s", protocol)
		if rule.FirstPort != 0 {
			fmt.Fprintf(&words, " -m %s --dport %d:%d", protocol, rule.FirstPort, rule.LastPort)
		}
	}
	fmt.Fprintf(&words, " -j %s", rule.Jump)
	return words.String()
}
