package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Variables of minikube's own that a lab sets on purpose. Every start flag can also come from MINIKUBE_<FLAG>, so any
// other one is a student's leftover that changes the cluster behind the lab's back.
var ownVariables = []string{"MINIKUBE_HOME", "MINIKUBE_IN_STYLE", "MINIKUBE_WANTUPDATENOTIFICATION"}

// Where calls are written: this variable's file, or rig-calls.jsonl in minikube's folder.
const callLogVariable = "RIG_MINIKUBE_LOG"

// checkEnvironment refuses what should have been scrubbed before the call.
func checkEnvironment(environment []string) error {
	for _, entry := range environment {
		name, value, _ := strings.Cut(entry, "=")
		switch upper := strings.ToUpper(name); {
		case strings.HasPrefix(name, "MINIKUBE_") && !slices.Contains(ownVariables, name):
			return refuseEnvironment("%s is set: a start flag in disguise", name)
		case name == "DOCKER_HOST":
			return refuseEnvironment("DOCKER_HOST is set: the node would be made somewhere else")
		case (upper == "HTTP_PROXY" || upper == "HTTPS_PROXY" || upper == "ALL_PROXY") && !isDead(value):
			return refuseEnvironment("%s is set to something outside of this machine", name)
		}
	}
	return nil
}

// isDead says whether a proxy setting cannot lead out: empty, or on loopback, where a lab puts a proxy that refuses and counts.
func isDead(proxy string) bool {
	if proxy == "" {
		return true
	}
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	address, err := url.Parse(proxy)
	if err != nil {
		return false
	}
	if address.Hostname() == "localhost" {
		return true
	}
	host, err := netip.ParseAddr(address.Hostname())
	return err == nil && host.IsLoopback()
}

// minikubeFolder is where profiles and the cache are.
func minikubeFolder() string {
	home := os.Getenv("MINIKUBE_HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	if filepath.Base(home) == ".minikube" {
		return home
	}
	return filepath.Join(home, ".minikube")
}

// recordCall appends this call to the log: the arguments, and the names of the environment without its values.
// A call that cannot be recorded still runs; the one who reads the log will miss it.
func recordCall(arguments []string) {
	path := os.Getenv(callLogVariable)
	if path == "" {
		path = filepath.Join(minikubeFolder(), "rig-calls.jsonl")
	}
	var names []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	line, err := json.Marshal(map[string]any{"arguments": arguments, "environment": names})
	if err == nil {
		err = appendLine(path, line)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "minikube (the rig's stand-in): call not recorded: %v\n", err)
	}
}

func appendLine(path string, line []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append(line, '\n'))
	return err
}

func sortedKeys(values map[string]string) []string {
	var keys []string
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
