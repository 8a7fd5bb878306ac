// Package agent is the stand-in for pilot-agent: it fetches the proxy's certificate and configuration from istiod,
// runs Envoy with them, and answers the kubelet and Prometheus.
package agent

import (
	"fmt"
	"os"

	"ztlab.rig/istio/internal/names"
	"ztlab.rig/istio/internal/proxyconfig"
)

// Paths of the image and of the pod's mounts.
const (
	envoyProgram  = "/usr/local/bin/envoy"
	bootstrapFile = "/etc/istio/proxy/envoy-rev.json"
	tokenFile     = "/var/run/secrets/tokens/istio-token"
	rootCertFile  = "/var/run/secrets/istio/" + names.RootCertificateKey
)

const (
	// workers is Envoy's number of threads: the rig has two cores and some ten proxies.
	workers = "1"
	// flushInterval (ms) is how late requests may appear in the statistics; Envoy's own default is ten seconds.
	flushInterval = "1000"
	// drainTime (s) is how long connections of replaced rules may live. With the strategy "immediate" each of them is
	// closed after its next answer; Envoy's default would let them go on under the old rules for minutes.
	drainTime     = "45"
	drainStrategy = "immediate"
)

// Settings is what the pod says about the proxy.
type Settings struct {
	Kind      proxyconfig.Kind
	Pod       string
	Namespace string
	Workload  string
	Address   string
	Discovery string
	LogLevel  string
	Probers   string
}

// SettingsFromEnvironment reads the environment that the pod gives.
func SettingsFromEnvironment(kind proxyconfig.Kind, logLevel string) (Settings, error) {
	settings := Settings{Kind: kind, LogLevel: logLevel, Probers: os.Getenv("ISTIO_KUBE_APP_PROBERS")}
	for name, into := range map[string]*string{
		"POD_NAME":      &settings.Pod,
		"POD_NAMESPACE": &settings.Namespace,
		"INSTANCE_IP":   &settings.Address,
		"CA_ADDR":       &settings.Discovery,

		"ISTIO_META_WORKLOAD_NAME": &settings.Workload,
	} {
		*into = os.Getenv(name)
		if *into == "" {
			return Settings{}, fmt.Errorf("%s is not set: this program runs in a pod that istiod or istioctl made", name)
		}
	}
	return settings, nil
}

// node is how Envoy calls itself in its statistics and headers.
func (settings Settings) node() string {
	return fmt.Sprintf("%s~%s~%s.%s~%s.svc.%s", settings.Kind, settings.Address, settings.Pod, settings.Namespace,
		settings.Namespace, names.ClusterDomain)
}
