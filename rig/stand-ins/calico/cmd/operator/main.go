// Command operator stands in for tigera/operator. It runs from Calico's own manifest, under that manifest's service
// account and rights.
package main

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"k8s.io/client-go/rest"

	"ztlab/rig/calico/internal/operator"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := operator.Run(ctx, config); err != nil {
		log.Fatal(err)
	}
}
