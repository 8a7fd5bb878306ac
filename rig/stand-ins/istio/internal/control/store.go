package control

import (
	"context"
	"log"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"ztlab.rig/istio/internal/mesh"
)

// settle is how long the store waits for more changes before it makes a new snapshot: starting pods come in bursts.
const settle = 100 * time.Millisecond

// resynchronization is off: watches tell everything, and a list now and then would only wake proxies for nothing.
const resynchronization = 0

var policyResources = struct{ peerAuthentications, authorizationPolicies, gateways, virtualServices schema.GroupVersionResource }{
	peerAuthentications:   schema.GroupVersionResource{Group: "security.istio.io", Version: "v1beta1", Resource: "peerauthentications"},
	authorizationPolicies: schema.GroupVersionResource{Group: "security.istio.io", Version: "v1beta1", Resource: "authorizationpolicies"},
	gateways:              schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "gateways"},
	virtualServices:       schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "virtualservices"},
}

// Store watches the cluster and keeps the newest snapshot.
type Store struct {
	kubernetes informers.SharedInformerFactory
	policies   dynamicinformer.DynamicSharedInformerFactory
	dirty      chan struct{}

	mutex    sync.Mutex
	snapshot *mesh.Snapshot
	changed  chan struct{}
}

// NewStore prepares the watches; Run starts them.
func NewStore(client kubernetes.Interface, dynamicClient dynamic.Interface) *Store {
	return &Store{
		kubernetes: informers.NewSharedInformerFactory(client, resynchronization),
		policies:   dynamicinformer.NewDynamicSharedInformerFactory(dynamicClient, resynchronization),
		dirty:      make(chan struct{}, 1),
		snapshot:   &mesh.Snapshot{},
		changed:    make(chan struct{}),
	}
}

// Run starts the watches and returns when the first snapshot is there; later ones follow until the context ends.
func (store *Store) Run(ctx context.Context) error {
	watched := []cache.SharedIndexInformer{
		store.kubernetes.Core().V1().Pods().Informer(),
		store.kubernetes.Core().V1().Services().Informer(),
		store.kubernetes.Discovery().V1().EndpointSlices().Informer(),
		store.policies.ForResource(policyResources.peerAuthentications).Informer(),
		store.policies.ForResource(policyResources.authorizationPolicies).Informer(),
		store.policies.ForResource(policyResources.gateways).Informer(),
		store.policies.ForResource(policyResources.virtualServices).Informer(),
	}
	synced := make([]cache.InformerSynced, 0, len(watched))
	for _, informer := range watched {
		if _, err := informer.AddEventHandler(store.wake()); err != nil {
			return err
		}
		synced = append(synced, informer.HasSynced)
	}
	store.kubernetes.Start(ctx.Done())
	store.policies.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return ctx.Err()
	}
	store.publish()
	go store.follow(ctx)
	return nil
}

// Snapshot is the newest snapshot, and a channel that is closed when there is a newer one.
func (store *Store) Snapshot() (*mesh.Snapshot, <-chan struct{}) {
	store.mutex.Lock()
	defer store.mutex.Unlock()
	return store.snapshot, store.changed
}

func (store *Store) wake() cache.ResourceEventHandlerFuncs {
	mark := func() {
		select {
		case store.dirty <- struct{}{}:
		default: // somebody has marked it already
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { mark() },
		UpdateFunc: func(any, any) { mark() },
		DeleteFunc: func(any) { mark() },
	}
}

func (store *Store) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-store.dirty:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settle):
		}
		store.publish()
	}
}

func (store *Store) publish() {
	snapshot, err := store.read()
	if err != nil {
		log.Printf("reading the watched objects: %v", err)
		return
	}
	store.mutex.Lock()
	defer store.mutex.Unlock()
	store.snapshot = snapshot
	close(store.changed)
	store.changed = make(chan struct{})
}

func (store *Store) read() (*mesh.Snapshot, error) {
	everything := labels.Everything()
	pods, err := store.kubernetes.Core().V1().Pods().Lister().List(everything)
	if err != nil {
		return nil, err
	}
	services, err := store.kubernetes.Core().V1().Services().Lister().List(everything)
	if err != nil {
		return nil, err
	}
	slices, err := store.kubernetes.Discovery().V1().EndpointSlices().Lister().List(everything)
	if err != nil {
		return nil, err
	}
	snapshot := &mesh.Snapshot{Workloads: workloads(pods), Services: meshServices(services, slices)}
	return snapshot, store.readPolicies(snapshot)
}

// PodNamed finds a pod among the watched ones.
func (store *Store) PodNamed(namespace, name string) (*corev1.Pod, error) {
	return store.kubernetes.Core().V1().Pods().Lister().Pods(namespace).Get(name)
}

func endpointsOf(slices []*discoveryv1.EndpointSlice) map[string][]*discoveryv1.EndpointSlice {
	byService := map[string][]*discoveryv1.EndpointSlice{}
	for _, slice := range slices {
		owner := slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]
		byService[owner] = append(byService[owner], slice)
	}
	return byService
}
