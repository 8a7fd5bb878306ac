package main

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// invocation is one call: a command and its flags, each with every value it was given.
type invocation struct {
	command string
	flags   map[string][]string
}

// value is the flag's last value, which is the one that counts, or "".
func (call invocation) value(name string) string {
	values := call.flags[name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func (call invocation) profile() string { return call.value("profile") }

// Flags that take a value as the next argument, and those that stand alone unless written --name=value.
var (
	valueFlags = []string{
		"profile", "output", "v", "driver", "container-runtime", "kubernetes-version", "base-image", "cni",
		"network-plugin", "memory", "cpus", "extra-config", "wait", "wait-timeout", "subnet", "format", "layout",
	}
	switchFlags = []string{
		"preload", "interactive", "force", "keep-context", "embed-certs", "alsologtostderr", "logtostderr",
		"delete-on-failure", "install-addons", "short", "light", "purge", "all",
	}
	shortFlags = map[string]string{"p": "profile", "o": "output", "f": "format", "l": "light", "v": "v"}
)

// parse reads arguments as the real program does, and refuses a flag that no lab needs.
func parse(arguments []string) (invocation, error) {
	call := invocation{flags: map[string][]string{}}
	var words []string
	for index := 0; index < len(arguments); index++ {
		argument := arguments[index]
		if !strings.HasPrefix(argument, "-") {
			words = append(words, argument)
			continue
		}
		name, value, attached := strings.Cut(strings.TrimLeft(argument, "-"), "=")
		if !strings.HasPrefix(argument, "--") {
			long, known := shortFlags[name]
			if !known {
				return call, refuseArguments("unknown flag %s", argument)
			}
			name = long
		}
		switch {
		case slices.Contains(switchFlags, name):
			if !attached {
				value = "true"
			}
		case !slices.Contains(valueFlags, name):
			return call, refuseArguments("unknown flag %s", argument)
		case !attached:
			index++
			if index == len(arguments) {
				return call, refuseArguments("flag %s lacks its value", argument)
			}
			value = arguments[index]
		}
		call.flags[name] = append(call.flags[name], value)
	}
	call.command = strings.Join(words, " ")
	return call, nil
}

// What a start without a network needs, flag by flag. Leaving one out is a mistake that the real program forgives
// until much later: it pulls, or serves CoreDNS by a network of its own, or asks a question that nobody answers.
var startValues = map[string]string{
	"driver":             "docker",
	"container-runtime":  "docker",
	"kubernetes-version": kubernetesVersion,
	"base-image":         baseImage,
	"preload":            "false",
	"cni":                "false",
	"network-plugin":     "cni",
	"interactive":        "false",
	"output":             "json",
}

// nodeNetwork is where the real program puts the node; pods must not live in the same range.
var nodeNetwork = netip.MustParsePrefix("192.168.49.0/24")

const podRangeConfig = "kubeadm.pod-network-cidr="

// checkStartArguments returns what is wrong with a start, all of it at once.
func checkStartArguments(call invocation) error {
	var wrong []string
	for _, name := range sortedKeys(startValues) {
		if found := call.value(name); found != startValues[name] {
			wrong = append(wrong, "--"+name+" is "+strconv.Quote(found)+", expected "+strconv.Quote(startValues[name]))
		}
	}
	for _, name := range []string{"memory", "cpus"} {
		if number, err := strconv.Atoi(call.value(name)); err != nil || number <= 0 {
			wrong = append(wrong, "--"+name+" is no positive number: "+strconv.Quote(call.value(name)))
		}
	}
	if call.profile() == "" {
		wrong = append(wrong, "--profile is absent")
	}
	if call.value("wait") == "all" {
		wrong = append(wrong, "--wait=all never ends while there is no pod network")
	}
	if complaint := checkPodRange(call.flags["extra-config"]); complaint != "" {
		wrong = append(wrong, complaint)
	}
	if len(wrong) > 0 {
		return refuseArguments("%s", strings.Join(wrong, "; "))
	}
	return nil
}

func checkPodRange(configs []string) string {
	for _, config := range configs {
		text, isPodRange := strings.CutPrefix(config, podRangeConfig)
		if !isPodRange {
			return "unknown --extra-config=" + config
		}
		pods, err := netip.ParsePrefix(text)
		if err != nil {
			return "pod range: " + err.Error()
		}
		if pods.Overlaps(nodeNetwork) {
			return "pod range " + text + " overlaps the node's network " + nodeNetwork.String()
		}
	}
	if len(configs) != 1 {
		return "--extra-config=" + podRangeConfig + "CIDR has to be given once"
	}
	return ""
}
