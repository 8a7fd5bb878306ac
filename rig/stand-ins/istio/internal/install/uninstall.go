package install

import (
	"context"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ztlab.rig/istio/internal/names"
)

const removalTimeout = 2 * time.Minute

// removable are the kinds that an installation consists of, in the order of removal. The webhooks go first: they ask an
// istiod that is about to go. The CRDs go last and take all policies with them.
var removable = []schema.GroupVersionResource{
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "configmaps"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	{Version: "v1", Resource: "serviceaccounts"},
	definitionResource,
}

// Purge removes everything that Install applied, but the namespace, as the real one does: with it stay the root's secret
// and the ConfigMaps with the root's certificate, so a mesh that is installed again has the same root.
func Purge(ctx context.Context, cluster *Cluster, out io.Writer) error {
	everything := metav1.ListOptions{LabelSelector: "install.operator.istio.io/owning-resource-namespace=" + names.RootNamespace}
	background := metav1.DeletePropagationBackground
	for _, resource := range removable {
		found, err := cluster.dynamic.Resource(resource).List(ctx, everything)
		if err != nil {
			return fmt.Errorf("listing %s: %w", resource.Resource, err)
		}
		for _, object := range found.Items {
			err := cluster.dynamic.Resource(resource).Namespace(object.GetNamespace()).
				Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("removing %s: %w", title(&object), err)
			}
			fmt.Fprintf(out, "  Removed %s.\n", title(&object))
		}
	}
	if err := await(ctx, removalTimeout, cluster.definitionsGone(everything)); err != nil {
		return err
	}
	fmt.Fprintln(out, "✔ Uninstall complete")
	return nil
}

// definitionsGone waits for the CRDs: each of them stays until all its objects are removed.
func (cluster *Cluster) definitionsGone(options metav1.ListOptions) check {
	return func(ctx context.Context) (string, error) {
		left, err := cluster.dynamic.Resource(definitionResource).List(ctx, options)
		if err != nil || len(left.Items) == 0 {
			return "", err
		}
		return fmt.Sprintf("%d definitions are left, %s among them", len(left.Items), left.Items[0].GetName()), nil
	}
}
