// Command check-status is the probe of kube-controllers: -r asks whether it is ready, -l whether it is alive.
package main

import (
	"flag"
	"log"

	"ztlab/rig/calico/internal/health"
)

func main() {
	readiness := flag.Bool("r", false, "check readiness")
	liveness := flag.Bool("l", false, "check liveness")
	flag.Parse()
	if *readiness == *liveness {
		log.Fatal("usage: check-status -r | -l")
	}
	path := "/readiness"
	if *liveness {
		path = "/liveness"
	}
	if err := health.Ask(health.KubeControllersAddress, path); err != nil {
		log.Fatal(err)
	}
}
