package main

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// nameless is how Calico's programs show themselves to the API server, and so what stands as the manager of their fields.
const nameless = "Go-http-client/2.0"

// openBooks makes two of the objects in which Calico keeps its books. Nobody reads them here; who takes Calico away has
// to tell them from objects that a person made.
func openBooks(ctx context.Context, config *rest.Config) error {
	own := rest.CopyConfig(config)
	own.UserAgent = nameless
	client, err := dynamic.NewForConfig(own)
	if err != nil {
		return err
	}
	for kind, plural := range map[string]string{"ClusterInformation": "clusterinformations", "IPAMConfig": "ipamconfigs"} {
		resource := schema.GroupVersionResource{Group: "crd.projectcalico.org", Version: "v1", Resource: plural}
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": map[string]any{"name": "default"},
			"spec": map[string]any{},
		}}
		if kind == "IPAMConfig" {
			object.Object["spec"] = map[string]any{"autoAllocateBlocks": true, "strictAffinity": false}
		}
		_, err := client.Resource(resource).Create(ctx, object, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}
