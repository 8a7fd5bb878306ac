// Stand-in for minikube 1.32.0 with the docker driver.
//
// It is stricter than the real program where the real one lets a mistake pass and fails minutes later, or never: start
// arguments, environment, cache and base image are checked before anything is started (refusal.go names the exit codes).
// Then it runs a real container as the node, with a dockerd inside, and loads the eight cached images into it. There is no
// Kubernetes inside: the kubeconfig context leads to whatever RIG_MINIKUBE_KUBECONFIG or RIG_MINIKUBE_SERVER names.
package main

import (
	"errors"
	"fmt"
	"os"
)

const (
	minikubeVersion   = "v1.32.0"
	kubernetesVersion = "v1.28.3"
)

// commands is what a lab has to do with minikube; anything else is refused.
var commands = map[string]func(invocation) error{
	"start":        start,
	"stop":         stop,
	"delete":       remove,
	"status":       status,
	"version":      version,
	"profile list": listProfiles,
}

func main() {
	recordCall(os.Args[1:])
	if err := run(os.Args[1:]); err != nil {
		var refused refusal
		if !errors.As(err, &refused) {
			refused = refusal{code: exitFailure, name: "STAND_IN_FAILURE", message: err.Error()}
		}
		refused.report()
		os.Exit(refused.code)
	}
}

func run(arguments []string) error {
	call, err := parse(arguments)
	if err != nil {
		return err
	}
	jsonEvents = call.value("output") == "json"
	command, known := commands[call.command]
	if !known {
		return refuseArguments("unknown command %q", call.command)
	}
	return command(call)
}

func version(call invocation) error {
	fmt.Fprintln(os.Stderr, "minikube: this is the rig's stand-in")
	switch {
	case call.value("output") == "json":
		fmt.Printf("{\"commit\":\"stand-in\",\"minikubeVersion\":%q}\n", minikubeVersion)
	case call.value("short") == "true":
		fmt.Println(minikubeVersion)
	default:
		fmt.Printf("minikube version: %s\ncommit: stand-in\n", minikubeVersion)
	}
	return nil
}
