// Command kube-controllers runs no controller. It is ready as long as it reaches the API server from the pod network,
// which is the part of the original's readiness that says something about this cluster.
package main

import (
	"errors"
	"log"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"ztlab/rig/calico/internal/health"
)

const (
	askEvery   = 2 * time.Second
	askTimeout = 5 * time.Second
)

func main() {
	state := health.NewState(errors.New("the API server has not answered yet"))
	go func() { log.Fatal(health.Serve(health.KubeControllersAddress, state)) }()
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	config.Timeout = askTimeout
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	for {
		_, err := client.ServerVersion()
		if err != nil {
			log.Print(err)
		}
		state.Set(err)
		time.Sleep(askEvery)
	}
}
