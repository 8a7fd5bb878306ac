package main

import (
	"strings"
	"testing"
)

// The start that needs no network. Every case below changes one thing of it.
const goodStart = "start -p lab --driver=docker --container-runtime=docker --kubernetes-version=v1.28.3 " +
	"--base-image=gcr.io/k8s-minikube/kicbase:v0.0.42 --preload=false --cni=false --network-plugin=cni --memory=6144 --cpus=4 " +
	"--extra-config=kubeadm.pod-network-cidr=10.244.0.0/16 --interactive=false -o json"

func complaint(t *testing.T, line string) string {
	t.Helper()
	call, err := parse(strings.Fields(line))
	if err == nil {
		err = checkStartArguments(call)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestStartArguments(t *testing.T) {
	cases := []struct{ name, old, new, complaint string }{
		{"as it should be", "", "", ""},
		{"value as an argument of its own", "--memory=6144", "--memory 6144", ""},
		{"root's extra flag", "-o json", "-o json --force", ""},
		{"preload forgotten", "--preload=false", "", "--preload is \"\""},
		{"preload on", "--preload=false", "--preload", "--preload is \"true\""},
		{"network plugin forgotten", "--network-plugin=cni", "", "--network-plugin is \"\""},
		{"digest in the base image", "v0.0.42", "v0.0.42@sha256:00", "--base-image is"},
		{"another Kubernetes", "v1.28.3", "v1.28.4", "--kubernetes-version is \"v1.28.4\""},
		{"pod range forgotten", "--extra-config=kubeadm.pod-network-cidr=10.244.0.0/16", "", "has to be given once"},
		{"pod range over the node's network", "10.244.0.0/16", "192.168.0.0/16", "overlaps the node's network"},
		{"endless wait", "-o json", "-o json --wait=all", "--wait=all never ends"},
		{"memory with a unit", "6144", "6g", "--memory is no positive number"},
		{"nobody's flag", "-o json", "-o json --image-repository=x", "unknown flag --image-repository=x"},
		{"flag at the end without a value", "-o json", "-o", "lacks its value"},
		{"no profile", "-p lab", "", "--profile is absent"},
	}
	for _, example := range cases {
		found := complaint(t, strings.Replace(goodStart, example.old, example.new, 1))
		if (example.complaint == "") != (found == "") || !strings.Contains(found, example.complaint) {
			t.Errorf("%s: %q", example.name, found)
		}
	}
}

func TestEnvironment(t *testing.T) {
	cases := []struct {
		entry   string
		refused bool
	}{
		{"MINIKUBE_HOME=/home", false},
		{"MINIKUBE_IN_STYLE=false", false},
		{"MINIKUBE_CPUS=1", true},
		{"DOCKER_HOST=tcp://elsewhere:2375", true},
		{"DOCKER_CONFIG=/home/docker", false},
		{"HTTPS_PROXY=http://proxy.school.example:3128", true},
		{"https_proxy=proxy.school.example:3128", true},
		{"HTTPS_PROXY=http://127.0.0.1:1", false},
		{"http_proxy=[::1]:9", false},
		{"ALL_PROXY=socks5://localhost:9", false},
		{"HTTP_PROXY=", false},
		{"NO_PROXY=10.0.0.0/8", false},
	}
	for _, example := range cases {
		if err := checkEnvironment([]string{example.entry}); (err != nil) != example.refused {
			t.Errorf("%s: %v", example.entry, err)
		}
	}
}

func TestArchiveManifest(t *testing.T) {
	const reference = "registry.k8s.io/pause:3.9"
	whole := archiveManifest{Config: "blobs/sha256/aa", RepoTags: []string{reference}, Layers: []string{"blobs/sha256/bb"}}
	digests := map[string]string{"blobs/sha256/aa": "aa", "blobs/sha256/bb": "bb"}
	named := func(name string) archiveManifest { changed := whole; changed.RepoTags = []string{name}; return changed }

	config, err := checkManifest([]archiveManifest{whole}, digests, reference)
	if err != nil || config != "sha256:aa" {
		t.Errorf("a whole archive: %q, %v", config, err)
	}
	refused := []struct {
		name      string
		manifests []archiveManifest
		digests   map[string]string
		says      string
	}{
		{"no manifest.json", nil, digests, "no manifest.json"},
		{"another image", []archiveManifest{named("registry.k8s.io/pause:3.8")}, digests, "it is named registry.k8s.io/pause:3.8"},
		{"layer missing", []archiveManifest{whole}, map[string]string{"blobs/sha256/aa": "aa"}, "lacks blobs/sha256/bb"},
		{"flipped byte", []archiveManifest{whole}, map[string]string{"blobs/sha256/aa": "aa", "blobs/sha256/bb": "b0"}, "not what the name says"},
	}
	for _, example := range refused {
		if _, err := checkManifest(example.manifests, example.digests, reference); err == nil || !strings.Contains(err.Error(), example.says) {
			t.Errorf("%s: %v", example.name, err)
		}
	}
}
