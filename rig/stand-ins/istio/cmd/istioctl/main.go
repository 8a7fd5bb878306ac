// istioctl is the rig's stand-in for Istio's command of the same name: install, uninstall and version, with the flags
// that the lab uses. Anything else is refused, so that nobody takes a flag for obeyed that is not.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"ztlab.rig/istio/internal/install"
	"ztlab.rig/istio/internal/names"
)

var usage = `istioctl install --set KEY=VALUE... [-y] [--readiness-timeout 5m0s]
istioctl uninstall --purge [-y]
istioctl version [--remote=false]
Each takes --context NAME and --kubeconfig FILE. Keys of --set: ` + strings.Join(install.KnownKeys, ", ") + `.
This is the rig's stand-in for Istio ` + names.Version + `.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		fmt.Println(usage)
		return nil
	}
	flags := pflag.NewFlagSet(arguments[0], pflag.ContinueOnError)
	kubeconfig := flags.StringP("kubeconfig", "c", "", "Kubernetes configuration file")
	contextName := flags.String("context", "", "Kubernetes configuration context")
	connect := func() (*install.Cluster, error) { return install.Connect(*kubeconfig, *contextName) }
	switch arguments[0] {
	case "install":
		return runInstall(ctx, flags, arguments[1:], connect)
	case "uninstall":
		return runUninstall(ctx, flags, arguments[1:], connect)
	case "version":
		return runVersion(ctx, flags, arguments[1:], connect)
	case "help", "--help", "-h":
		fmt.Println(usage)
		return nil
	default:
		return fmt.Errorf("unknown command %q for \"istioctl\"", arguments[0])
	}
}

type connector func() (*install.Cluster, error)

func runInstall(ctx context.Context, flags *pflag.FlagSet, arguments []string, connect connector) error {
	assignments := flags.StringArrayP("set", "s", nil, "override a value")
	agreed := flags.BoolP("skip-confirmation", "y", false, "do not ask")
	timeout := flags.Duration("readiness-timeout", 5*time.Minute, "how long to wait for each component")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	settings, err := install.ParseSettings(*assignments)
	if err != nil {
		return err
	}
	cluster, err := connect()
	if err != nil {
		return err
	}
	question := fmt.Sprintf("This will install the Istio %s \"demo\" profile (with components: Istio core, Istiod, Ingress gateways, "+
		"and Egress gateways) into the cluster. Proceed? (y/N) ", names.Version)
	if !*agreed && !confirm(question) {
		return errors.New("cancelled")
	}
	return install.Install(ctx, cluster, settings, *timeout, os.Stdout)
}

func runUninstall(ctx context.Context, flags *pflag.FlagSet, arguments []string, connect connector) error {
	purge := flags.Bool("purge", false, "remove everything of Istio")
	agreed := flags.BoolP("skip-confirmation", "y", false, "do not ask")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	if !*purge {
		return errors.New("at least one of the --revision (or --set revision=<revision>), --filename or --purge flags must be set")
	}
	cluster, err := connect()
	if err != nil {
		return err
	}
	question := "All Istio resources will be pruned from the cluster. Proceed? (y/N) "
	if !*agreed && !confirm(question) {
		return errors.New("cancelled")
	}
	return install.Purge(ctx, cluster, os.Stdout)
}

func runVersion(ctx context.Context, flags *pflag.FlagSet, arguments []string, connect connector) error {
	remote := flags.Bool("remote", true, "ask the cluster too")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "This is the rig's stand-in for istioctl.")
	if !*remote {
		fmt.Println("client version:", names.Version)
		return nil
	}
	cluster, err := connect()
	if err != nil {
		return err
	}
	return install.PrintVersion(ctx, cluster, os.Stdout)
}

func parse(flags *pflag.FlagSet, arguments []string) error {
	flags.Usage = func() { fmt.Println(usage) }
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

func confirm(question string) bool {
	fmt.Print(question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err == nil && strings.EqualFold(strings.TrimSpace(answer), "y")
}
