package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"

	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/proxyconfig"
	"ztlab.rig/istio/internal/wire"
)

// newRequest makes a key and a certificate request for it. The request names nobody: istiod knows who asks.
func newRequest() (request, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	requestDER, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return block("CERTIFICATE REQUEST", requestDER), block("PRIVATE KEY", keyDER), nil
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// writeCertificate hands key, certificate and root to Envoy.
func writeCertificate(reply wire.CertificateReply, key string) error {
	inline := func(text string) envoy.Object { return envoy.Object{"inline_string": text} }
	const secretType = "envoy.extensions.transport_sockets.tls.v3.Secret"
	root := envoy.Typed(secretType, envoy.Object{
		"name": proxyconfig.RootSecret, "validation_context": envoy.Object{"trusted_ca": inline(reply.Root)},
	})
	own := envoy.Typed(secretType, envoy.Object{
		"name": proxyconfig.CertificateSecret,
		"tls_certificate": envoy.Object{
			"certificate_chain": inline(reply.Certificate), "private_key": inline(key),
		},
	})
	// The version of a secret is of no use to anybody: Envoy takes up whatever the new file has.
	if err := writeResources(proxyconfig.RootFile, "", envoy.List{root}); err != nil {
		return err
	}
	return writeResources(proxyconfig.CertificateFile, "", envoy.List{own})
}

// writeConfiguration writes clusters before listeners, so that no route names a cluster that Envoy does not know yet.
func writeConfiguration(configuration proxyconfig.Configuration) error {
	if err := writeResources(proxyconfig.ClustersFile, configuration.ClustersVersion, configuration.Clusters); err != nil {
		return err
	}
	return writeResources(proxyconfig.ListenersFile, configuration.ListenersVersion, configuration.Listeners)
}

// writeResources replaces a file in one move, which is what Envoy watches for. A file with the same content stays
// untouched: Envoy would warm up again for nothing.
func writeResources(path, version string, resources envoy.List) error {
	text, err := json.Marshal(envoy.Object{"version_info": version, "resources": resources})
	if err != nil {
		return err
	}
	if present, err := os.ReadFile(path); err == nil && string(present) == string(text) {
		return nil
	}
	// Only the proxy's user may read it: one of the files has the private key.
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
