package agent

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/pflag"
)

// restoreProgram is named in full: Debian's plain names are links that only the package's own scripts make.
const restoreProgram = "/usr/sbin/iptables-nft-restore"

// Redirection is what istio-init is told, in the flags of the real istio-iptables.
type Redirection struct {
	OutboundPort  string
	InboundPort   string
	User          string
	Mode          string
	IncludeRanges string
	ExcludeRanges string
	IncludePorts  string
	ExcludePorts  string
}

// ParseRedirection reads the flags. Values that the stand-in cannot do are refused.
func ParseRedirection(arguments []string) (Redirection, error) {
	var redirection Redirection
	flags := pflag.NewFlagSet("istio-iptables", pflag.ContinueOnError)
	flags.StringVarP(&redirection.OutboundPort, "envoy-port", "p", "15001", "port of the proxy's outbound side")
	flags.StringVarP(&redirection.InboundPort, "inbound-capture-port", "z", "15006", "port of the proxy's inbound side")
	flags.StringVarP(&redirection.User, "proxy-uid", "u", "1337", "user and group of the proxy")
	flags.StringVarP(&redirection.Mode, "istio-inbound-interception-mode", "m", "REDIRECT", "how to redirect")
	flags.StringVarP(&redirection.IncludeRanges, "istio-service-cidr", "i", "*", "destinations to redirect")
	flags.StringVarP(&redirection.ExcludeRanges, "istio-service-exclude-cidr", "x", "", "destinations to leave alone")
	flags.StringVarP(&redirection.IncludePorts, "istio-inbound-ports", "b", "*", "ports of the pod to redirect")
	flags.StringVarP(&redirection.ExcludePorts, "istio-local-exclude-ports", "d", "", "ports of the pod to leave alone")
	flags.String("log_output_level", "", "accepted and not used")
	if err := flags.Parse(arguments); err != nil {
		return Redirection{}, err
	}
	if redirection.Mode != "REDIRECT" || redirection.IncludeRanges != "*" || redirection.ExcludeRanges != "" || redirection.IncludePorts != "*" {
		return Redirection{}, fmt.Errorf("the stand-in redirects everything or nothing: %+v", redirection)
	}
	return redirection, nil
}

// Rules are the redirection in the format of iptables-restore, with the real chains. Reading order matters:
// what Envoy sends to its own pod by the pod's address goes through the inbound side once more (an app that calls its
// own Service), everything else of Envoy's passes, and so does what the app says to itself.
func (redirection Redirection) Rules() string {
	lines := []string{"*nat", ":ISTIO_INBOUND - [0:0]", ":ISTIO_REDIRECT - [0:0]", ":ISTIO_IN_REDIRECT - [0:0]", ":ISTIO_OUTPUT - [0:0]"}
	rule := func(format string, arguments ...any) { lines = append(lines, fmt.Sprintf("-A "+format, arguments...)) }
	rule("ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports %s", redirection.OutboundPort)
	rule("ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports %s", redirection.InboundPort)
	rule("PREROUTING -p tcp -j ISTIO_INBOUND")
	for _, port := range strings.Split(redirection.ExcludePorts, ",") {
		if port != "" {
			rule("ISTIO_INBOUND -p tcp --dport %s -j RETURN", port)
		}
	}
	rule("ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT")
	rule("OUTPUT -p tcp -j ISTIO_OUTPUT")
	rule("ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN")
	for _, owner := range []string{"--uid-owner", "--gid-owner"} {
		rule("ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m owner %s %s -j ISTIO_IN_REDIRECT", owner, redirection.User)
		rule("ISTIO_OUTPUT -o lo -m owner ! %s %s -j RETURN", owner, redirection.User)
		rule("ISTIO_OUTPUT -m owner %s %s -j RETURN", owner, redirection.User)
	}
	rule("ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN")
	rule("ISTIO_OUTPUT -j ISTIO_REDIRECT")
	return strings.Join(append(lines, "COMMIT", ""), "\n")
}

// Apply puts the rules into the pod's network namespace, all at once.
func (redirection Redirection) Apply() error {
	command := exec.Command(restoreProgram, "--noflush")
	command.Stdin = strings.NewReader(redirection.Rules())
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w", restoreProgram, err)
	}
	return nil
}
