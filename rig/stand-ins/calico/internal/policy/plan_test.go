package policy

import (
	"net/netip"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// The cluster of every case: namespaces shop (team=a) and bank (team=b).
const (
	server     = "10.244.0.10" // shop, app=server, TCP ports http=8080 and admin=9000
	client     = "10.244.0.11" // shop, app=client, TCP port http=8081
	stranger   = "10.244.0.12" // shop, app=stranger
	bankClient = "10.244.0.21" // bank, app=client
	bankOther  = "10.244.0.22" // bank, app=other
	outside    = "192.0.2.7"   // no pod
)

func testPods() []*corev1.Pod {
	return []*corev1.Pod{
		testPod("shop", "server", server, map[string]int32{"http": 8080, "admin": 9000}),
		testPod("shop", "client", client, map[string]int32{"http": 8081}),
		testPod("shop", "stranger", stranger, nil),
		testPod("bank", "client", bankClient, nil),
		testPod("bank", "other", bankOther, nil),
	}
}

func testPod(namespace, app, address string, ports map[string]int32) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app, Labels: map[string]string{"app": app}}}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address}
	container := corev1.Container{Name: "main"}
	for name, number := range ports {
		container.Ports = append(container.Ports, corev1.ContainerPort{Name: name, ContainerPort: number, Protocol: corev1.ProtocolTCP})
	}
	pod.Spec.Containers = []corev1.Container{container}
	return pod
}

func testNamespaces() []*corev1.Namespace {
	return []*corev1.Namespace{
		{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "a"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "bank", Labels: map[string]string{"team": "b"}}},
	}
}

// testPolicy reads the spec of a policy in namespace shop as a person would write it.
func testPolicy(t *testing.T, name, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &policy.Spec); err != nil {
		t.Fatalf("policy %s: %v", name, err)
	}
	return policy
}

type flow struct {
	from, to string
	protocol corev1.Protocol
	port     int32
	passes   bool
}

const (
	tcp = corev1.ProtocolTCP
	udp = corev1.ProtocolUDP
)

