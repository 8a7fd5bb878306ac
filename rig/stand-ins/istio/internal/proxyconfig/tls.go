package proxyconfig

import (
	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/names"
)

// Files that pilot-agent writes and Envoy watches.
const (
	CertificateFile = "/etc/istio/proxy/certificate.json"
	RootFile        = "/etc/istio/proxy/root.json"
	ListenersFile   = "/etc/istio/proxy/listeners.json"
	ClustersFile    = "/etc/istio/proxy/clusters.json"
	// CertificateSecret and RootSecret are the names of the secrets in those files.
	CertificateSecret = "default"
	RootSecret        = "ROOTCA"
)

// peerProtocol is the application protocol that proxies of a mesh offer each other.
const peerProtocol = "istio"

// FileSource is a source of configuration that Envoy reads again when the file is replaced.
func FileSource(path string) envoy.Object {
	return envoy.Object{"resource_api_version": "V3", "path_config_source": envoy.Object{"path": path}}
}

// commonTLS is what both ends have: the proxy's own certificate, and the names that it accepts from the other end.
func commonTLS(acceptedNames envoy.List) envoy.Object {
	return envoy.Object{
		"tls_params":     envoy.Object{"tls_minimum_protocol_version": "TLSv1_2"},
		"alpn_protocols": envoy.List{peerProtocol},
		"tls_certificate_sds_secret_configs": envoy.List{
			envoy.Object{"name": CertificateSecret, "sds_config": FileSource(CertificateFile)},
		},
		"combined_validation_context": envoy.Object{
			"default_validation_context":           envoy.Object{"match_typed_subject_alt_names": acceptedNames},
			"validation_context_sds_secret_config": envoy.Object{"name": RootSecret, "sds_config": FileSource(RootFile)},
		},
	}
}

func identityName(matcher envoy.Object) envoy.Object {
	return envoy.Object{"san_type": "URI", "matcher": matcher}
}

// serverTLS demands a certificate of the mesh from the caller; who it is decides the authorization filter.
func serverTLS() envoy.Object {
	anyone := identityName(envoy.Object{"prefix": "spiffe://" + names.TrustDomain + "/"})
	return envoy.Extension("envoy.transport_sockets.tls", "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
		envoy.Object{"require_client_certificate": true, "common_tls_context": commonTLS(envoy.List{anyone})})
}

// clientTLS accepts only the identities that the Service's pods have, so that nobody else can answer in their place.
func clientTLS(serverName string, identities []string) envoy.Object {
	accepted := envoy.List{}
	for _, identity := range identities {
		accepted = append(accepted, identityName(envoy.Object{"exact": identity}))
	}
	return envoy.Extension("envoy.transport_sockets.tls", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
		envoy.Object{"sni": serverName, "common_tls_context": commonTLS(accepted)})
}
