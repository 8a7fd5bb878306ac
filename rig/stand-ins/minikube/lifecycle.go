package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func profileFolder(profile string) string {
	return filepath.Join(minikubeFolder(), "profiles", profile)
}

// saveProfile leaves what `profile list` and a second start look for.
func saveProfile(call invocation) error {
	content, err := json.MarshalIndent(map[string]any{
		"Name": call.profile(), "Driver": "docker", "KicBaseImage": baseImage,
		"KubernetesConfig": map[string]string{"KubernetesVersion": kubernetesVersion, "ContainerRuntime": "docker"},
	}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(profileFolder(call.profile()), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(profileFolder(call.profile()), "config.json"), content, 0o600)
}

// requireProfile refuses a profile that was never started, with the real program's exit code.
func requireProfile(call invocation) error {
	if call.profile() == "" {
		return refuseArguments("--profile is absent")
	}
	if _, err := os.Stat(filepath.Join(profileFolder(call.profile()), "config.json")); err != nil {
		return refusal{exitProfileNotFound, "GUEST_PROFILE_NOT_FOUND", fmt.Sprintf("Profile \"%s\" not found.", call.profile())}
	}
	return nil
}

func stop(call invocation) error {
	if err := requireProfile(call); err != nil {
		return err
	}
	step(0, "Stopping", "Stopping node \"%s\"  ...", call.profile())
	if _, err := docker("stop", call.profile()); err != nil {
		return err
	}
	step(2, "Done", "1 node stopped.")
	return nil
}

// remove deletes container, volume, profile and context. One that does not exist is no mistake, as with the real program.
func remove(call invocation) error {
	profile := call.profile()
	if profile == "" {
		return refuseArguments("--profile is absent")
	}
	state, err := containerState(profile)
	if err != nil {
		return err
	}
	step(0, "Deleting", "Deleting \"%s\" in docker ...", profile)
	if state != "" {
		if _, err := docker("rm", "--force", "--volumes", profile); err != nil {
			return err
		}
	}
	if volumes, err := docker("volume", "ls", "--quiet", "--filter", "name=^"+profile+"$"); err == nil && volumes == profile {
		if _, err := docker("volume", "rm", profile); err != nil {
			return err
		}
	}
	removeContext(profile)
	if err := os.RemoveAll(profileFolder(profile)); err != nil {
		return err
	}
	step(2, "Done", "Removed all traces of the \"%s\" cluster.", profile)
	return nil
}

// nodeStatus has the fields of `minikube status -o json`.
type nodeStatus struct {
	Name, Host, Kubelet, APIServer, Kubeconfig string
	Worker                                     bool
}

const exitNothingRuns = 7

// status reports the container; the cluster's parts follow it, because none of them is in there.
func status(call invocation) error {
	if err := requireProfile(call); err != nil {
		return err
	}
	state, err := containerState(call.profile())
	if err != nil {
		return err
	}
	part := "Stopped"
	if state == "running" {
		part = "Running"
	}
	node := nodeStatus{Name: call.profile(), Host: part, Kubelet: part, APIServer: part, Kubeconfig: "Configured"}
	if call.value("output") == "json" {
		line, err := json.Marshal(node)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	} else {
		fmt.Printf("%s\ntype: Control Plane\nhost: %s\nkubelet: %s\napiserver: %s\nkubeconfig: %s\n\n",
			node.Name, node.Host, node.Kubelet, node.APIServer, node.Kubeconfig)
	}
	if part != "Running" {
		os.Exit(exitNothingRuns)
	}
	return nil
}

// listProfiles prints what `minikube profile list -o json` does, as far as a name and a state.
func listProfiles(invocation) error {
	valid := []map[string]string{}
	folders, err := os.ReadDir(filepath.Join(minikubeFolder(), "profiles"))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, folder := range folders {
		state, err := containerState(folder.Name())
		if err != nil {
			return err
		}
		shown := "Stopped"
		if state == "running" {
			shown = "Running"
		}
		valid = append(valid, map[string]string{"Name": folder.Name(), "Status": shown})
	}
	line, err := json.Marshal(map[string]any{"invalid": []string{}, "valid": valid})
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}
