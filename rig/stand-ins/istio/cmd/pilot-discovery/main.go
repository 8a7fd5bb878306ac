// pilot-discovery is the rig's stand-in for istiod. Its arguments are those of the real one; the stand-in needs none of
// them, because the ports and the domain are the only ones that the rig's lab has.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/rest"

	"ztlab.rig/istio/internal/control"
)

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	if len(os.Args) < 2 || os.Args[1] != "discovery" {
		log.Fatal("usage: pilot-discovery discovery [flags]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	// Each proxy's first request reviews a token: the default of 5 requests a second would queue them up.
	config.QPS, config.Burst = 50, 100
	if err := control.Run(ctx, config); err != nil {
		log.Fatal(err)
	}
}
