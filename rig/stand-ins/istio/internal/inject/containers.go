package inject

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ztlab.rig/istio/internal/names"
)

// redirection is the init container that sends the pod's traffic through the proxy. It needs root for that, whatever
// the pod says about its own containers.
func redirection(settings Settings) corev1.Container {
	excluded := fmt.Sprintf("%d,%d,%d", names.PrometheusPort, names.HealthPort, names.AgentPort)
	return corev1.Container{
		Name:            initContainer,
		Image:           settings.Image,
		ImagePullPolicy: corev1.PullPolicy(settings.ImagePullPolicy),
		Args: []string{
			"istio-iptables", "-p", fmt.Sprint(names.OutboundPort), "-z", fmt.Sprint(names.InboundPort),
			"-u", fmt.Sprint(names.ProxyUser), "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*", "-d", excluded,
			"--log_output_level=default:info",
		},
		Resources: resources(),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: pointer(false),
			Capabilities: &corev1.Capabilities{
				Add:  []corev1.Capability{"NET_ADMIN", "NET_RAW"},
				Drop: []corev1.Capability{"ALL"},
			},
			Privileged:             pointer(false),
			ReadOnlyRootFilesystem: pointer(false),
			RunAsGroup:             pointer(int64(0)),
			RunAsNonRoot:           pointer(false),
			RunAsUser:              pointer(int64(0)),
		},
	}
}

func proxyFor(pod *corev1.Pod, settings Settings, probers string) (corev1.Container, error) {
	environment, err := proxyEnvironment(pod, settings, probers)
	if err != nil {
		return corev1.Container{}, err
	}
	return corev1.Container{
		Name:            proxyContainer,
		Image:           settings.Image,
		ImagePullPolicy: corev1.PullPolicy(settings.ImagePullPolicy),
		Args: []string{
			"proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc." + names.ClusterDomain,
			"--proxyLogLevel=warning", "--proxyComponentLogLevel=misc:error", "--log_output_level=default:info",
		},
		Env:   environment,
		Ports: []corev1.ContainerPort{{Name: "http-envoy-prom", ContainerPort: names.PrometheusPort, Protocol: corev1.ProtocolTCP}},
		// Restarts nothing; until it answers, the pod counts as not ready.
		ReadinessProbe: healthProbe(15, 4),
		StartupProbe:   healthProbe(1, 600),
		Resources:      resources(),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: pointer(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			Privileged:               pointer(false),
			ReadOnlyRootFilesystem:   pointer(true),
			RunAsGroup:               pointer(int64(names.ProxyUser)),
			RunAsNonRoot:             pointer(true),
			RunAsUser:                pointer(int64(names.ProxyUser)),
		},
		VolumeMounts: mounts(),
	}, nil
}

func proxyEnvironment(pod *corev1.Pod, settings Settings, probers string) ([]corev1.EnvVar, error) {
	proxyConfig := map[string]any{}
	if len(settings.ProxyMetadata) > 0 {
		proxyConfig["proxyMetadata"] = settings.ProxyMetadata
	}
	proxyConfigText, err := json.Marshal(proxyConfig)
	if err != nil {
		return nil, err
	}
	ports, err := podPorts(pod)
	if err != nil {
		return nil, err
	}
	environment := []corev1.EnvVar{
		{Name: "JWT_POLICY", Value: "third-party-jwt"},
		{Name: "PILOT_CERT_PROVIDER", Value: "istiod"},
		{Name: "CA_ADDR", Value: fmt.Sprintf("%s:%d", names.DiscoveryHost, names.DiscoveryPort)},
		fromField("POD_NAME", "metadata.name"),
		fromField("POD_NAMESPACE", "metadata.namespace"),
		fromField("INSTANCE_IP", "status.podIP"),
		fromField("SERVICE_ACCOUNT", "spec.serviceAccountName"),
		fromField("HOST_IP", "status.hostIP"),
		fromLimit("ISTIO_CPU_LIMIT", "limits.cpu"),
		{Name: "PROXY_CONFIG", Value: string(proxyConfigText) + "\n"},
		{Name: "ISTIO_META_POD_PORTS", Value: ports},
		{Name: "ISTIO_META_APP_CONTAINERS", Value: containerNames(pod)},
		fromLimit("GOMEMLIMIT", "limits.memory"),
		fromLimit("GOMAXPROCS", "limits.cpu"),
		{Name: "ISTIO_META_CLUSTER_ID", Value: names.ClusterID},
		fromField("ISTIO_META_NODE_NAME", "spec.nodeName"),
		{Name: "ISTIO_META_INTERCEPTION_MODE", Value: "REDIRECT"},
		{Name: "ISTIO_META_WORKLOAD_NAME", Value: workloadName(pod)},
		{Name: "ISTIO_META_OWNER", Value: ownerLink(pod)},
		{Name: "ISTIO_META_MESH_ID", Value: names.TrustDomain},
		{Name: "TRUST_DOMAIN", Value: names.TrustDomain},
	}
	keys := make([]string, 0, len(settings.ProxyMetadata))
	for key := range settings.ProxyMetadata {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		environment = append(environment, corev1.EnvVar{Name: key, Value: settings.ProxyMetadata[key]})
	}
	if probers != "" {
		environment = append(environment, corev1.EnvVar{Name: "ISTIO_KUBE_APP_PROBERS", Value: probers})
	}
	return environment, nil
}

func podPorts(pod *corev1.Pod) (string, error) {
	lines := []string{}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			text, err := json.Marshal(port)
			if err != nil {
				return "", err
			}
			lines = append(lines, "    "+string(text))
		}
	}
	return "[\n" + strings.Join(lines, "\n   ,") + "\n]", nil
}

func containerNames(pod *corev1.Pod) string {
	all := []string{}
	for _, container := range pod.Spec.Containers {
		all = append(all, container.Name)
	}
	return strings.Join(all, ",")
}

func healthProbe(period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "/healthz/ready", Port: intstr.FromInt(names.HealthPort), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds:    period,
		FailureThreshold: failures,
		SuccessThreshold: 1,
		TimeoutSeconds:   3,
	}
}

func resources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Limits:   corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi")},
		Requests: corev1.ResourceList{"cpu": resource.MustParse("10m"), "memory": resource.MustParse("40Mi")},
	}
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

func fromLimit(name, limit string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: limit, Divisor: resource.MustParse("0")},
	}}
}

func pointer[Value any](value Value) *Value { return &value }
