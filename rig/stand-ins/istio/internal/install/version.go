package install

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ztlab.rig/istio/internal/names"
)

// PrintVersion says which release this is, and which ones run in the cluster. The versions in the cluster are those of
// the images' tags: that is what the stand-in's parts would answer as well.
func PrintVersion(ctx context.Context, cluster *Cluster, out io.Writer) error {
	fmt.Fprintln(out, "client version:", names.Version)
	control, err := cluster.kubernetes.CoreV1().Pods(names.RootNamespace).
		List(ctx, metav1.ListOptions{LabelSelector: "app=istiod", FieldSelector: "status.phase=Running"})
	if err != nil {
		return err
	}
	if len(control.Items) == 0 {
		fmt.Fprintf(out, "no ready Istio pods in %q\n", names.RootNamespace)
		return nil
	}
	proxies, err := cluster.countProxies(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "control plane version:", names.Version)
	fmt.Fprintf(out, "data plane version: %s (%d proxies)\n", names.Version, proxies)
	return nil
}

func (cluster *Cluster) countProxies(ctx context.Context) (int, error) {
	pods, err := cluster.kubernetes.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		return 0, err
	}
	count := 0
	for _, pod := range pods.Items {
		if hasProxy(pod) {
			count++
		}
	}
	return count, nil
}

func hasProxy(pod corev1.Pod) bool {
	for _, container := range pod.Spec.Containers {
		if container.Name == "istio-proxy" {
			return true
		}
	}
	return false
}
