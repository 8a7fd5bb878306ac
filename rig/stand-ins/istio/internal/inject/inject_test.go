package inject

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var settings = Settings{
	Image: "docker.io/istio/proxyv2:1.20.0", ImagePullPolicy: "IfNotPresent",
	ProxyMetadata: map[string]string{"CLOUD_PLATFORM": "none"},
}

func backendPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "backend-7dfd94b4fc-", Namespace: "webapp",
			Labels: map[string]string{"app": "backend", "version": "v1", "pod-template-hash": "7dfd94b4fc"},
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "backend-7dfd94b4fc", Controller: pointer(true)},
			},
		},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: pointer(true), RunAsUser: pointer(int64(10001))},
			Volumes:         []corev1.Volume{{Name: "tmp"}},
			Containers: []corev1.Container{{
				Name: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 5000, Protocol: corev1.ProtocolTCP}},
				ReadinessProbe: &corev1.Probe{TimeoutSeconds: 3, ProbeHandler: corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromString("http"), Scheme: "HTTP"}}},
				LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}},
			}},
		},
	}
}

// patched reads the values of the patch by their paths.
func patched(t *testing.T, pod *corev1.Pod) map[string]json.RawMessage {
	t.Helper()
	text, err := Patch(pod, settings)
	if err != nil {
		t.Fatal(err)
	}
	var operations []struct {
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(text, &operations); err != nil {
		t.Fatal(err)
	}
	values := map[string]json.RawMessage{}
	for _, operation := range operations {
		values[operation.Path] = operation.Value
	}
	return values
}

func read[Value any](t *testing.T, text json.RawMessage) Value {
	t.Helper()
	var value Value
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestContainersAndVolumesAreInTheRecordedOrder(t *testing.T) {
	values := patched(t, backendPod())
	containers := read[[]corev1.Container](t, values["/spec/containers"])
	if len(containers) != 2 || containers[0].Name != "app" || containers[1].Name != "istio-proxy" {
		t.Errorf("containers: %s", values["/spec/containers"])
	}
	order := []string{}
	for _, volume := range read[[]corev1.Volume](t, values["/spec/volumes"]) {
		order = append(order, volume.Name)
	}
	want := "workload-socket credential-socket workload-certs istio-envoy istio-data istio-podinfo istio-token istiod-ca-cert tmp"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("volumes: got %s, want %s", got, want)
	}
}

func TestMetadataIsAsRecorded(t *testing.T) {
	values := patched(t, backendPod())
	labels := read[map[string]string](t, values["/metadata/labels"])
	for key, want := range map[string]string{
		"app": "backend", "security.istio.io/tlsMode": "istio",
		"service.istio.io/canonical-name": "backend", "service.istio.io/canonical-revision": "v1",
	} {
		if labels[key] != want {
			t.Errorf("label %s: got %q, want %q", key, labels[key], want)
		}
	}
	annotations := read[map[string]string](t, values["/metadata/annotations"])
	want := `{"initContainers":["istio-init"],"containers":["istio-proxy"],"volumes":["workload-socket","credential-socket",` +
		`"workload-certs","istio-envoy","istio-data","istio-podinfo","istio-token","istiod-ca-cert"],"imagePullSecrets":null,"revision":"default"}`
	if got := annotations["sidecar.istio.io/status"]; got != want {
		t.Errorf("status: got %s, want %s", got, want)
	}
	if annotations["prometheus.io/port"] != "15020" || annotations["kubectl.kubernetes.io/default-container"] != "app" {
		t.Errorf("annotations: %v", annotations)
	}
}

func TestInitContainerAsRecorded(t *testing.T) {
	containers := read[[]corev1.Container](t, patched(t, backendPod())["/spec/initContainers"])
	want := "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020 --log_output_level=default:info"
	if got := strings.Join(containers[0].Args, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// The pod says that nobody is root; for this container that has to be taken back.
	if security := containers[0].SecurityContext; *security.RunAsNonRoot || *security.RunAsUser != 0 {
		t.Errorf("istio-init could not run in a pod without root: %+v", security)
	}
}

func TestProxyEnvironment(t *testing.T) {
	proxy := read[[]corev1.Container](t, patched(t, backendPod())["/spec/containers"])[1]
	environment := map[string]string{}
	for _, variable := range proxy.Env {
		environment[variable.Name] = variable.Value
	}
	for name, want := range map[string]string{
		"CA_ADDR":                   "istiod.istio-system.svc:15012",
		"PROXY_CONFIG":              `{"proxyMetadata":{"CLOUD_PLATFORM":"none"}}` + "\n",
		"CLOUD_PLATFORM":            "none",
		"ISTIO_META_POD_PORTS":      "[\n    {\"name\":\"http\",\"containerPort\":5000,\"protocol\":\"TCP\"}\n]",
		"ISTIO_META_APP_CONTAINERS": "app",
		"ISTIO_META_WORKLOAD_NAME":  "backend",
		"ISTIO_META_OWNER":          "kubernetes://apis/apps/v1/namespaces/webapp/deployments/backend",
		"ISTIO_KUBE_APP_PROBERS":    `{"/app-health/app/readyz":{"httpGet":{"path":"/health","port":5000,"scheme":"HTTP"},"timeoutSeconds":3}}`,
	} {
		if environment[name] != want {
			t.Errorf("%s: got %q, want %q", name, environment[name], want)
		}
	}
}

func TestProbes(t *testing.T) {
	app := read[[]corev1.Container](t, patched(t, backendPod())["/spec/containers"])[0]
	if get := app.ReadinessProbe.HTTPGet; get == nil || get.Path != "/app-health/app/readyz" || get.Port.IntValue() != 15020 {
		t.Errorf("the HTTP probe was not sent to the agent: %+v", get)
	}
	if app.LivenessProbe.Exec == nil {
		t.Errorf("the command probe was changed: %+v", app.LivenessProbe)
	}
}

func TestWhoIsLeftAlone(t *testing.T) {
	host, refuses, injected := backendPod(), backendPod(), backendPod()
	host.Spec.HostNetwork = true
	refuses.Labels["sidecar.istio.io/inject"] = "false"
	injected.Spec.Containers = append(injected.Spec.Containers, corev1.Container{Name: "istio-proxy"})
	for what, pod := range map[string]*corev1.Pod{"host network": host, "label": refuses, "injected already": injected} {
		if patch, err := Patch(pod, settings); err != nil || patch != nil {
			t.Errorf("%s: got a patch of %d bytes, %v", what, len(patch), err)
		}
	}
}

func TestParseSettings(t *testing.T) {
	got, err := ParseSettings("defaultConfig:\n  proxyMetadata:\n    CLOUD_PLATFORM: none\n",
		`{"global":{"hub":"docker.io/istio","tag":"1.20.0","imagePullPolicy":"IfNotPresent","proxy":{"image":"proxyv2"}}}`)
	if err != nil || got.Image != settings.Image || got.ImagePullPolicy != settings.ImagePullPolicy || got.ProxyMetadata["CLOUD_PLATFORM"] != "none" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := ParseSettings("", `{}`); err == nil {
		t.Error("values without an image were accepted")
	}
}
