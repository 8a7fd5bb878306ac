package operator

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func testInstallation(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	installation := &unstructured.Unstructured{}
	text := "{apiVersion: operator.tigera.io/v1, kind: Installation, metadata: {name: default, uid: abc}, spec: " + spec + "}"
	if err := yaml.Unmarshal([]byte(text), &installation.Object); err != nil {
		t.Fatal(err)
	}
	return installation
}

func TestReadSettings(t *testing.T) {
	const pool = `calicoNetwork: {ipPools: [{cidr: 10.244.0.0/16}]}`
	cases := []struct{ name, spec, image, failure string }{
		{"the default registry", `{` + pool + `}`, "docker.io/calico/node:v3.27.0", ""},
		{"UseDefault", `{registry: UseDefault, ` + pool + `}`, "docker.io/calico/node:v3.27.0", ""},
		{"a registry with a slash", `{registry: "mirror.test:5000/", ` + pool + `}`, "mirror.test:5000/calico/node:v3.27.0", ""},
		{"a registry without one", `{registry: mirror.test, imagePath: lab, imagePrefix: x-, ` + pool + `}`, "mirror.test/lab/x-node:v3.27.0", ""},
		{"no pool", `{}`, "", "must hold one pool"},
		{"a pool that is no range", `{calicoNetwork: {ipPools: [{cidr: ten}]}}`, "", "ipPools[0].cidr"},
		{"a pool that is too small", `{calicoNetwork: {ipPools: [{cidr: 10.244.0.0/26}]}}`, "", "/24 or larger"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			settings, err := readSettings(testInstallation(t, test.spec))
			if test.failure != "" {
				if err == nil || !strings.Contains(err.Error(), test.failure) {
					t.Fatalf("got %v, want an error with %q", err, test.failure)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := settings.Image("node"); got != test.image {
				t.Errorf("got %s, want %s", got, test.image)
			}
			if got := settings.NodeRange.String(); got != "10.244.0.0/24" {
				t.Errorf("node range is %s", got)
			}
		})
	}
}

func TestDefaultsFillGapsAndChangeNothingElse(t *testing.T) {
	spec := `{calicoNetwork: {bgp: Disabled, ipPools: [{cidr: 10.244.0.0/16}]}}`
	complete, changed, err := withDefaults(testInstallation(t, spec))
	if err != nil || !changed {
		t.Fatalf("changed %v, error %v", changed, err)
	}
	if bgp, _, _ := unstructured.NestedString(complete.Object, "spec", "calicoNetwork", "bgp"); bgp != "Disabled" {
		t.Errorf("bgp is %s", bgp)
	}
	if days, _, err := unstructured.NestedInt64(complete.Object, "spec", "logging", "cni", "logFileMaxAgeDays"); days != 30 || err != nil {
		t.Errorf("logFileMaxAgeDays is %d, %v", days, err)
	}
	if _, again, _ := withDefaults(complete); again {
		t.Error("a complete spec was changed again")
	}
}

func TestRenderOwnsEverythingAndFillsEveryImage(t *testing.T) {
	installation := testInstallation(t, `{registry: mirror.test/, calicoNetwork: {ipPools: [{cidr: 10.244.0.0/16}]}}`)
	settings, err := readSettings(installation)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := render(settings, installation)
	if err != nil {
		t.Fatal(err)
	}
	var names, images []string
	for _, object := range objects {
		if owners := object.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != "abc" {
			t.Errorf("%s %s is owned by %v", object.GetKind(), object.GetName(), owners)
		}
		if _, known := resources[object.GetKind()]; !known {
			t.Errorf("kind %s has no resource", object.GetKind())
		}
		names = append(names, object.GetKind()+"/"+object.GetName())
		for _, field := range []string{"initContainers", "containers"} {
			containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", field)
			for _, container := range containers {
				image, _, _ := unstructured.NestedString(container.(map[string]any), "image")
				images = append(images, strings.TrimPrefix(image, "mirror.test/calico/"))
			}
		}
	}
	wantNames := "Namespace/calico-system ServiceAccount/calico-node ServiceAccount/calico-typha ServiceAccount/calico-kube-controllers ClusterRole/calico-node ClusterRoleBinding/calico-node " +
		"ConfigMap/cni-config DaemonSet/calico-node Deployment/calico-typha Deployment/calico-kube-controllers DaemonSet/csi-node-driver"
	if got := strings.Join(names, " "); got != wantNames {
		t.Errorf("objects:\n%s\nwant\n%s", got, wantNames)
	}
	wantImages := "pod2daemon-flexvol:v3.27.0 cni:v3.27.0 node:v3.27.0 typha:v3.27.0 kube-controllers:v3.27.0 csi:v3.27.0 node-driver-registrar:v3.27.0"
	if got := strings.Join(images, " "); got != wantImages {
		t.Errorf("images:\n%s\nwant\n%s", got, wantImages)
	}
}

func TestDriversThatAreNotWantedAreLeftOut(t *testing.T) {
	installation := testInstallation(t, `{flexVolumePath: None, kubeletVolumePluginPath: None, calicoNetwork: {ipPools: [{cidr: 10.244.0.0/16}]}}`)
	settings, err := readSettings(installation)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := render(settings, installation)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if object.GetName() == csiDriver {
			t.Error("the CSI driver is rendered")
		}
		if object.GetName() == nodeName && object.GetKind() == "DaemonSet" {
			containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "initContainers")
			if len(containers) != 1 || containers[0].(map[string]any)["name"] != "install-cni" {
				t.Errorf("init containers: %v", containers)
			}
		}
	}
}

