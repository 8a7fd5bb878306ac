package operator

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Words that Calico's operator uses for conditions. An installer may wait for the types and show the messages.
const (
	typeAvailable   = "Available"
	typeReady       = "Ready" // what Available is called in the status of an Installation
	typeProgressing = "Progressing"
	typeDegraded    = "Degraded"

	reasonAllAvailable = "AllObjectsAvailable"
	reasonNotReady     = "ResourceNotReady"
	reasonPodFailure   = "PodFailure"
	reasonInvalid      = "InvalidConfigurationError"
)

// verdict is what the operator thinks of the component `calico`.
type verdict struct {
	invalid     error    // the Installation cannot be carried out
	progressing []string // what is not there yet
	failing     []string // what will not get there by waiting
}

// assessed are the workloads that decide; Calico's operator does not count typha and the CSI driver either.
type assessed struct {
	node            *appsv1.DaemonSet
	kubeControllers *appsv1.Deployment
	pods            []*corev1.Pod
}

func assess(workloads assessed) verdict {
	var result verdict
	if message := daemonSetProgress(workloads.node); message != "" {
		result.progressing = append(result.progressing, message)
	}
	if message := deploymentProgress(workloads.kubeControllers); message != "" {
		result.progressing = append(result.progressing, message)
	}
	for _, pod := range workloads.pods {
		if message := podFailure(pod); message != "" {
			result.failing = append(result.failing, message)
		}
	}
	return result
}

func daemonSetProgress(daemonSet *appsv1.DaemonSet) string {
	name := daemonSet.Namespace + "/" + daemonSet.Name
	status := daemonSet.Status
	switch {
	case status.ObservedGeneration < daemonSet.Generation:
		return fmt.Sprintf("DaemonSet %q update is being processed (generation %d, observed generation %d)", name, daemonSet.Generation, status.ObservedGeneration)
	case status.UpdatedNumberScheduled < status.DesiredNumberScheduled:
		return fmt.Sprintf("DaemonSet %q update is rolling out (%d out of %d updated)", name, status.UpdatedNumberScheduled, status.DesiredNumberScheduled)
	case status.NumberUnavailable > 0:
		return fmt.Sprintf("DaemonSet %q is not available (awaiting %d nodes)", name, status.NumberUnavailable)
	case status.NumberAvailable == 0:
		return fmt.Sprintf("DaemonSet %q is not yet scheduled on any nodes", name)
	}
	return ""
}

func deploymentProgress(deployment *appsv1.Deployment) string {
	name := deployment.Namespace + "/" + deployment.Name
	status := deployment.Status
	switch {
	case status.ObservedGeneration < deployment.Generation:
		return fmt.Sprintf("Deployment %q update is being processed (generation %d, observed generation %d)", name, deployment.Generation, status.ObservedGeneration)
	case status.UnavailableReplicas > 0:
		return fmt.Sprintf("Deployment %q is not available (awaiting %d replicas)", name, status.UnavailableReplicas)
	case status.AvailableReplicas == 0:
		return fmt.Sprintf("Deployment %q is not yet available", name)
	}
	return ""
}

// podFailure recognizes the states that a person has to do something about.
func podFailure(pod *corev1.Pod) string {
	containers := append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
	for _, container := range containers {
		if container.State.Waiting == nil {
			continue
		}
		switch container.State.Waiting.Reason {
		case "CrashLoopBackOff":
			return fmt.Sprintf("Pod %s/%s has crash looping container: %s", pod.Namespace, pod.Name, container.Name)
		case "ErrImagePull", "ImagePullBackOff":
			return fmt.Sprintf("Pod %s/%s failed to pull container image for: %s", pod.Namespace, pod.Name, container.Name)
		}
	}
	return ""
}

// update changes the conditions to say the verdict, and tells whether that changed anything. A condition that says the
// same as before keeps its time. availableType is Available or Ready.
func (result verdict) update(conditions []metav1.Condition, availableType string, generation int64) ([]metav1.Condition, bool) {
	updated := append([]metav1.Condition{}, conditions...)
	for _, condition := range result.conditions(availableType) {
		condition.ObservedGeneration = generation
		meta.SetStatusCondition(&updated, condition)
	}
	return updated, !equality.Semantic.DeepEqual(conditions, updated)
}

func (result verdict) conditions(availableType string) []metav1.Condition {
	degraded := metav1.Condition{Type: typeDegraded, Status: metav1.ConditionFalse, Reason: reasonAllAvailable, Message: "All Objects Available"}
	progressing := metav1.Condition{Type: typeProgressing, Status: metav1.ConditionFalse, Reason: reasonAllAvailable, Message: "All Objects Available"}
	available := metav1.Condition{Type: availableType, Status: metav1.ConditionTrue, Reason: reasonAllAvailable, Message: "All objects available"}
	switch {
	case result.invalid != nil:
		degraded.Status, degraded.Reason, degraded.Message = metav1.ConditionTrue, reasonInvalid, result.invalid.Error()
	case len(result.failing) > 0:
		degraded.Status, degraded.Reason, degraded.Message = metav1.ConditionTrue, reasonPodFailure, "Some pods are failing:\n"+strings.Join(result.failing, "\n")
	}
	if len(result.progressing) > 0 {
		progressing.Status, progressing.Reason, progressing.Message = metav1.ConditionTrue, reasonNotReady, strings.Join(result.progressing, "\n")
	}
	if degraded.Status == metav1.ConditionTrue || progressing.Status == metav1.ConditionTrue {
		available.Status, available.Reason, available.Message = metav1.ConditionFalse, reasonNotReady, "Some objects are not available"
	}
	return []metav1.Condition{degraded, available, progressing}
}
