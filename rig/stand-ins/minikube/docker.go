package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	baseImage = "gcr.io/k8s-minikube/kicbase:v0.0.42"
	// Labels by which the real program finds its containers again.
	createdByLabel = "created_by.minikube.sigs.k8s.io=true"
	nameLabel      = "name.minikube.sigs.k8s.io="

	innerDockerPatience = 60 * time.Second
	bytesPerMegabyte    = 1 << 20
)

// docker runs the docker command and returns its standard output without the last line end.
func docker(arguments ...string) (string, error) {
	var output, complaint bytes.Buffer
	command := exec.Command("docker", arguments...)
	command.Stdout, command.Stderr = &output, &complaint
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimRight(output.String(), "\n"), nil
}

// dockerWithInput is docker with a file on standard input.
func dockerWithInput(path string, arguments ...string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var complaint bytes.Buffer
	command := exec.Command("docker", arguments...)
	command.Stdin, command.Stderr = file, &complaint
	if err := command.Run(); err != nil {
		return fmt.Errorf("docker %s < %s: %w: %s", strings.Join(arguments, " "), path, err, strings.TrimSpace(complaint.String()))
	}
	return nil
}

// checkMachine asks Docker what it may use, and refuses as the real program does when that is less than wanted.
func checkMachine(call invocation) error {
	answer, err := docker("info", "--format", "{{.MemTotal}} {{.NCPU}}")
	if err != nil {
		return refusal{exitDockerNotUsable, "PROVIDER_DOCKER_NOT_RUNNING", err.Error()}
	}
	var memory, cores int
	if _, err := fmt.Sscan(answer, &memory, &cores); err != nil {
		return fmt.Errorf("docker info: %q: %w", answer, err)
	}
	// Both were checked to be numbers with the other arguments.
	wantedMemory, _ := strconv.Atoi(call.value("memory"))
	wantedCores, _ := strconv.Atoi(call.value("cpus"))
	if wantedMemory > memory/bytesPerMegabyte {
		return refusal{exitTooLittleMemory, "RSRC_OVER_ALLOC_MEM", fmt.Sprintf(
			"Requested memory allocation %dMB is more than your system limit %dMB.", wantedMemory, memory/bytesPerMegabyte)}
	}
	if wantedCores > cores {
		return refusal{exitTooFewCores, "RSRC_INSUFFICIENT_CORES", fmt.Sprintf(
			"Requested cpu count %d is greater than the available cpus of %d", wantedCores, cores)}
	}
	return nil
}

// checkBaseImage demands the base image under its tag. The real program would try to pull, then take another name.
func checkBaseImage() error {
	images, err := docker("images", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		return err
	}
	for _, image := range strings.Split(images, "\n") {
		if image == baseImage {
			return nil
		}
	}
	return refusal{exitNoBaseImage, "STAND_IN_BASE_IMAGE", baseImage + " is not loaded into Docker"}
}

// containerState is running, exited and the like; "" when there is no such container.
func containerState(profile string) (string, error) {
	return docker("ps", "--all", "--filter", "label="+nameLabel+profile, "--format", "{{.State}}")
}

// createContainer runs the node as the real program does, but for the network: the rig's node has none.
func createContainer(call invocation) error {
	profile, memory := call.profile(), call.value("memory")+"mb"
	_, err := docker("run", "--detach", "--tty", "--privileged",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--tmpfs", "/tmp", "--tmpfs", "/run", "--volume", profile+":/var",
		"--hostname", profile, "--name", profile, "--label", createdByLabel, "--label", nameLabel+profile,
		"--network", "none", "--memory", memory, "--memory-swap", memory, "--cpus", call.value("cpus"),
		"--env", "container=docker", baseImage)
	return err
}

// waitForInnerDocker returns the version of the node's own dockerd once it answers.
func waitForInnerDocker(profile string) (string, error) {
	deadline := time.Now().Add(innerDockerPatience)
	for {
		version, err := docker("exec", profile, "docker", "version", "--format", "{{.Server.Version}}")
		if err == nil {
			return version, nil
		}
		if time.Now().After(deadline) {
			logs, _ := docker("logs", "--tail", "5", profile)
			return "", fmt.Errorf("the node's dockerd did not answer: %w; it said: %s", err, logs)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// loadImages brings the cached images into the node, each only when its ID differs.
func loadImages(profile string, images []cachedImage) error {
	for _, image := range images {
		inspect := []string{"exec", profile, "docker", "image", "inspect", "--format", "{{.Id}}", image.reference}
		if found, err := docker(inspect...); err == nil && found == image.config {
			continue
		}
		if err := dockerWithInput(image.path, "exec", "--interactive", profile, "docker", "load"); err != nil {
			return err
		}
		found, err := docker(inspect...)
		if err != nil {
			return err
		}
		if found != image.config {
			return fmt.Errorf("the node has %s as %s after loading %s", image.reference, found, image.config)
		}
	}
	return nil
}

// copyBinaries places the node binaries where kubeadm's cluster would have them.
func copyBinaries(profile string) error {
	folder := "/var/lib/minikube/binaries/" + kubernetesVersion
	if _, err := docker("exec", profile, "mkdir", "-p", folder); err != nil {
		return err
	}
	for _, name := range nodeBinaries {
		if _, err := docker("cp", binaryPath(name), profile+":"+folder+"/"+name); err != nil {
			return err
		}
		if _, err := docker("exec", profile, "chmod", "755", folder+"/"+name); err != nil {
			return err
		}
	}
	return nil
}
