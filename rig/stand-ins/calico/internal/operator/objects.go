package operator

import (
	"context"
	"fmt"
	"log"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resources are the kinds that the manifests hold.
var resources = map[string]schema.GroupVersionResource{
	"Namespace":          {Version: "v1", Resource: "namespaces"},
	"ServiceAccount":     {Version: "v1", Resource: "serviceaccounts"},
	"ConfigMap":          {Version: "v1", Resource: "configmaps"},
	"ClusterRole":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	"DaemonSet":          {Group: "apps", Version: "v1", Resource: "daemonsets"},
	"Deployment":         {Group: "apps", Version: "v1", Resource: "deployments"},
}

// ensure makes the object when it is absent, and replaces it when it was made from another manifest or for another
// Installation.
func (operator *Operator) ensure(ctx context.Context, object *unstructured.Unstructured) error {
	resource, known := resources[object.GetKind()]
	if !known {
		return fmt.Errorf("the manifests hold a %s", object.GetKind())
	}
	// For a kind without namespaces the namespace is empty, and the client takes that for what it is.
	client := operator.client.Resource(resource).Namespace(object.GetNamespace())
	what := object.GetKind() + " " + object.GetName()
	present, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		log.Printf("creating %s", what)
		_, err = client.Create(ctx, object, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	if present.GetAnnotations()[manifestHash] == object.GetAnnotations()[manifestHash] && ownedAlike(present, object) {
		return nil
	}
	log.Printf("updating %s", what)
	object.SetResourceVersion(present.GetResourceVersion())
	_, err = client.Update(ctx, object, metav1.UpdateOptions{})
	return err
}

// ensureFelixConfiguration makes the one that every Calico has when it is absent, also while the Installation is on its
// way out: who deletes it meanwhile finds another one under its name.
func (operator *Operator) ensureFelixConfiguration(ctx context.Context) error {
	client := operator.client.Resource(felixConfigurations)
	if _, err := client.Get(ctx, "default", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return err
	}
	log.Print("creating FelixConfiguration default")
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "crd.projectcalico.org/v1", "kind": "FelixConfiguration", "metadata": map[string]any{"name": "default"},
	}}
	_, err := client.Create(ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// remove deletes an object of the operator's own namespace, if it is there.
func (operator *Operator) remove(ctx context.Context, resource schema.GroupVersionResource, name string) error {
	client := operator.client.Resource(resource).Namespace(namespace)
	if _, err := client.Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		return nil
	}
	log.Printf("deleting %s %s", resource.Resource, name)
	err := client.Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func ownedAlike(one, other *unstructured.Unstructured) bool {
	owners, otherOwners := one.GetOwnerReferences(), other.GetOwnerReferences()
	return len(owners) == 1 && len(otherOwners) == 1 && owners[0].UID == otherOwners[0].UID
}

// report writes the verdict to the TigeraStatus and to the Installation, each only when it says something new.
func (operator *Operator) report(ctx context.Context, installation *unstructured.Unstructured, result verdict) error {
	if err := operator.reportStatus(ctx, installation.GetGeneration(), result); err != nil {
		return err
	}
	conditions, err := readConditions(installation)
	if err != nil {
		return err
	}
	updated, changed := result.update(conditions, typeReady, installation.GetGeneration())
	if !changed {
		return nil
	}
	computed, _, err := unstructured.NestedMap(installation.Object, "spec")
	if err != nil {
		return err
	}
	status := map[string]any{
		"calicoVersion": calicoVersion,
		"computed":      computed,
		"mtu":           int64(1450), // an Ethernet frame less the VXLAN header, as Calico computes it
		"variant":       "Calico",
	}
	if err := setStatus(installation, status, updated); err != nil {
		return err
	}
	_, err = operator.client.Resource(installations).UpdateStatus(ctx, installation, metav1.UpdateOptions{})
	return err
}

func (operator *Operator) reportStatus(ctx context.Context, generation int64, result verdict) error {
	client := operator.client.Resource(tigeraStatuses)
	status, err := client.Get(ctx, statusName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		status, err = client.Create(ctx, newStatus(), metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	conditions, err := readConditions(status)
	if err != nil {
		return err
	}
	updated, changed := result.update(conditions, typeAvailable, generation)
	if !changed {
		return nil
	}
	for _, condition := range updated {
		log.Printf("%s is %s: %s", condition.Type, condition.Status, condition.Message)
	}
	if err := setStatus(status, map[string]any{}, updated); err != nil {
		return err
	}
	_, err = client.UpdateStatus(ctx, status, metav1.UpdateOptions{})
	return err
}

func newStatus() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "operator.tigera.io/v1",
		"kind":       "TigeraStatus",
		"metadata":   map[string]any{"name": statusName},
		"spec":       map[string]any{},
	}}
}

func (operator *Operator) removeStatus(ctx context.Context) error {
	err := operator.client.Resource(tigeraStatuses).Delete(ctx, statusName, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// conditionList is the part of a status that the converter can read and write: lists of typed values need a struct.
type conditionList struct {
	Conditions []metav1.Condition `json:"conditions"`
}

func readConditions(object *unstructured.Unstructured) ([]metav1.Condition, error) {
	status, found, err := unstructured.NestedMap(object.Object, "status")
	if err != nil || !found {
		return nil, err
	}
	var list conditionList
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(status, &list)
	return list.Conditions, err
}

// setStatus writes the fields and the conditions as the object's whole status.
func setStatus(object *unstructured.Unstructured, fields map[string]any, conditions []metav1.Condition) error {
	converted, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&conditionList{Conditions: conditions})
	if err != nil {
		return err
	}
	fields["conditions"] = converted["conditions"]
	return unstructured.SetNestedMap(object.Object, fields, "status")
}