func TestAssess(t *testing.T) {
	named := metav1.ObjectMeta{Namespace: namespace, Name: nodeName, Generation: 1}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: kubeControllersName, Generation: 1},
		Status: appsv1.DeploymentStatus{ObservedGeneration: 1, AvailableReplicas: 1}}
	unavailable := &appsv1.DaemonSet{ObjectMeta: named, Status: appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: 1, UpdatedNumberScheduled: 1, NumberUnavailable: 1}}
	available := &appsv1.DaemonSet{ObjectMeta: named, Status: appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: 1, UpdatedNumberScheduled: 1, NumberAvailable: 1}}
	pulling := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "calico-node-x"}}
	pulling.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "install-cni",
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}

	cases := []struct {
		name                             string
		result                           verdict
		available, progressing, degraded metav1.ConditionStatus
		message                          string // of the condition that matters
	}{
		{"all is well", assess(assessed{node: available, kubeControllers: deployment}), "True", "False", "False", "All objects available"},
		{"still coming", assess(assessed{node: unavailable, kubeControllers: deployment}), "False", "True", "False", `DaemonSet "calico-system/calico-node" is not available (awaiting 1 nodes)`},
		{"an image is missing", assess(assessed{node: unavailable, kubeControllers: deployment, pods: []*corev1.Pod{pulling}}), "False", "True", "True",
			"failed to pull container image for: install-cni"},
		{"a bad installation", verdict{invalid: errors.New("no pool")}, "False", "False", "True", "no pool"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			checkConditions(t, test.result, test.available, test.progressing, test.degraded, test.message)
		})
	}
}

func checkConditions(t *testing.T, result verdict, available, progressing, degraded metav1.ConditionStatus, message string) {
	conditions, changed := result.update(nil, typeAvailable, 2)
	if !changed {
		t.Error("the first conditions are no change")
	}
	found := false
	for conditionType, want := range map[string]metav1.ConditionStatus{typeAvailable: available, typeProgressing: progressing, typeDegraded: degraded} {
		condition := meta.FindStatusCondition(conditions, conditionType)
		if condition == nil || condition.Status != want || condition.ObservedGeneration != 2 {
			t.Errorf("%s: got %+v, want %s", conditionType, condition, want)
			continue
		}
		found = found || condition.Status == metav1.ConditionTrue && strings.Contains(condition.Message, message)
	}
	if !found {
		t.Errorf("no true condition says %q: %+v", message, conditions)
	}
	if _, again := result.update(conditions, typeAvailable, 2); again {
		t.Error("the same verdict is a change")
	}
}
