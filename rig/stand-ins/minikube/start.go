package main

import (
	"fmt"
	"os"
)

// start checks everything, then makes the node. Its events are those that were recorded from the real program, the
// harmless warnings and errors of a good start included.
func start(call invocation) error {
	if err := checkEnvironment(os.Environ()); err != nil {
		return err
	}
	if err := checkStartArguments(call); err != nil {
		return err
	}
	announce(call)
	if err := refuseRoot(call); err != nil {
		return err
	}
	if err := checkMachine(call); err != nil {
		return err
	}
	step(3, "Starting Node", "Starting control plane node %s in cluster %s", call.profile(), call.profile())
	step(5, "Pulling Base Image", "Pulling base image ...")
	if err := checkBaseImage(); err != nil {
		return err
	}
	images, err := checkCache()
	if err != nil {
		return err
	}
	if err := startContainer(call); err != nil {
		return err
	}
	warning("This container is having trouble accessing https://registry.k8s.io")
	problem("To pull new external images, you may need to configure a proxy: https://minikube.sigs.k8s.io/docs/reference/networking/proxy/")
	if err := fillNode(call.profile(), images); err != nil {
		return err
	}
	return finish(call)
}

func announce(call invocation) {
	step(0, "Initial Minikube Setup", "[%s] minikube %s on Linux (docker/%s)", call.profile(), minikubeVersion, architecture)
	for _, name := range append([]string{"KUBECONFIG"}, ownVariables...) {
		if value, set := os.LookupEnv(name); set {
			info("%s=%s", name, value)
		}
	}
	if call.value("force") == "true" {
		warning("minikube skips various validations when --force is supplied; this may lead to unexpected behavior")
	}
	step(1, "Selecting Driver", "Using the docker driver based on user configuration")
}

// refuseRoot is the real program's rule: as root it wants --force.
func refuseRoot(call invocation) error {
	if os.Geteuid() == 0 {
		problem("The \"docker\" driver should not be used with root privileges. If you wish to continue as root, use --force.")
		problem("If you are running minikube within a VM, consider using --driver=none:")
		problem("https://minikube.sigs.k8s.io/docs/reference/drivers/none/")
		if call.value("force") != "true" {
			return refusal{exitDriverAsRoot, "DRV_AS_ROOT", "The \"docker\" driver should not be used with root privileges."}
		}
	}
	warning("With --network-plugin=cni, you will need to provide your own CNI. See --cni flag as a user-friendly alternative")
	if os.Geteuid() == 0 {
		info("Using Docker driver with root privileges")
	}
	return nil
}

func startContainer(call invocation) error {
	state, err := containerState(call.profile())
	if err != nil {
		return err
	}
	switch state {
	case "":
		step(8, "Creating Container", "Creating docker container (CPUs=%s, Memory=%sMB) ...", call.value("cpus"), call.value("memory"))
		return createContainer(call)
	case "running":
		step(8, "Creating Container", "Updating the running docker \"%s\" container ...", call.profile())
		return nil
	default:
		step(8, "Creating Container", "Restarting existing docker container for \"%s\" ...", call.profile())
		_, err := docker("start", call.profile())
		return err
	}
}

func fillNode(profile string, images []cachedImage) error {
	runtime, err := waitForInnerDocker(profile)
	if err != nil {
		return err
	}
	step(11, "Preparing Kubernetes", "Preparing Kubernetes %s on Docker %s ...", kubernetesVersion, runtime)
	if err := copyBinaries(profile); err != nil {
		return err
	}
	return loadImages(profile, images)
}

func finish(call invocation) error {
	fmt.Fprintln(os.Stderr, "minikube (the rig's stand-in): there is no Kubernetes in this node; its API server is somebody else's")
	step(12, "Generating certificates", "Generating certificates and keys ...")
	step(13, "Booting control plane", "Booting up control plane ...")
	step(14, "Configuring RBAC rules", "Configuring RBAC rules ...")
	if err := writeContext(call); err != nil {
		return err
	}
	step(17, "Verifying Kubernetes", "Verifying Kubernetes components...")
	info("Using image gcr.io/k8s-minikube/storage-provisioner:v5")
	step(18, "Enabling Addons", "Enabled addons: default-storageclass, storage-provisioner")
	if err := saveProfile(call); err != nil {
		return err
	}
	step(19, "Done", "Done! kubectl is now configured to use \"%s\" cluster and \"default\" namespace by default", call.profile())
	return nil
}
