package install

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// resourceKind is one custom resource of Istio 1.20.0. The first version is the stored one.
type resourceKind struct {
	group      string
	kind       string
	plural     string
	singular   string
	shortNames []any
	versions   []string
}

var resourceKinds = []resourceKind{
	{"extensions.istio.io", "WasmPlugin", "wasmplugins", "wasmplugin", nil, []string{"v1alpha1"}},
	{"networking.istio.io", "DestinationRule", "destinationrules", "destinationrule", []any{"dr"}, []string{"v1alpha3", "v1beta1"}},
	{"networking.istio.io", "EnvoyFilter", "envoyfilters", "envoyfilter", nil, []string{"v1alpha3"}},
	{"networking.istio.io", "Gateway", "gateways", "gateway", []any{"gw"}, []string{"v1alpha3", "v1beta1"}},
	{"networking.istio.io", "ProxyConfig", "proxyconfigs", "proxyconfig", nil, []string{"v1beta1"}},
	{"networking.istio.io", "ServiceEntry", "serviceentries", "serviceentry", []any{"se"}, []string{"v1alpha3", "v1beta1"}},
	{"networking.istio.io", "Sidecar", "sidecars", "sidecar", nil, []string{"v1alpha3", "v1beta1"}},
	{"networking.istio.io", "VirtualService", "virtualservices", "virtualservice", []any{"vs"}, []string{"v1alpha3", "v1beta1"}},
	{"networking.istio.io", "WorkloadEntry", "workloadentries", "workloadentry", []any{"we"}, []string{"v1alpha3", "v1beta1"}},
	{"networking.istio.io", "WorkloadGroup", "workloadgroups", "workloadgroup", []any{"wg"}, []string{"v1alpha3", "v1beta1"}},
	{"security.istio.io", "AuthorizationPolicy", "authorizationpolicies", "authorizationpolicy", nil, []string{"v1beta1", "v1"}},
	{"security.istio.io", "PeerAuthentication", "peerauthentications", "peerauthentication", []any{"pa"}, []string{"v1beta1"}},
	{"security.istio.io", "RequestAuthentication", "requestauthentications", "requestauthentication", []any{"ra"}, []string{"v1beta1", "v1"}},
	{"telemetry.istio.io", "Telemetry", "telemetries", "telemetry", []any{"telemetry"}, []string{"v1alpha1"}},
	{"install.istio.io", "IstioOperator", "istiooperators", "istiooperator", []any{"iop", "io"}, []string{"v1alpha1"}},
}

// definitions makes the CRDs. Their schemas accept everything: the real ones check each field, which the stand-in's
// validating webhook does for the objects that it obeys.
func definitions() []*unstructured.Unstructured {
	result := []*unstructured.Unstructured{}
	for _, resource := range resourceKinds {
		result = append(result, resource.definition())
	}
	return result
}

func (resource resourceKind) definition() *unstructured.Unstructured {
	anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	versions := []any{}
	for index, version := range resource.versions {
		versions = append(versions, map[string]any{
			"name": version, "served": true, "storage": index == 0,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type":       "object",
				"properties": map[string]any{"spec": anything, "status": anything},
			}},
			"subresources": map[string]any{"status": map[string]any{}},
		})
	}
	names := map[string]any{
		"kind": resource.kind, "listKind": resource.kind + "List", "plural": resource.plural, "singular": resource.singular,
		"categories": []any{"istio-io"},
	}
	if len(resource.shortNames) > 0 {
		names["shortNames"] = resource.shortNames
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata": map[string]any{
			"name":   resource.plural + "." + resource.group,
			"labels": map[string]any{"app": "istio-pilot", "chart": "istio", "heritage": "Tiller", "release": "istio"},
		},
		"spec": map[string]any{"group": resource.group, "names": names, "scope": "Namespaced", "versions": versions},
	}}
}
