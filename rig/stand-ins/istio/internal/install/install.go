// Package install is the stand-in for istioctl's work on a cluster: it applies what the demo profile of Istio 1.20.0
// consists of, waits for it, and takes it away again. Only the API server is contacted.
package install

import (
	"context"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// component is one step of the installation: what is applied, and what it takes to be done.
type component struct {
	title   string
	objects []*unstructured.Unstructured
	wait    check
}

// Install brings the demo profile into the cluster. Doing it again changes nothing.
func Install(ctx context.Context, cluster *Cluster, settings Settings, timeout time.Duration, out io.Writer) error {
	components, err := cluster.components(settings)
	if err != nil {
		return err
	}
	if err := cluster.apply(ctx, []*unstructured.Unstructured{namespaceObject()}); err != nil {
		return err
	}
	for _, component := range components {
		if err := cluster.apply(ctx, component.objects); err != nil {
			return failed(out, component.title, err)
		}
		if err := await(ctx, timeout, component.wait); err != nil {
			return failed(out, component.title, err)
		}
		fmt.Fprintf(out, "✔ %s installed\n", component.title)
	}
	if err := cluster.finish(ctx, settings, timeout); err != nil {
		return failed(out, "Installation", err)
	}
	fmt.Fprintln(out, "✔ Installation complete")
	fmt.Fprintln(out, "Made this installation the default for injection and validation.")
	return nil
}

func failed(out io.Writer, title string, err error) error {
	fmt.Fprintf(out, "✘ %s encountered an error: %v\n", title, err)
	return fmt.Errorf("failed to install manifests: errors occurred during operation: %w", err)
}

func (cluster *Cluster) components(settings Settings) ([]component, error) {
	base, err := render("base.yaml", "Base", settings, gateway{})
	if err != nil {
		return nil, err
	}
	pilot, err := render("istiod.yaml", "Pilot", settings, gateway{})
	if err != nil {
		return nil, err
	}
	ingressObjects, err := render("gateway.yaml", ingress.Component, settings, ingress)
	if err != nil {
		return nil, err
	}
	egressObjects, err := render("gateway.yaml", egress.Component, settings, egress)
	if err != nil {
		return nil, err
	}
	crds := definitions()
	for _, definition := range crds {
		own(definition, "Base")
	}
	components := []component{
		{"Istio core", append(crds, base...), cluster.definitionsEstablished(crds)},
		{"Istiod", pilot, cluster.deploymentReady("istiod")},
	}
	// A gateway that was there and is switched off now stays: the real one prunes within the components that it installs.
	if !settings.NoEgress {
		components = append(components, component{"Egress gateways", egressObjects, cluster.deploymentReady(egress.Name)})
	}
	return append(components, component{"Ingress gateways", ingressObjects, cluster.deploymentReady(ingress.Name)}), nil
}

// finish keeps the final state and makes this installation the cluster's default.
func (cluster *Cluster) finish(ctx context.Context, settings Settings, timeout time.Duration) error {
	tag, err := render("default-tag.yaml", "Pilot", settings, gateway{})
	if err != nil {
		return err
	}
	if err := cluster.apply(ctx, append(tag, finalState(settings))); err != nil {
		return err
	}
	return await(ctx, timeout, cluster.webhooksTrusted("istio-revision-tag-default"))
}
