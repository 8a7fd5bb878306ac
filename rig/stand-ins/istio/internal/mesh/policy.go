package mesh

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// The specs below hold the fields that the stand-in obeys, and no others. The validating webhook decodes strictly, so a
// policy that asks for more is refused with the field's name, instead of being accepted and silently not enforced.

// Object is what all policies have in common.
type Object struct {
	Name      string
	Namespace string
	Created   time.Time
}

// Selector picks workloads by labels; nil picks all.
type Selector struct {
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}

// Picks says whether the labels carry everything that the selector asks for.
func (selector *Selector) Picks(labels map[string]string) bool {
	if selector == nil {
		return true
	}
	return hasAll(labels, selector.MatchLabels)
}

// Empty says whether the selector narrows nothing.
func (selector *Selector) Empty() bool {
	return selector == nil || len(selector.MatchLabels) == 0
}

func hasAll(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// PeerAuthentication says whether a workload's callers must use mutual TLS.
type PeerAuthentication struct {
	Object
	Spec PeerAuthenticationSpec
}

type PeerAuthenticationSpec struct {
	Selector *Selector `json:"selector,omitempty"`
	MTLS     struct {
		Mode string `json:"mode,omitempty"`
	} `json:"mtls,omitempty"`
}

// AuthorizationPolicy says who may ask a workload for what.
type AuthorizationPolicy struct {
	Object
	Spec AuthorizationSpec
}

type AuthorizationSpec struct {
	Selector *Selector `json:"selector,omitempty"`
	Action   string    `json:"action,omitempty"`
	Rules    []Rule    `json:"rules,omitempty"`
}

// Rule holds when one of From and one of To holds; an empty list holds always.
type Rule struct {
	From []struct {
		Source Source `json:"source"`
	} `json:"from,omitempty"`
	To []struct {
		Operation Operation `json:"operation"`
	} `json:"to,omitempty"`
}

type Source struct {
	Principals    []string `json:"principals,omitempty"`
	NotPrincipals []string `json:"notPrincipals,omitempty"`
	Namespaces    []string `json:"namespaces,omitempty"`
	NotNamespaces []string `json:"notNamespaces,omitempty"`
}

type Operation struct {
	Hosts      []string `json:"hosts,omitempty"`
	NotHosts   []string `json:"notHosts,omitempty"`
	Ports      []string `json:"ports,omitempty"`
	NotPorts   []string `json:"notPorts,omitempty"`
	Methods    []string `json:"methods,omitempty"`
	NotMethods []string `json:"notMethods,omitempty"`
	Paths      []string `json:"paths,omitempty"`
	NotPaths   []string `json:"notPaths,omitempty"`
}

// Gateway opens ports on gateway pods.
type Gateway struct {
	Object
	Spec GatewaySpec
}

type GatewaySpec struct {
	Selector map[string]string `json:"selector,omitempty"`
	Servers  []Server          `json:"servers,omitempty"`
}

type Server struct {
	Name string `json:"name,omitempty"`
	Port struct {
		Number   int    `json:"number"`
		Name     string `json:"name"`
		Protocol string `json:"protocol"`
	} `json:"port"`
	Hosts []string `json:"hosts"`
}

// Picks says whether the gateway opens its ports on the workload.
func (gateway Gateway) Picks(workload Workload) bool {
	return hasAll(workload.Labels, gateway.Spec.Selector)
}

// VirtualService routes requests for some hosts.
type VirtualService struct {
	Object
	Spec VirtualServiceSpec
}

type VirtualServiceSpec struct {
	Hosts    []string    `json:"hosts"`
	Gateways []string    `json:"gateways,omitempty"`
	HTTP     []HTTPRoute `json:"http,omitempty"`
}

type HTTPRoute struct {
	Name  string      `json:"name,omitempty"`
	Match []HTTPMatch `json:"match,omitempty"`
	Route []struct {
		Destination Destination `json:"destination"`
		Weight      int         `json:"weight,omitempty"`
	} `json:"route"`
	Rewrite *struct {
		URI string `json:"uri"`
	} `json:"rewrite,omitempty"`
	Timeout string `json:"timeout,omitempty"`
}

type HTTPMatch struct {
	Name string `json:"name,omitempty"`
	URI  *struct {
		Exact  string `json:"exact,omitempty"`
		Prefix string `json:"prefix,omitempty"`
		Regex  string `json:"regex,omitempty"`
	} `json:"uri,omitempty"`
}

type Destination struct {
	Host string `json:"host"`
	Port *struct {
		Number int `json:"number"`
	} `json:"port,omitempty"`
}

// Check decodes a spec strictly. The error names the first field that the stand-in does not obey.
func Check(kind string, spec []byte) error {
	switch kind {
	case "PeerAuthentication":
		var decoded PeerAuthenticationSpec
		if err := decodeStrictly(spec, &decoded); err != nil {
			return err
		}
		return oneOf("mtls.mode", decoded.MTLS.Mode, "", "UNSET", "STRICT", "PERMISSIVE", "DISABLE")
	case "AuthorizationPolicy":
		var decoded AuthorizationSpec
		if err := decodeStrictly(spec, &decoded); err != nil {
			return err
		}
		if err := checkPorts(decoded); err != nil {
			return err
		}
		return oneOf("action", decoded.Action, "", "ALLOW", "DENY")
	case "Gateway":
		var decoded GatewaySpec
		if err := decodeStrictly(spec, &decoded); err != nil {
			return err
		}
		for _, server := range decoded.Servers {
			if err := oneOf("servers.port.protocol", server.Port.Protocol, "HTTP", "HTTP2"); err != nil {
				return err
			}
		}
		return nil
	case "VirtualService":
		var decoded VirtualServiceSpec
		if err := decodeStrictly(spec, &decoded); err != nil {
			return err
		}
		return checkTimeouts(decoded)
	default:
		return fmt.Errorf("the rig's stand-in for Istio does not obey %s objects", kind)
	}
}

func decodeStrictly(spec []byte, into any) error {
	if len(spec) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(spec))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("the rig's stand-in for Istio does not obey this: %w", err)
	}
	return nil
}

func oneOf(field, value string, allowed ...string) error {
	for _, candidate := range allowed {
		if value == candidate {
			return nil
		}
	}
	return fmt.Errorf("the rig's stand-in for Istio knows no %s %q", field, value)
}

func checkPorts(spec AuthorizationSpec) error {
	for _, rule := range spec.Rules {
		for _, to := range rule.To {
			for _, port := range append(append([]string{}, to.Operation.Ports...), to.Operation.NotPorts...) {
				if _, err := strconv.ParseUint(port, 10, 16); err != nil {
					return fmt.Errorf("operation.ports: %q is not a port", port)
				}
			}
		}
	}
	return nil
}

func checkTimeouts(spec VirtualServiceSpec) error {
	for _, route := range spec.HTTP {
		if route.Timeout == "" {
			continue
		}
		if _, err := time.ParseDuration(route.Timeout); err != nil {
			return fmt.Errorf("http.timeout: %w", err)
		}
	}
	return nil
}
