package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ztlab/rig/calico/internal/health"
	"ztlab/rig/calico/internal/netfilter"
	"ztlab/rig/calico/internal/policy"
	"ztlab/rig/calico/internal/wake"
)

// bridgeFilterSetting makes the kernel show packets between two pods of one bridge to iptables. Without it two pods of
// this node would talk past every policy. It belongs to the network namespace, so no other node is touched.
const bridgeFilterSetting = "/proc/sys/net/bridge/bridge-nf-call-iptables"

// retryDelay is the pause after a plan could not be put into the kernel.
const retryDelay = time.Second

// enforce keeps the kernel's rules equal to the API's policies until the context ends. The rules stay when it ends:
// a restart of this program must not open what was closed.
func enforce(ctx context.Context, state *health.State) error {
	if err := os.WriteFile(bridgeFilterSetting, []byte("1"), 0o644); err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	if err := openBooks(ctx, config); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	changes := wake.NewSignal()
	if err := changes.Watch(pods.Informer()); err != nil {
		return err
	}
	if err := changes.Watch(namespaces.Informer()); err != nil {
		return err
	}
	if err := changes.Watch(policies.Informer()); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	log.Print("watching pods, namespaces and networkpolicies")

	plan := func() (policy.Plan, error) {
		podList, err := pods.Lister().List(labels.Everything())
		if err != nil {
			return policy.Plan{}, err
		}
		namespaceList, err := namespaces.Lister().List(labels.Everything())
		if err != nil {
			return policy.Plan{}, err
		}
		policyList, err := policies.Lister().List(labels.Everything())
		if err != nil {
			return policy.Plan{}, err
		}
		return policy.Compute(podList, namespaceList, policyList), nil
	}
	return follow(ctx, changes, plan, state)
}

// follow applies every plan that differs from the one before.
func follow(ctx context.Context, changes wake.Signal, plan func() (policy.Plan, error), state *health.State) error {
	var applied policy.Plan
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		}
		wanted, err := plan()
		if err == nil && !reflect.DeepEqual(wanted, applied) {
			started := time.Now()
			if err = netfilter.Apply(ctx, wanted); err == nil {
				applied = wanted
				log.Printf("applied %d chains and %d sets in %s", len(wanted.Chains), len(wanted.Sets), time.Since(started).Round(time.Millisecond))
			}
		}
		if err != nil {
			err = fmt.Errorf("the policies are not enforced: %w", err)
			log.Print(err)
			time.AfterFunc(retryDelay, changes.Ask)
		}
		state.Set(err)
	}
}
