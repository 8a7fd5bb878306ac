package install

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var labArguments = []string{
	"profile=demo", "hub=docker.io/istio", "tag=1.20.0", "values.global.imagePullPolicy=IfNotPresent",
	"meshConfig.defaultConfig.proxyMetadata.CLOUD_PLATFORM=none",
}

func TestSettingsOfTheLab(t *testing.T) {
	settings, err := ParseSettings(labArguments)
	if err != nil {
		t.Fatal(err)
	}
	if settings.Hub != "docker.io/istio" || settings.Tag != "1.20.0" || settings.PullPolicy != "IfNotPresent" ||
		settings.ProxyMetadata["CLOUD_PLATFORM"] != "none" {
		t.Errorf("got %+v", settings)
	}
}

func TestTheEgressGatewayIsSwitchedOffByItsName(t *testing.T) {
	off := "components.egressGateways[0].enabled=false"
	settings, err := ParseSettings(append([]string{"components.egressGateways[0].name=istio-egressgateway", off}, labArguments...))
	if err != nil || !settings.NoEgress {
		t.Fatalf("got %+v, %v", settings, err)
	}
	components, err := (&Cluster{}).components(settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range components {
		if component.title == "Egress gateways" {
			t.Error("it would be installed")
		}
	}
	if _, err := ParseSettings(append([]string{off}, labArguments...)); err == nil || !strings.Contains(err.Error(), "merge key: name") {
		t.Errorf("without its name: %v", err)
	}
}

func TestUnknownSettingsAreRefused(t *testing.T) {
	for _, assignment := range []string{"values.pilot.image=x", "components.egressGateways[0].name=other", "profile", "meshConfig.defaultConfig.proxyMetadata.=x"} {
		if _, err := ParseSettings([]string{"profile=demo", assignment}); err == nil {
			t.Errorf("%s was accepted", assignment)
		}
	}
	if _, err := ParseSettings([]string{"profile=minimal"}); err == nil || !strings.Contains(err.Error(), "minimal") {
		t.Errorf("another profile: %v", err)
	}
}

func everything(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	settings, err := ParseSettings(labArguments)
	if err != nil {
		t.Fatal(err)
	}
	objects := []*unstructured.Unstructured{}
	for _, step := range []struct {
		name    string
		gateway gateway
	}{{"base.yaml", gateway{}}, {"istiod.yaml", gateway{}}, {"gateway.yaml", ingress}, {"gateway.yaml", egress}, {"default-tag.yaml", gateway{}}} {
		rendered, err := render(step.name, "Pilot", settings, step.gateway)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, rendered...)
	}
	return objects
}

func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	t.Fatalf("no %s %s", kind, name)
	return nil
}

func TestManifestsNameWhatTheLabChecks(t *testing.T) {
	objects := everything(t)
	for _, wanted := range [][2]string{
		{"Deployment", "istiod"}, {"Deployment", "istio-ingressgateway"}, {"Deployment", "istio-egressgateway"},
		{"Service", "istiod"}, {"ConfigMap", "istio"}, {"ConfigMap", "istio-sidecar-injector"},
		{"ServiceAccount", "istio-ingressgateway-service-account"},
		{"MutatingWebhookConfiguration", "istio-sidecar-injector"}, {"MutatingWebhookConfiguration", "istio-revision-tag-default"},
		{"ValidatingWebhookConfiguration", "istio-validator-istio-system"}, {"ValidatingWebhookConfiguration", "istiod-default-validator"},
	} {
		find(t, objects, wanted[0], wanted[1])
	}
	for _, object := range objects {
		if object.GetLabels()["install.operator.istio.io/owning-resource-namespace"] != "istio-system" {
			t.Errorf("%s would stay behind after a purge", title(object))
		}
	}
}

func TestInjectionWebhooksAreAsRecorded(t *testing.T) {
	configuration := find(t, everything(t), "MutatingWebhookConfiguration", "istio-revision-tag-default")
	webhooks, _, err := unstructured.NestedSlice(configuration.Object, "webhooks")
	if err != nil || len(webhooks) != 4 {
		t.Fatalf("%d webhooks, %v", len(webhooks), err)
	}
	text, err := json.Marshal(webhooks[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"name":"namespace.sidecar-injector.istio.io"`, `"failurePolicy":"Fail"`,
		`"namespaceSelector":{"matchExpressions":[{"key":"istio-injection","operator":"In","values":["enabled"]}]}`,
		`"objectSelector":{"matchExpressions":[{"key":"sidecar.istio.io/inject","operator":"NotIn","values":["false"]}]}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("lacks %s:\n%s", want, text)
		}
	}
}

func TestImagesComeFromHubAndTag(t *testing.T) {
	objects := everything(t)
	for name, want := range map[string]string{
		"istiod": "docker.io/istio/pilot:1.20.0", "istio-ingressgateway": "docker.io/istio/proxyv2:1.20.0",
	} {
		deployment := find(t, objects, "Deployment", name)
		containers, _, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		container := containers[0].(map[string]any)
		if container["image"] != want || container["imagePullPolicy"] != "IfNotPresent" {
			t.Errorf("%s: %v, %v", name, container["image"], container["imagePullPolicy"])
		}
	}
}

func TestDefinitions(t *testing.T) {
	names := map[string]bool{}
	for _, definition := range definitions() {
		names[definition.GetName()] = true
	}
	for _, want := range []string{
		"wasmplugins.extensions.istio.io", "destinationrules.networking.istio.io", "envoyfilters.networking.istio.io",
		"gateways.networking.istio.io", "proxyconfigs.networking.istio.io", "serviceentries.networking.istio.io",
		"sidecars.networking.istio.io", "virtualservices.networking.istio.io", "workloadentries.networking.istio.io",
		"workloadgroups.networking.istio.io", "authorizationpolicies.security.istio.io", "peerauthentications.security.istio.io",
		"requestauthentications.security.istio.io", "telemetries.telemetry.istio.io", "istiooperators.install.istio.io",
	} {
		if !names[want] {
			t.Errorf("lacks %s", want)
		}
		delete(names, want)
	}
	if len(names) > 0 {
		t.Errorf("has more than the release: %v", names)
	}
}
