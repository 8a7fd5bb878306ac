package policy

import (
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// pod is what the rules need to know of a pod.
type pod struct {
	namespace string
	name      string
	labels    labels.Set
	address   netip.Addr
	ports     map[namedPort]int32
}

type namedPort struct {
	name     string
	protocol corev1.Protocol
}

type planner struct {
	pods       []pod
	namespaces map[string]labels.Set
	policies   []*networkingv1.NetworkPolicy
	plan       Plan
}

func newPlanner(pods []*corev1.Pod, namespaces []*corev1.Namespace, policies []*networkingv1.NetworkPolicy) *planner {
	planner := &planner{namespaces: map[string]labels.Set{}}
	for _, object := range pods {
		if pod, concerned := concernedPod(object); concerned {
			planner.pods = append(planner.pods, pod)
		}
	}
	for _, namespace := range namespaces {
		planner.namespaces[namespace.Name] = namespace.Labels
	}
	planner.policies = append(planner.policies, policies...)
	sort.Slice(planner.pods, func(left, right int) bool {
		return lessByName(planner.pods[left].namespace, planner.pods[left].name, planner.pods[right].namespace, planner.pods[right].name)
	})
	sort.Slice(planner.policies, func(left, right int) bool {
		one, other := planner.policies[left], planner.policies[right]
		return lessByName(one.Namespace, one.Name, other.Namespace, other.Name)
	})
	return planner
}

func lessByName(namespace, name, otherNamespace, otherName string) bool {
	if namespace != otherNamespace {
		return namespace < otherNamespace
	}
	return name < otherName
}

// concernedPod leaves out pods on the node's own network, which share its address, and pods that have ended: their
// address may belong to another pod by now.
func concernedPod(object *corev1.Pod) (pod, bool) {
	address, err := netip.ParseAddr(object.Status.PodIP)
	ended := object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed
	if err != nil || !address.Is4() || object.Spec.HostNetwork || ended {
		return pod{}, false
	}
	found := pod{namespace: object.Namespace, name: object.Name, labels: object.Labels, address: address, ports: map[namedPort]int32{}}
	for _, container := range object.Spec.Containers {
		for _, port := range container.Ports {
			protocol := port.Protocol
			if protocol == "" {
				protocol = corev1.ProtocolTCP
			}
			if port.Name != "" {
				found.ports[namedPort{name: port.Name, protocol: protocol}] = port.ContainerPort
			}
		}
	}
	return found, true
}

// selecting returns the policies that isolate the pod in this direction.
func (planner *planner) selecting(pod pod, direction networkingv1.PolicyType) []*networkingv1.NetworkPolicy {
	var found []*networkingv1.NetworkPolicy
	for _, policy := range planner.policies {
		if policy.Namespace == pod.namespace && concerns(policy, direction) && matches(&policy.Spec.PodSelector, pod.labels) {
			found = append(found, policy)
		}
	}
	return found
}

// concerns relies on the API server, which fills policyTypes in when a policy leaves them out.
func concerns(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	for _, policyType := range policy.Spec.PolicyTypes {
		if policyType == direction {
			return true
		}
	}
	return false
}

// selectedPods returns the pods that one item means. Two selectors in one item intersect; a missing namespaceSelector
// means the policy's own namespace, a missing podSelector every pod of the namespaces.
func (planner *planner) selectedPods(namespace string, item networkingv1.NetworkPolicyPeer) []pod {
	var found []pod
	for _, pod := range planner.pods {
		if item.NamespaceSelector == nil && pod.namespace != namespace {
			continue
		}
		if item.NamespaceSelector != nil && !matches(item.NamespaceSelector, planner.namespaces[pod.namespace]) {
			continue
		}
		if item.PodSelector != nil && !matches(item.PodSelector, pod.labels) {
			continue
		}
		found = append(found, pod)
	}
	return found
}

// matches is false for a selector that cannot be read; the API server lets none through.
func matches(selector *metav1.LabelSelector, set labels.Set) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(set)
}
