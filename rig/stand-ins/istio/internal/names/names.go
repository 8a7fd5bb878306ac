// Package names holds the names, numbers and labels that the stand-ins share with the real Istio 1.20.0.
// They are interfaces: the product, the dashboards and Kubernetes itself look for exactly these.
package names

import "fmt"

const (
	// Version is the release that the stand-ins stand in for.
	Version = "1.20.0"
	// RootNamespace holds the control plane; a policy in it without a selector covers the whole mesh.
	RootNamespace = "istio-system"
	TrustDomain   = "cluster.local"
	ClusterDomain = "cluster.local"
	ClusterID     = "Kubernetes"
	Revision      = "default"
)

// Ports of the control plane.
const (
	DiscoveryPort  = 15012
	WebhookPort    = 15017
	MonitoringPort = 15014
	ReadyPort      = 8080
)

// Ports of a proxy.
const (
	OutboundPort   = 15001
	InboundPort    = 15006
	AdminPort      = 15000
	AgentPort      = 15020
	HealthPort     = 15021
	PrometheusPort = 15090
)

// ProxyUser is the user and group of every proxy; the redirection rules let its packets pass.
const ProxyUser = 1337

// InboundSource is the address that a proxy calls its own app from.
// The redirection rules know it, so such a call is not sent back to the proxy.
const InboundSource = "127.0.0.6"

// DiscoveryHost is the name under which proxies and the API server reach istiod.
const DiscoveryHost = "istiod." + RootNamespace + ".svc"

const (
	// TLSModeLabel marks a pod whose proxy speaks mutual TLS; callers read it from the endpoint's pod.
	TLSModeLabel      = "security.istio.io/tlsMode"
	CanonicalName     = "service.istio.io/canonical-name"
	CanonicalRevision = "service.istio.io/canonical-revision"
	InjectLabel       = "sidecar.istio.io/inject"
	StatusAnnotation  = "sidecar.istio.io/status"
	RevisionLabel     = "istio.io/rev"
	ComponentLabel    = "operator.istio.io/component"
	// RootCertificateMap is the ConfigMap, in every namespace, from which proxies learn whom to trust.
	RootCertificateMap = "istio-ca-root-cert"
	RootCertificateKey = "root-cert.pem"
	// TokenAudience is the audience of the tokens that proxies show to istiod.
	TokenAudience = "istio-ca"
)

// Identity is the SPIFFE identity of a service account.
func Identity(namespace, serviceAccount string) string {
	return fmt.Sprintf("spiffe://%s/ns/%s/sa/%s", TrustDomain, namespace, serviceAccount)
}

// ServiceHost is the full name of a Service.
func ServiceHost(name, namespace string) string {
	return fmt.Sprintf("%s.%s.svc.%s", name, namespace, ClusterDomain)
}
