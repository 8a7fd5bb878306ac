package inject

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// owner finds what a person would call the pod's workload. A pod of a Deployment belongs to a ReplicaSet whose name is
// the Deployment's and the hash that the pod carries as a label.
func owner(pod *corev1.Pod) (apiVersion, kind, name string) {
	for _, reference := range pod.OwnerReferences {
		if reference.Controller == nil || !*reference.Controller {
			continue
		}
		hash := pod.Labels["pod-template-hash"]
		if reference.Kind == "ReplicaSet" && hash != "" {
			return "apps/v1", "Deployment", strings.TrimSuffix(reference.Name, "-"+hash)
		}
		return reference.APIVersion, reference.Kind, reference.Name
	}
	return "v1", "Pod", firstOf(pod.Name, strings.TrimSuffix(pod.GenerateName, "-"))
}

func workloadName(pod *corev1.Pod) string {
	_, _, name := owner(pod)
	return name
}

// ownerLink is the owner in the form that Istio's telemetry uses.
func ownerLink(pod *corev1.Pod) string {
	apiVersion, kind, name := owner(pod)
	return fmt.Sprintf("kubernetes://apis/%s/namespaces/%s/%ss/%s", apiVersion, pod.Namespace, strings.ToLower(kind), name)
}
