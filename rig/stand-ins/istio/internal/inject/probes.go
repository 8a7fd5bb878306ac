package inject

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ztlab.rig/istio/internal/names"
)

// Prober is one probe of the app as pilot-agent does it in the kubelet's place: the kubelet has no certificate of the
// mesh, so its own request would be refused by a proxy that insists on mutual TLS.
type Prober struct {
	HTTPGet        *corev1.HTTPGetAction   `json:"httpGet,omitempty"`
	TCPSocket      *corev1.TCPSocketAction `json:"tcpSocket,omitempty"`
	TimeoutSeconds int32                   `json:"timeoutSeconds,omitempty"`
}

// rewriteProbes sends the app's HTTP and TCP probes to the agent, and returns what the agent needs to know, as JSON.
// Probes that run a command stay as they are.
func rewriteProbes(pod *corev1.Pod) (string, error) {
	probers := map[string]Prober{}
	for index := range pod.Spec.Containers {
		container := &pod.Spec.Containers[index]
		for kind, probe := range map[string]*corev1.Probe{
			"readyz": container.ReadinessProbe, "livez": container.LivenessProbe, "startupz": container.StartupProbe,
		} {
			path := fmt.Sprintf("/app-health/%s/%s", container.Name, kind)
			if prober, ok := proberFor(container, probe); ok {
				probers[path] = prober
				probe.ProbeHandler = corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
					Path: path, Port: intstr.FromInt(names.AgentPort), Scheme: corev1.URISchemeHTTP,
				}}
			}
		}
	}
	if len(probers) == 0 {
		return "", nil
	}
	text, err := json.Marshal(probers)
	return string(text), err
}

func proberFor(container *corev1.Container, probe *corev1.Probe) (Prober, bool) {
	switch {
	case probe == nil:
		return Prober{}, false
	case probe.HTTPGet != nil:
		get := probe.HTTPGet.DeepCopy()
		get.Port = numbered(container, get.Port)
		return Prober{HTTPGet: get, TimeoutSeconds: probe.TimeoutSeconds}, true
	case probe.TCPSocket != nil:
		socket := probe.TCPSocket.DeepCopy()
		socket.Port = numbered(container, socket.Port)
		return Prober{TCPSocket: socket, TimeoutSeconds: probe.TimeoutSeconds}, true
	default:
		return Prober{}, false
	}
}

// numbered resolves a port's name, which only the pod knows.
func numbered(container *corev1.Container, port intstr.IntOrString) intstr.IntOrString {
	if port.Type == intstr.Int {
		return port
	}
	for _, candidate := range container.Ports {
		if candidate.Name == port.StrVal {
			return intstr.FromInt(int(candidate.ContainerPort))
		}
	}
	return port
}