func TestComputeDecidesFlows(t *testing.T) {
	cases := []struct {
		name     string
		policies []string
		flows    []flow
	}{
		{"no policy leaves everything open", nil, []flow{
			{client, server, tcp, 8080, true}, {outside, server, udp, 53, true}, {server, outside, tcp, 443, true}}},
		{"default deny closes both directions of its namespace only", []string{`{podSelector: {}, policyTypes: [Ingress, Egress]}`}, []flow{
			{client, server, tcp, 8080, false}, {bankClient, server, tcp, 8080, false}, {outside, server, tcp, 8080, false},
			{client, outside, tcp, 443, false}, {client, bankOther, tcp, 80, false},
			{bankClient, bankOther, tcp, 80, true}, {bankClient, outside, tcp, 443, true}, {server, server, tcp, 8080, true}}},
		{"default deny of ingress leaves egress open", []string{`{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}`}, []flow{
			{client, server, tcp, 8080, false}, {server, client, tcp, 8081, true}, {client, stranger, tcp, 80, true}}},
		{"policies add up", []string{
			`{podSelector: {}, policyTypes: [Ingress]}`,
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}`}, []flow{
			{client, server, tcp, 8080, true}, {stranger, server, tcp, 8080, false}, {server, client, tcp, 8081, false}}},
		{"a podSelector alone means the policy's namespace", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}`}, []flow{
			{client, server, tcp, 8080, true}, {bankClient, server, tcp, 8080, false}}},
		{"two selectors in one item intersect", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: client}}}]}]}`}, []flow{
			{bankClient, server, tcp, 8080, true}, {bankOther, server, tcp, 8080, false}, {client, server, tcp, 8080, false}}},
		{"two selectors in two items add up", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: client}}}]}]}`}, []flow{
			{bankClient, server, tcp, 8080, true}, {bankOther, server, tcp, 8080, true}, {client, server, tcp, 8080, true}, {stranger, server, tcp, 8080, false}}},
		{"matchExpressions", []string{
			`{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [stranger]}]}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}]}]}`}, []flow{
			{stranger, server, tcp, 8080, true}, {bankClient, server, tcp, 8080, false}, {bankClient, stranger, tcp, 80, true}}},
		{"a numeric port is of its protocol only, TCP when none is named", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 8080}, {port: 53, protocol: UDP}]}]}`}, []flow{
			{client, server, tcp, 8080, true}, {client, server, udp, 8080, false}, {outside, server, udp, 53, true}, {client, server, tcp, 53, false}}},
		{"a protocol without a port means all its ports", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{protocol: UDP}]}]}`}, []flow{
			{client, server, udp, 4000, true}, {client, server, tcp, 4000, false}}},
		{"a range of ports", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 8085, endPort: 8095}]}]}`}, []flow{
			{client, server, tcp, 8085, true}, {client, server, tcp, 8095, true}, {client, server, tcp, 8084, false}, {client, server, tcp, 8096, false}}},
		{"a named ingress port is the receiver's", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: http}]}]}`}, []flow{
			{client, server, tcp, 8080, true}, {client, server, tcp, 9000, false}, {server, client, tcp, 8081, true},
			{server, client, tcp, 8080, false}, {client, stranger, tcp, 8080, false}}},
		{"a named egress port is each peer's own", []string{
			`{podSelector: {matchLabels: {app: stranger}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}`}, []flow{
			{stranger, server, tcp, 8080, true}, {stranger, client, tcp, 8081, true}, {stranger, server, tcp, 8081, false}, {stranger, client, tcp, 8080, false}}},
		{"an ipBlock with an exception", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/24, except: [10.244.0.22/32]}}]}]}`}, []flow{
			{client, server, tcp, 8080, true}, {bankClient, server, tcp, 8080, true}, {bankOther, server, tcp, 8080, false}, {outside, server, tcp, 8080, false}}},
		{"an exception takes nothing from another item", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.244.0.0/16]}}, {namespaceSelector: {matchLabels: {team: b}}}]}]}`}, []flow{
			{outside, server, tcp, 8080, true}, {bankOther, server, tcp, 8080, true}, {client, server, tcp, 8080, false}}},
		{"egress allows and the receiver's ingress still denies", []string{
			`{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{}]}`,
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: stranger}}}]}]}`}, []flow{
			{client, server, tcp, 8080, false}, {client, bankOther, tcp, 80, true}, {client, outside, tcp, 443, true}, {stranger, server, tcp, 8080, true}}},
		{"a selector that matches nobody opens nothing", []string{
			`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: absent}}}]}]}`}, []flow{
			{client, server, tcp, 8080, false}, {outside, server, tcp, 8080, false}}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			plan := Compute(testPods(), testNamespaces(), testPolicies(t, test.policies))
			for _, flow := range test.flows {
				if got := newEvaluator(plan).passes(flow); got != flow.passes {
					t.Errorf("%s -> %s %s/%d: passes is %v, want %v\n%+v", flow.from, flow.to, flow.protocol, flow.port, got, flow.passes, plan)
				}
			}
		})
	}
}

func testPolicies(t *testing.T, specs []string) []*networkingv1.NetworkPolicy {
	var policies []*networkingv1.NetworkPolicy
	for index, spec := range specs {
		policies = append(policies, testPolicy(t, string(rune('a'+index)), spec))
	}
	return policies
}

func TestComputeLeavesOutPodsThatHaveNoAddressOfTheirOwn(t *testing.T) {
	pods := testPods()
	pods[0].Spec.HostNetwork = true
	pods[1].Status.Phase = corev1.PodSucceeded
	pods[2].Status.PodIP = ""
	plan := Compute(pods, testNamespaces(), testPolicies(t, []string{`{podSelector: {}, policyTypes: [Ingress, Egress]}`}))
	if len(plan.Chains) != 1 || len(plan.Chains[0].Rules) != 1 {
		t.Errorf("want the dispatch chain alone, got %+v", plan.Chains)
	}
}

func TestComputeIsTheSameForEveryOrder(t *testing.T) {
	policies := testPolicies(t, []string{
		`{podSelector: {}, policyTypes: [Ingress, Egress]}`,
		`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}], ports: [{port: http}]}]}`})
	pods := testPods()
	first := Compute(pods, testNamespaces(), policies)
	pods[0], pods[4] = pods[4], pods[0]
	policies[0], policies[1] = policies[1], policies[0]
	if second := Compute(pods, testNamespaces(), policies); !reflect.DeepEqual(first, second) {
		t.Errorf("plans differ:\n%+v\n%+v", first, second)
	}
}

// evaluator sends the first packet of a connection through a plan, as the packet filter would.
type evaluator struct {
	chains map[string]Chain
	sets   map[string]Set
}

func newEvaluator(plan Plan) evaluator {
	evaluator := evaluator{chains: map[string]Chain{}, sets: map[string]Set{}}
	for _, chain := range plan.Chains {
		evaluator.chains[chain.Name] = chain
	}
	for _, set := range plan.Sets {
		evaluator.sets[set.Name] = set
	}
	return evaluator
}

func (evaluator evaluator) passes(flow flow) bool {
	return evaluator.chainPasses(DispatchChain, flow)
}

func (evaluator evaluator) chainPasses(name string, flow flow) bool {
	for _, rule := range evaluator.chains[name].Rules {
		if !evaluator.matches(rule, flow) {
			continue
		}
		switch {
		case rule.Jump == Return:
			return true
		case rule.Jump == Drop || !evaluator.chainPasses(rule.Jump, flow):
			return false
		}
	}
	return true
}

func (evaluator evaluator) matches(rule Rule, flow flow) bool {
	from, to := netip.MustParseAddr(flow.from), netip.MustParseAddr(flow.to)
	return !rule.Established &&
		(!rule.Source.IsValid() || rule.Source == from) &&
		(!rule.Destination.IsValid() || rule.Destination == to) &&
		(rule.SourceSet == "" || evaluator.contains(rule.SourceSet, from)) &&
		(rule.DestinationSet == "" || evaluator.contains(rule.DestinationSet, to)) &&
		(rule.Protocol == "" || rule.Protocol == flow.protocol) &&
		(rule.FirstPort == 0 || rule.FirstPort <= flow.port && flow.port <= rule.LastPort)
}

func (evaluator evaluator) contains(name string, address netip.Addr) bool {
	for _, network := range evaluator.sets[name].Except {
		if network.Contains(address) {
			return false
		}
	}
	for _, network := range evaluator.sets[name].Networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}
