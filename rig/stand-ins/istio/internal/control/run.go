// Package control is the stand-in for istiod: it signs the proxies' certificates, tells them what to do, puts them into
// pods, and refuses policies that it would not obey.
package control

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ztlab.rig/istio/internal/inject"
	"ztlab.rig/istio/internal/names"
)

const (
	meshConfigMap     = "istio"
	injectorConfigMap = "istio-sidecar-injector"
	headerTimeout     = 10 * time.Second
)

// Run serves until the context ends or a port fails.
func Run(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	signer, err := LoadAuthority(ctx, client)
	if err != nil {
		return err
	}
	certificate, err := signer.ServerCertificate(names.DiscoveryHost, "istiod."+names.RootNamespace, names.ServiceHost("istiod", names.RootNamespace))
	if err != nil {
		return err
	}
	store := NewStore(client, dynamicClient)
	if err := store.Run(ctx); err != nil {
		return fmt.Errorf("watching the cluster: %w", err)
	}
	if err := KeepTrust(ctx, client, signer.Root()); err != nil {
		return err
	}
	proxies := NewProxies()
	discovery := Discovery{authority: signer, reviewer: NewReviewer(client), store: store, proxies: proxies}
	settings := func() (inject.Settings, error) { return readSettings(ctx, client) }
	failed := make(chan error)
	serve := func(port int, handler http.Handler, certificates ...tls.Certificate) {
		go func() { failed <- listen(port, handler, certificates) }()
	}
	serve(names.DiscoveryPort, discovery.Handler(), certificate)
	serve(names.WebhookPort, Webhooks(settings), certificate)
	serve(names.MonitoringPort, monitoring(store, proxies))
	serve(names.ReadyPort, ready())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func listen(port int, handler http.Handler, certificates []tls.Certificate) error {
	server := http.Server{
		Addr:              fmt.Sprintf(":%d", port),
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		TLSConfig:         &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12},
	}
	if len(certificates) > 0 {
		return server.ListenAndServeTLS("", "")
	}
	return server.ListenAndServe()
}

// ready starts to answer when everything else does: the watches are filled before any port is opened.
func ready() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	return mux
}

func monitoring(store *Store, proxies *Proxies) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/syncz", proxies.Syncz(store))
	mux.HandleFunc("/version", func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(writer, names.Version) })
	mux.HandleFunc("/metrics", func(writer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(writer, "# TYPE istio_build gauge\nistio_build{component=\"pilot\",tag=%q} 1\n", names.Version)
	})
	return mux
}

func readSettings(ctx context.Context, client kubernetes.Interface) (inject.Settings, error) {
	maps := client.CoreV1().ConfigMaps(names.RootNamespace)
	meshMap, err := maps.Get(ctx, meshConfigMap, metav1.GetOptions{})
	if err != nil {
		return inject.Settings{}, err
	}
	injectorMap, err := maps.Get(ctx, injectorConfigMap, metav1.GetOptions{})
	if err != nil {
		return inject.Settings{}, err
	}
	return inject.ParseSettings(meshMap.Data["mesh"], injectorMap.Data["values"])
}
