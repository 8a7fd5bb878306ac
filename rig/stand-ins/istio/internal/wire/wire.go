// Package wire is what proxies and istiod say to each other on port 15012.
//
// The real Istio speaks gRPC there (Envoy's discovery service and a certificate service of its own). The stand-in posts
// JSON over TLS instead: the port, the trust and the proof of identity are the same, a projected service account token
// for the audience istio-ca, only the words are simpler.
package wire

import "ztlab.rig/istio/internal/proxyconfig"

const (
	CertificatePath   = "/v1/certificate"
	ConfigurationPath = "/v1/configuration"
)

// CertificateRequest asks for the caller's certificate.
type CertificateRequest struct {
	Request string `json:"request"`
}

// CertificateReply has the certificate and the root that signed it, as PEM.
type CertificateReply struct {
	Certificate string `json:"certificate"`
	Root        string `json:"root"`
}

// ConfigurationRequest says what the proxy is, what it has, and what its Envoy accepted of it.
// The answer comes when there is something else, or with status 204 after a while.
type ConfigurationRequest struct {
	Kind  proxyconfig.Kind `json:"kind"`
	Has   string           `json:"has"`
	Acked Acked            `json:"acked"`
}

// Acked has the versions that Envoy itself reports as in use.
type Acked struct {
	Listeners string `json:"listeners"`
	Clusters  string `json:"clusters"`
}

// ConfigurationReply is the new configuration.
type ConfigurationReply struct {
	Configuration proxyconfig.Configuration `json:"configuration"`
}
