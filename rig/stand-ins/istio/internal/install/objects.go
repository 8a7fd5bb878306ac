package install

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"ztlab.rig/istio/internal/names"
)

//go:embed manifests
var manifests embed.FS

// gateway is what the two gateways differ in.
type gateway struct {
	Name        string
	Role        string
	Component   string
	ServiceType string
	Ports       []gatewayPort
}

type gatewayPort struct {
	Name   string
	Number int
	Target int
}

var (
	ingress = gateway{"istio-ingressgateway", "ingressgateway", "IngressGateways", "LoadBalancer", []gatewayPort{
		{"status-port", 15021, 15021}, {"http2", 80, 8080}, {"https", 443, 8443}, {"tcp", 31400, 31400}, {"tls", 15443, 15443},
	}}
	egress = gateway{"istio-egressgateway", "egressgateway", "EgressGateways", "ClusterIP", []gatewayPort{
		{"http2", 80, 8080}, {"https", 443, 8443},
	}}
)

// injectionWebhook says for which pods the API server asks istiod: the selectors are JSON.
type injectionWebhook struct {
	Name       string
	Namespaces string
	Objects    string
}

const (
	notRefused    = `{"key":"sidecar.istio.io/inject","operator":"NotIn","values":["false"]}`
	revisionGiven = `{"key":"istio.io/rev","operator":"In","values":["default"]}`
	noRevision    = `{"key":"istio.io/rev","operator":"DoesNotExist"}`
	noInjection   = `{"key":"istio-injection","operator":"DoesNotExist"}`
	enabled       = `{"key":"istio-injection","operator":"In","values":["enabled"]}`
	wished        = `{"key":"sidecar.istio.io/inject","operator":"In","values":["true"]}`
)

var injectionWebhooks = []injectionWebhook{
	{"rev.namespace.sidecar-injector.istio.io", list(revisionGiven, noInjection), list(notRefused)},
	{"rev.object.sidecar-injector.istio.io", list(noRevision, noInjection), list(notRefused, revisionGiven)},
	{"namespace.sidecar-injector.istio.io", list(enabled), list(notRefused)},
	{"object.sidecar-injector.istio.io", list(noInjection, noRevision), list(wished, noRevision)},
}

func list(items ...string) string {
	text := "["
	for index, item := range items {
		if index > 0 {
			text += ","
		}
		text += item
	}
	return text + "]"
}

// templateInput is what the manifests may use.
type templateInput struct {
	Settings
	Gateway        gateway
	Webhooks       []injectionWebhook
	InjectorValues string
}

// render makes the objects of one manifest, with the labels by which istioctl finds its own again.
func render(name, component string, settings Settings, gateway gateway) ([]*unstructured.Unstructured, error) {
	values, err := json.Marshal(map[string]any{"global": map[string]any{
		"hub": settings.Hub, "tag": settings.Tag, "imagePullPolicy": settings.PullPolicy,
		"proxy": map[string]any{"image": "proxyv2"},
	}})
	if err != nil {
		return nil, err
	}
	parsed, err := template.ParseFS(manifests, "manifests/"+name, "manifests/injection.tmpl")
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	input := templateInput{Settings: settings, Gateway: gateway, Webhooks: injectionWebhooks, InjectorValues: string(values)}
	if err := parsed.Execute(&text, input); err != nil {
		return nil, err
	}
	objects, err := decode(&text)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", name, err)
	}
	for _, object := range objects {
		own(object, component)
	}
	return objects, nil
}

func decode(text io.Reader) ([]*unstructured.Unstructured, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(text, 4096)
	objects := []*unstructured.Unstructured{}
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); err != nil {
			if errors.Is(err, io.EOF) {
				return objects, nil
			}
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// own labels an object as this installation's.
func own(object *unstructured.Unstructured, component string) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["install.operator.istio.io/owning-resource"] = installedState
	labels["install.operator.istio.io/owning-resource-namespace"] = names.RootNamespace
	labels["operator.istio.io/managed"] = "Reconcile"
	labels["operator.istio.io/version"] = names.Version
	labels[names.ComponentLabel] = component
	object.SetLabels(labels)
}

// installedState is the IstioOperator object in which istioctl keeps what it installed.
const installedState = "installed-state"

func finalState(settings Settings) *unstructured.Unstructured {
	given := map[string]any{}
	for key, value := range settings.given {
		given[key] = value
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "install.istio.io/v1alpha1",
		"kind":       "IstioOperator",
		"metadata":   map[string]any{"name": installedState, "namespace": names.RootNamespace},
		"spec":       map[string]any{"profile": "demo", "hub": settings.Hub, "tag": settings.Tag, "values": given},
	}}
}

func namespaceObject() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": names.RootNamespace},
	}}
}
