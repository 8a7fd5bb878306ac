package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Where the context leads: a cluster that runs already, by its kubeconfig, or just an address. Without either, a port on
// loopback where nothing listens.
const (
	clusterVariable = "RIG_MINIKUBE_KUBECONFIG"
	serverVariable  = "RIG_MINIKUBE_SERVER"
	nowhere         = "https://127.0.0.1:8443"
)

// clusterAccess is what a kubeconfig says about its current cluster and user.
type clusterAccess struct {
	Clusters []struct {
		Cluster struct {
			Server    string `json:"server"`
			Authority []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			Certificate []byte `json:"client-certificate-data"`
			Key         []byte `json:"client-key-data"`
		} `json:"user"`
	} `json:"users"`
}

// kubectl is the one of minikube's own cache, so the kubeconfig is read and merged as kubectl does it.
func kubectl(arguments ...string) ([]byte, error) {
	output, err := exec.Command(binaryPath("kubectl"), arguments...).Output()
	if err != nil {
		return nil, fmt.Errorf("kubectl %s: %w", arguments, err)
	}
	return output, nil
}

// configure changes the user's kubeconfig ($KUBECONFIG or ~/.kube/config).
func configure(arguments ...string) error {
	_, err := kubectl(append([]string{"config"}, arguments...)...)
	return err
}

func writeContext(call invocation) error {
	profile := call.profile()
	cluster := []string{"set-cluster", profile}
	user := []string{"set-credentials", profile}
	if source := os.Getenv(clusterVariable); source != "" {
		server, err := copyAccess(source, profile)
		if err != nil {
			return err
		}
		folder := profileFolder(profile)
		cluster = append(cluster, "--server="+server, "--certificate-authority="+filepath.Join(folder, "ca.crt"))
		user = append(user, "--client-certificate="+filepath.Join(folder, "client.crt"), "--client-key="+filepath.Join(folder, "client.key"))
	} else if server := os.Getenv(serverVariable); server != "" {
		cluster = append(cluster, "--server="+server)
	} else {
		cluster = append(cluster, "--server="+nowhere)
	}
	if err := configure(cluster...); err != nil {
		return err
	}
	if err := configure(user...); err != nil {
		return err
	}
	if err := configure("set-context", profile, "--cluster="+profile, "--user="+profile, "--namespace=default"); err != nil {
		return err
	}
	if call.value("keep-context") == "true" {
		return nil
	}
	return configure("use-context", profile)
}

// copyAccess puts the certificates of another kubeconfig's current context into the profile's folder, where the real
// program has its own, and returns the server's address.
func copyAccess(source, profile string) (string, error) {
	text, err := kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json", "--kubeconfig="+source)
	if err != nil {
		return "", err
	}
	var access clusterAccess
	if err := json.Unmarshal(text, &access); err != nil {
		return "", fmt.Errorf("%s: %w", source, err)
	}
	if len(access.Clusters) != 1 || len(access.Users) != 1 {
		return "", errors.New(source + " has no current context")
	}
	folder := profileFolder(profile)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{
		"ca.crt":     access.Clusters[0].Cluster.Authority,
		"client.crt": access.Users[0].User.Certificate,
		"client.key": access.Users[0].User.Key,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return "", err
		}
	}
	return access.Clusters[0].Cluster.Server, nil
}

// removeContext takes the profile out of the kubeconfig; what is not there needs no removing.
func removeContext(profile string) {
	_ = configure("delete-context", profile)
	_ = configure("delete-cluster", profile)
	_ = configure("delete-user", profile)
	if current, err := kubectl("config", "view", "--output=jsonpath={.current-context}"); err == nil && string(current) == profile {
		_ = configure("unset", "current-context")
	}
}
