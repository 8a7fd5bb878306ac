// Command calico-node enforces NetworkPolicies on the packets of its node.
//
// Without flags it runs the enforcer. With -felix-ready or -bird-ready it is the readiness probe: it asks the enforcer
// that runs in the same container. There is no BIRD here, so both flags ask the same thing.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os/signal"
	"syscall"

	"ztlab/rig/calico/internal/health"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	felixReady := flag.Bool("felix-ready", false, "succeed when the policies are enforced")
	birdReady := flag.Bool("bird-ready", false, "the same: there is no routing daemon to ask")
	flag.Parse()
	if *felixReady || *birdReady {
		if err := health.Ask(health.NodeAddress, "/readiness"); err != nil {
			log.Fatalf("not ready: %v", err)
		}
		return
	}
	state := health.NewState(errors.New("the policies have not been read yet"))
	go func() { log.Fatal(health.Serve(health.NodeAddress, state)) }()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := enforce(ctx, state); err != nil {
		log.Fatal(err)
	}
}
