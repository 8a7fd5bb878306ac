package install

import (
	"fmt"
	"strings"
)

const metadataPrefix = "meshConfig.defaultConfig.proxyMetadata."

// Settings is what --set decides.
type Settings struct {
	Hub           string
	Tag           string
	PullPolicy    string
	ProxyMetadata map[string]string
	// NoEgress says that the egress gateway is switched off.
	NoEgress bool
	// given has each key as it was written; the final state keeps it.
	given map[string]string
}

// KnownKeys are the only keys of --set. The real istioctl knows hundreds: an unknown one is an error here, so that a
// change of the product's arguments is noticed instead of having no effect.
var KnownKeys = []string{"profile", "hub", "tag", "values.global.imagePullPolicy", metadataPrefix + "NAME",
	egressName, egressEnabled}

// The one gateway that may be switched off. The real istioctl merges gateways by their names, so a list entry needs one.
const (
	egressName    = "components.egressGateways[0].name"
	egressEnabled = "components.egressGateways[0].enabled"
)

// ParseSettings reads the values of --set.
func ParseSettings(assignments []string) (Settings, error) {
	settings := Settings{
		Hub: "docker.io/istio", Tag: "1.20.0", ProxyMetadata: map[string]string{}, given: map[string]string{},
	}
	profile := ""
	for _, assignment := range assignments {
		key, value, complete := strings.Cut(assignment, "=")
		if !complete {
			return Settings{}, fmt.Errorf("--set %s: want KEY=VALUE", assignment)
		}
		settings.given[key] = value
		name, isMetadata := strings.CutPrefix(key, metadataPrefix)
		switch {
		case isMetadata && name != "":
			settings.ProxyMetadata[name] = value
		case key == "profile":
			profile = value
		case key == "hub":
			settings.Hub = value
		case key == "tag":
			settings.Tag = value
		case key == "values.global.imagePullPolicy":
			settings.PullPolicy = value
		case key == egressName && value == egress.Name:
		case key == egressEnabled && (value == "true" || value == "false"):
			settings.NoEgress = value == "false"
		default:
			return Settings{}, fmt.Errorf("--set %s: the stand-in does not know this key; it knows %s", key, strings.Join(KnownKeys, ", "))
		}
	}
	if _, switched := settings.given[egressEnabled]; switched && settings.given[egressName] == "" {
		return Settings{}, fmt.Errorf("--set %s: does not contain declared merge key: name", egressEnabled)
	}
	if profile != "demo" {
		return Settings{}, fmt.Errorf("profile %q: the stand-in has the profile demo only; use --set profile=demo", profile)
	}
	return settings, nil
}
