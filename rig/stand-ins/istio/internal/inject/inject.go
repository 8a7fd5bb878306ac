// Package inject puts a proxy into a pod, in the shape that the real Istio 1.20.0 gives it.
package inject

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"ztlab.rig/istio/internal/names"
)

const (
	proxyContainer = "istio-proxy"
	initContainer  = "istio-init"
)

// operation is one step of a JSON Patch. "add" to a member of an object replaces what was there.
type operation struct {
	Kind  string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Patch is the JSON Patch that injects the pod; nil when it must not be injected.
func Patch(pod *corev1.Pod, settings Settings) ([]byte, error) {
	if !wanted(pod) {
		return nil, nil
	}
	changed := pod.DeepCopy()
	probers, err := rewriteProbes(changed)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyFor(pod, settings, probers)
	if err != nil {
		return nil, err
	}
	changed.Spec.Containers = append(changed.Spec.Containers, proxy)
	// Last, so that the pod's own init containers still reach the network directly.
	changed.Spec.InitContainers = append(changed.Spec.InitContainers, redirection(settings))
	changed.Spec.Volumes = append(volumes(), changed.Spec.Volumes...)
	if err := describe(changed); err != nil {
		return nil, err
	}
	return json.Marshal([]operation{
		{"add", "/metadata/annotations", changed.Annotations},
		{"add", "/metadata/labels", changed.Labels},
		{"add", "/spec/initContainers", changed.Spec.InitContainers},
		{"add", "/spec/containers", changed.Spec.Containers},
		{"add", "/spec/volumes", changed.Spec.Volumes},
	})
}

// wanted leaves out pods on the node's network (redirecting it would redirect the node), pods that say no, and pods that
// have a proxy already.
func wanted(pod *corev1.Pod) bool {
	if pod.Spec.HostNetwork || pod.Labels[names.InjectLabel] == "false" || pod.Annotations[names.InjectLabel] == "false" {
		return false
	}
	for _, container := range pod.Spec.Containers {
		if container.Name == proxyContainer {
			return false
		}
	}
	return true
}

// describe adds the labels and annotations that tell others about the proxy.
func describe(pod *corev1.Pod) error {
	name, revision := canonicalName(pod), canonicalRevision(pod)
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[names.TLSModeLabel] = "istio"
	pod.Labels[names.CanonicalName] = name
	pod.Labels[names.CanonicalRevision] = revision
	status, err := json.Marshal(injectionStatus{
		InitContainers: []string{initContainer},
		Containers:     []string{proxyContainer},
		Volumes:        volumeNames(),
		Revision:       names.Revision,
	})
	if err != nil {
		return err
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	for key, value := range map[string]string{
		names.RevisionLabel:                            names.Revision,
		names.StatusAnnotation:                         string(status),
		"kubectl.kubernetes.io/default-container":      pod.Spec.Containers[0].Name,
		"kubectl.kubernetes.io/default-logs-container": pod.Spec.Containers[0].Name,
		"prometheus.io/path":                           "/stats/prometheus",
		"prometheus.io/port":                           "15020",
		"prometheus.io/scrape":                         "true",
	} {
		pod.Annotations[key] = value
	}
	return nil
}

// injectionStatus is the annotation by which others recognise what was injected.
type injectionStatus struct {
	InitContainers   []string `json:"initContainers"`
	Containers       []string `json:"containers"`
	Volumes          []string `json:"volumes"`
	ImagePullSecrets []string `json:"imagePullSecrets"`
	Revision         string   `json:"revision"`
}

func canonicalName(pod *corev1.Pod) string {
	return firstOf(pod.Labels[names.CanonicalName], pod.Labels["app.kubernetes.io/name"], pod.Labels["app"], workloadName(pod))
}

func canonicalRevision(pod *corev1.Pod) string {
	return firstOf(pod.Labels[names.CanonicalRevision], pod.Labels["app.kubernetes.io/version"], pod.Labels["version"], "latest")
}

func firstOf(candidates ...string) string {
	for _, candidate := range candidates {
		if candidate != "" {
			return candidate
		}
	}
	return ""
}
