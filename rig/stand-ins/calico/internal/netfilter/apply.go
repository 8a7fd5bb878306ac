package netfilter

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"ztlab/rig/calico/internal/policy"
)

// Debian's package names the commands by their back end; the plain names are made by its maintainer scripts, which an
// image without a package manager never ran.
const (
	ipsetCommand           = "ipset"
	iptablesCommand        = "iptables-nft"
	iptablesRestoreCommand = "iptables-nft-restore"
)

var hooks = []string{"FORWARD", "INPUT"}

// Apply makes the kernel enforce the plan: sets first, then the chains that name them, then the jumps to the chains,
// and last it drops the sets that nothing names any more.
func Apply(ctx context.Context, plan policy.Plan) error {
	existing, err := existingSets(ctx)
	if err != nil {
		return err
	}
	if _, err := run(ctx, setScript(plan, existing), ipsetCommand, "restore", "-exist"); err != nil {
		return err
	}
	chains, err := existingChains(ctx)
	if err != nil {
		return err
	}
	if _, err := run(ctx, chainScript(plan, chains), iptablesRestoreCommand, "--noflush"); err != nil {
		return err
	}
	for _, hook := range hooks {
		if err := ensureJump(ctx, hook); err != nil {
			return err
		}
	}
	return dropStaleSets(ctx, plan, existing)
}

func existingSets(ctx context.Context) (map[string]bool, error) {
	output, err := run(ctx, "", ipsetCommand, "list", "-name")
	if err != nil {
		return nil, err
	}
	sets := map[string]bool{}
	for _, name := range strings.Fields(output) {
		if strings.HasPrefix(name, policy.SetPrefix) {
			sets[name] = true
		}
	}
	return sets, nil
}

func existingChains(ctx context.Context) ([]string, error) {
	output, err := run(ctx, "", iptablesCommand, "-t", "mangle", "-S")
	if err != nil {
		return nil, err
	}
	var chains []string
	for _, line := range strings.Split(output, "\n") {
		if name, isChain := strings.CutPrefix(line, "-N "); isChain {
			chains = append(chains, name)
		}
	}
	return chains, nil
}

func ensureJump(ctx context.Context, hook string) error {
	jump := []string{"-j", policy.DispatchChain}
	if _, err := run(ctx, "", iptablesCommand, append([]string{"-t", "mangle", "-C", hook}, jump...)...); err == nil {
		return nil
	}
	_, err := run(ctx, "", iptablesCommand, append([]string{"-t", "mangle", "-I", hook, "1"}, jump...)...)
	return err
}

func dropStaleSets(ctx context.Context, plan policy.Plan, existing map[string]bool) error {
	for _, set := range plan.Sets {
		delete(existing, set.Name)
	}
	for name := range existing {
		if _, err := run(ctx, "", ipsetCommand, "destroy", name); err != nil {
			return err
		}
	}
	return nil
}

// run returns what the command printed; its error carries what the command complained about.
func run(ctx context.Context, input, name string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Stdin = strings.NewReader(input)
	var output, complaint bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaint
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(complaint.String()))
	}
	return output.String(), nil
}
