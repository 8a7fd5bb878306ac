package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ztlab.rig/istio/internal/names"
)

const lookAgain = 500 * time.Millisecond

var definitionResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// check says whether something is as wanted; when not, why.
type check func(ctx context.Context) (reason string, err error)

// await looks until the check has no reason left, and says the last reason when the time is over.
func await(ctx context.Context, timeout time.Duration, look check) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last := "nothing was seen"
	for {
		reason, err := look(ctx)
		switch {
		case err == nil && reason == "":
			return nil
		case err == nil:
			last = reason
		case !errors.Is(err, context.DeadlineExceeded):
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("failed to wait for resource: resources not ready after %s: %s", timeout, last)
		case <-time.After(lookAgain):
		}
	}
}

// definitionsEstablished waits for the CRDs; afterwards discovery has to be asked anew.
func (cluster *Cluster) definitionsEstablished(definitions []*unstructured.Unstructured) check {
	return func(ctx context.Context) (string, error) {
		for _, definition := range definitions {
			present, err := cluster.dynamic.Resource(definitionResource).Get(ctx, definition.GetName(), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			if !established(present) {
				return definition.GetName() + " is not established", nil
			}
		}
		cluster.mapper.Reset()
		return "", nil
	}
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, entry := range conditions {
		condition, isObject := entry.(map[string]any)
		if isObject && condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

// deploymentReady waits until the newest version of a Deployment runs completely.
func (cluster *Cluster) deploymentReady(name string) check {
	return func(ctx context.Context) (string, error) {
		deployment, err := cluster.kubernetes.AppsV1().Deployments(names.RootNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if complete(deployment) {
			return "", nil
		}
		return cluster.whyUnready(ctx, deployment)
	}
}

func complete(deployment *appsv1.Deployment) bool {
	wanted := int32(1)
	if deployment.Spec.Replicas != nil {
		wanted = *deployment.Spec.Replicas
	}
	status := deployment.Status
	return status.ObservedGeneration >= deployment.Generation && status.UpdatedReplicas == wanted &&
		status.Replicas == wanted && status.AvailableReplicas == wanted
}

// whyUnready names the containers that hold a Deployment up, with what the kubelet says about them.
func (cluster *Cluster) whyUnready(ctx context.Context, deployment *appsv1.Deployment) (string, error) {
	selector := metav1.FormatLabelSelector(deployment.Spec.Selector)
	pods, err := cluster.kubernetes.CoreV1().Pods(names.RootNamespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return "", err
	}
	unready := []string{}
	for _, pod := range pods.Items {
		for _, container := range pod.Status.ContainerStatuses {
			if container.Ready {
				continue
			}
			text := container.Name
			if waiting := container.State.Waiting; waiting != nil && waiting.Reason != "" {
				text += ": " + waiting.Reason
			}
			unready = append(unready, text)
		}
	}
	return fmt.Sprintf("Deployment/%s/%s (containers with unready status: [%s])",
		deployment.Namespace, deployment.Name, strings.Join(unready, ", ")), nil
}

// webhooksTrusted waits until istiod has put its root into the webhooks: before that the API server cannot ask it, and
// every pod of a meshed namespace would be refused.
func (cluster *Cluster) webhooksTrusted(name string) check {
	return func(ctx context.Context) (string, error) {
		configuration, err := cluster.kubernetes.AdmissionregistrationV1().MutatingWebhookConfigurations().
			Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		for _, webhook := range configuration.Webhooks {
			if len(webhook.ClientConfig.CABundle) == 0 {
				return "MutatingWebhookConfiguration/" + name + " has no certificate yet", nil
			}
		}
		return "", nil
	}
}
