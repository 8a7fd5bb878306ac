package install

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// fieldManager owns every field that istioctl applies.
const fieldManager = "istio-operator"

// Cluster is the API server that istioctl talks to, and nobody else.
type Cluster struct {
	kubernetes kubernetes.Interface
	dynamic    dynamic.Interface
	mapper     *restmapper.DeferredDiscoveryRESTMapper
}

// Connect reads the kubeconfig as kubectl does; both arguments may be empty.
func Connect(kubeconfig, contextName string) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: contextName}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, err
	}
	// Some sixty objects are applied in a row: the default of 5 requests a second would be most of the time.
	config.QPS, config.Burst = 50, 100
	return connectTo(config)
}

func connectTo(config *rest.Config) (*Cluster, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discoveryClient))
	return &Cluster{kubernetes: client, dynamic: dynamicClient, mapper: mapper}, nil
}

func (cluster *Cluster) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := cluster.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return cluster.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
	}
	return cluster.dynamic.Resource(mapping.Resource), nil
}

// apply server-side applies the objects in their order. Applying the same again changes nothing.
func (cluster *Cluster) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		resource, err := cluster.resource(object)
		if err != nil {
			return fmt.Errorf("applying %s: %w", title(object), err)
		}
		text, err := json.Marshal(object.Object)
		if err != nil {
			return err
		}
		force := true
		options := metav1.PatchOptions{FieldManager: fieldManager, Force: &force}
		if _, err := resource.Patch(ctx, object.GetName(), types.ApplyPatchType, text, options); err != nil {
			return fmt.Errorf("applying %s: %w", title(object), err)
		}
	}
	return nil
}

func title(object *unstructured.Unstructured) string {
	if object.GetNamespace() == "" {
		return object.GetKind() + "/" + object.GetName()
	}
	return object.GetKind() + "/" + object.GetNamespace() + "/" + object.GetName()
}
