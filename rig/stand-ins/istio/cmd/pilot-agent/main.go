// pilot-agent is the rig's stand-in for the program in every proxy container.
//
//	pilot-agent istio-iptables FLAGS   redirects the pod's traffic to the proxy, then ends (container istio-init)
//	pilot-agent proxy sidecar FLAGS    runs the proxy of an app (container istio-proxy)
//	pilot-agent proxy router FLAGS     runs a gateway
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"ztlab.rig/istio/internal/agent"
	"ztlab.rig/istio/internal/proxyconfig"
)

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("usage: pilot-agent proxy sidecar|router, or pilot-agent istio-iptables")
	}
	switch arguments[0] {
	case "istio-iptables":
		redirection, err := agent.ParseRedirection(arguments[1:])
		if err != nil {
			return err
		}
		return redirection.Apply()
	case "proxy":
		return runProxy(arguments[1:])
	default:
		return fmt.Errorf("pilot-agent has no command %q", arguments[0])
	}
}

func runProxy(arguments []string) error {
	flags := pflag.NewFlagSet("proxy", pflag.ContinueOnError)
	logLevel := flags.String("proxyLogLevel", "warning", "Envoy's log level")
	for _, unused := range []string{"domain", "proxyComponentLogLevel", "log_output_level"} {
		flags.String(unused, "", "accepted and not used")
	}
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	kind := proxyconfig.Kind(flags.Arg(0))
	if kind != proxyconfig.Sidecar && kind != proxyconfig.Router {
		return fmt.Errorf("a proxy is a sidecar or a router, not %q", kind)
	}
	settings, err := agent.SettingsFromEnvironment(kind, *logLevel)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return agent.Run(ctx, settings)
}
