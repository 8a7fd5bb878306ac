// Command install-cni puts CNI plugins and their configuration onto the node. The image has it as /opt/cni/bin/install,
// beside the plugins.
//
// The configuration is what the operator wrote into a ConfigMap. It is put in place last and by a rename, because the
// container runtime begins to start pods as soon as it sees the file.
package main

import (
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"
)

const (
	ownDirectory    = "/opt/cni/bin"
	pluginDirectory = "/host/opt/cni/bin"
	configDirectory = "/host/etc/cni/net.d"
)

// plugins are what the configuration names, and loopback, which the container runtime calls by itself.
var plugins = []string{"bridge", "host-local", "loopback", "portmap"}

func main() {
	if err := install(os.Getenv("CNI_CONF_NAME"), os.Getenv("CNI_NETWORK_CONFIG")); err != nil {
		log.Fatal(err)
	}
}

func install(name, config string) error {
	if name == "" || config == "" {
		return errors.New("CNI_CONF_NAME and CNI_NETWORK_CONFIG must be set")
	}
	for _, plugin := range plugins {
		if err := copyPlugin(filepath.Join(ownDirectory, plugin), filepath.Join(pluginDirectory, plugin)); err != nil {
			return err
		}
	}
	log.Printf("installed %v in %s", plugins, pluginDirectory)
	path := filepath.Join(configDirectory, name)
	if err := os.WriteFile(path+".new", []byte(config), 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	log.Printf("wrote %s", path)
	return nil
}

// copyPlugin replaces a plugin by a rename: the old file may be running at this moment.
func copyPlugin(source, destination string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(destination+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	return os.Rename(destination+".new", destination)
}
