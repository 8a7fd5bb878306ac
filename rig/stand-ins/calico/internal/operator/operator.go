// Package operator stands in for tigera/operator: it turns the Installation `default` into the workloads of namespace
// calico-system and reports on them in TigeraStatus `calico` and in the Installation's own status.
//
// Informers only wake one loop. Each round reads the Installation, makes what is missing or outdated, and writes the
// conditions when they changed; a round that changes nothing causes no further one.
//
// It has no rights but those of the upstream manifest's ClusterRole. They lack `patch` on most kinds, so objects are
// created and updated, never applied.
package operator

import (
	"context"
	"fmt"
	"log"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"ztlab/rig/calico/internal/wake"
)

const (
	namespace            = "calico-system"
	installationName     = "default"
	statusName           = "calico"
	nodeName             = "calico-node"
	kubeControllersName  = "calico-kube-controllers"
	assessedPodsSelector = "k8s-app in (calico-node, calico-kube-controllers)"
)

const (
	// retryDelay is the pause after a round that failed.
	retryDelay = time.Second
	// roundPause lets the many changes of a rollout gather into few rounds.
	roundPause = 200 * time.Millisecond
	// A round makes about a dozen calls; client-go's default of five a second would stretch the first to seconds.
	callsPerSecond = 50
	callBurst      = 100
)

var (
	installations       = schema.GroupVersionResource{Group: "operator.tigera.io", Version: "v1", Resource: "installations"}
	tigeraStatuses      = schema.GroupVersionResource{Group: "operator.tigera.io", Version: "v1", Resource: "tigerastatuses"}
	felixConfigurations = schema.GroupVersionResource{Group: "crd.projectcalico.org", Version: "v1", Resource: "felixconfigurations"}
)

// Operator reads the cluster through informers and writes through the dynamic client.
type Operator struct {
	client        dynamic.Interface
	installations cache.GenericLister
	daemonSets    appslisters.DaemonSetNamespaceLister
	deployments   appslisters.DeploymentNamespaceLister
	pods          corelisters.PodNamespaceLister
}

// Run works until the context ends.
func Run(ctx context.Context, config *rest.Config) error {
	config.QPS, config.Burst = callsPerSecond, callBurst
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	custom := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	builtIn := informers.NewSharedInformerFactoryWithOptions(typed, 0, informers.WithNamespace(namespace))
	operator := &Operator{
		client:        client,
		installations: custom.ForResource(installations).Lister(),
		daemonSets:    builtIn.Apps().V1().DaemonSets().Lister().DaemonSets(namespace),
		deployments:   builtIn.Apps().V1().Deployments().Lister().Deployments(namespace),
		pods:          builtIn.Core().V1().Pods().Lister().Pods(namespace),
	}
	changes := wake.NewSignal()
	for _, informer := range []cache.SharedInformer{
		custom.ForResource(installations).Informer(),
		custom.ForResource(felixConfigurations).Informer(),
		builtIn.Apps().V1().DaemonSets().Informer(),
		builtIn.Apps().V1().Deployments().Informer(),
		builtIn.Core().V1().Pods().Informer(),
		// Who takes the Installation off the namespace finds it there again, as long as this works.
		builtIn.Core().V1().Namespaces().Informer(),
	} {
		if err := changes.Watch(informer); err != nil {
			return err
		}
	}
	custom.Start(ctx.Done())
	builtIn.Start(ctx.Done())
	custom.WaitForCacheSync(ctx.Done())
	builtIn.WaitForCacheSync(ctx.Done())
	log.Print("watching installations.operator.tigera.io")
	return operator.loop(ctx, changes)
}

func (operator *Operator) loop(ctx context.Context, changes wake.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		}
		if err := operator.round(ctx); err != nil {
			log.Printf("will try again: %v", err)
			time.AfterFunc(retryDelay, changes.Ask)
		}
		time.Sleep(roundPause)
	}
}

func (operator *Operator) round(ctx context.Context) error {
	found, err := operator.installations.Get(installationName)
	if apierrors.IsNotFound(err) {
		return operator.removeStatus(ctx)
	}
	if err != nil {
		return err
	}
	installation, isUnstructured := found.(*unstructured.Unstructured)
	if !isUnstructured {
		return fmt.Errorf("the installation is a %T", found)
	}
	if err := operator.ensureFelixConfiguration(ctx); err != nil {
		return err
	}
	if installation.GetDeletionTimestamp() != nil {
		return nil // what it owns is on its way out too
	}
	complete, changed, err := withDefaults(installation)
	if err != nil {
		return err
	}
	if changed {
		log.Print("writing defaults into the installation")
		_, err := operator.client.Resource(installations).Update(ctx, complete, metav1.UpdateOptions{})
		return err // the update wakes the next round
	}
	settings, err := readSettings(complete)
	if err != nil {
		return operator.report(ctx, complete, verdict{invalid: err})
	}
	objects, err := render(settings, complete)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := operator.ensure(ctx, object); err != nil {
			return err
		}
	}
	if !settings.CSI {
		if err := operator.remove(ctx, resources["DaemonSet"], csiDriver); err != nil {
			return err
		}
	}
	result, err := operator.assess()
	if err != nil {
		return err
	}
	return operator.report(ctx, complete, result)
}

// assess looks at the workloads. The informers may not have seen yet what was made a moment ago.
func (operator *Operator) assess() (verdict, error) {
	node, err := operator.daemonSets.Get(nodeName)
	if apierrors.IsNotFound(err) {
		return verdict{progressing: []string{"DaemonSet " + nodeName + " has just been created"}}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	kubeControllers, err := operator.deployments.Get(kubeControllersName)
	if apierrors.IsNotFound(err) {
		return verdict{progressing: []string{"Deployment " + kubeControllersName + " has just been created"}}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	selector, err := labels.Parse(assessedPodsSelector)
	if err != nil {
		return verdict{}, err
	}
	pods, err := operator.pods.List(selector)
	if err != nil {
		return verdict{}, err
	}
	return assess(assessed{node: node, kubeControllers: kubeControllers, pods: pods}), nil
}
