package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"ztlab.rig/istio/internal/authority"
	"ztlab.rig/istio/internal/names"
)

// caSecret keeps the root, so that a restarted istiod signs for the same mesh.
const (
	caSecret         = "istio-ca-secret"
	caCertificateKey = "ca-cert.pem"
	caKeyKey         = "ca-key.pem"
	caSecretType     = "istio.io/ca-root"
)

// trustRepeat is how often a failed write of the root is tried again; a namespace that is going away stays a failure.
const trustRepeat = 5 * time.Second

// LoadAuthority takes up the root that an earlier istiod kept, or makes and keeps one.
func LoadAuthority(ctx context.Context, client kubernetes.Interface) (*authority.Authority, error) {
	secrets := client.CoreV1().Secrets(names.RootNamespace)
	for {
		kept, err := secrets.Get(ctx, caSecret, metav1.GetOptions{})
		if err == nil {
			return authority.Load(kept.Data[caCertificateKey], kept.Data[caKeyKey])
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("reading secret %s: %w", caSecret, err)
		}
		fresh, err := authority.New()
		if err != nil {
			return nil, err
		}
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: caSecret, Namespace: names.RootNamespace},
			Type:       caSecretType,
			Data:       map[string][]byte{caCertificateKey: fresh.Root(), caKeyKey: fresh.Key()},
		}, metav1.CreateOptions{})
		if err == nil {
			return fresh, nil
		}
		// Another istiod was faster: its root counts, and the next round reads it.
		if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("keeping the root in secret %s: %w", caSecret, err)
		}
	}
}

// trustKeeper spreads the root: to a ConfigMap in each namespace, where proxies look for it, and into the webhook
// configurations, where the API server does.
type trustKeeper struct {
	client kubernetes.Interface
	root   []byte
}

// KeepTrust watches namespaces and webhook configurations and writes the root wherever it is missing.
func KeepTrust(ctx context.Context, client kubernetes.Interface, root []byte) error {
	keeper := trustKeeper{client: client, root: root}
	factory := informers.NewSharedInformerFactory(client, trustRepeat)
	watched := []cache.SharedIndexInformer{
		factory.Core().V1().Namespaces().Informer(),
		factory.Admissionregistration().V1().MutatingWebhookConfigurations().Informer(),
		factory.Admissionregistration().V1().ValidatingWebhookConfigurations().Informer(),
	}
	for _, informer := range watched {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { keeper.keep(ctx, object) },
			UpdateFunc: func(_, object any) { keeper.keep(ctx, object) },
		}); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	return nil
}

func (keeper trustKeeper) keep(ctx context.Context, object any) {
	var err error
	switch object := object.(type) {
	case *corev1.Namespace:
		if object.DeletionTimestamp == nil {
			err = keeper.keepNamespace(ctx, object.Name)
		}
	case *admissionv1.MutatingWebhookConfiguration:
		clients := []admissionv1.WebhookClientConfig{}
		for _, webhook := range object.Webhooks {
			clients = append(clients, webhook.ClientConfig)
		}
		if patch := keeper.patch(object.Labels, clients); patch != nil {
			_, err = keeper.client.AdmissionregistrationV1().MutatingWebhookConfigurations().
				Patch(ctx, object.Name, types.JSONPatchType, patch, metav1.PatchOptions{})
		}
	case *admissionv1.ValidatingWebhookConfiguration:
		clients := []admissionv1.WebhookClientConfig{}
		for _, webhook := range object.Webhooks {
			clients = append(clients, webhook.ClientConfig)
		}
		if patch := keeper.patch(object.Labels, clients); patch != nil {
			_, err = keeper.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().
				Patch(ctx, object.Name, types.JSONPatchType, patch, metav1.PatchOptions{})
		}
	}
	if err != nil {
		log.Printf("spreading the root certificate: %v", err)
	}
}

// patch writes the root into each webhook of this revision that lacks it; nil when none does.
func (keeper trustKeeper) patch(labels map[string]string, clients []admissionv1.WebhookClientConfig) []byte {
	if labels[names.RevisionLabel] != names.Revision {
		return nil
	}
	type operation struct {
		Kind  string `json:"op"`
		Path  string `json:"path"`
		Value []byte `json:"value"`
	}
	operations := []operation{}
	for index, client := range clients {
		if client.Service != nil && client.Service.Namespace == names.RootNamespace && !bytes.Equal(client.CABundle, keeper.root) {
			operations = append(operations, operation{"add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", index), keeper.root})
		}
	}
	if len(operations) == 0 {
		return nil
	}
	text, err := json.Marshal(operations)
	if err != nil {
		log.Printf("writing a patch: %v", err)
		return nil
	}
	return text
}

func (keeper trustKeeper) keepNamespace(ctx context.Context, namespace string) error {
	maps := keeper.client.CoreV1().ConfigMaps(namespace)
	wanted := map[string]string{names.RootCertificateKey: string(keeper.root)}
	present, err := maps.Get(ctx, names.RootCertificateMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Name: names.RootCertificateMap, Namespace: namespace, Labels: map[string]string{"istio.io/config": "true"},
			},
			Data: wanted,
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil || present.Data[names.RootCertificateKey] == string(keeper.root) {
		return err
	}
	changed := present.DeepCopy()
	changed.Data = wanted
	_, err = maps.Update(ctx, changed, metav1.UpdateOptions{})
	return err
}
