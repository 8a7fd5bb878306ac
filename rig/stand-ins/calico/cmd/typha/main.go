// Command typha answers health probes. Calico's typha hands the API's data to many nodes; one node needs no such thing.
package main

import (
	"log"

	"ztlab/rig/calico/internal/health"
)

func main() {
	log.Fatal(health.Serve(health.TyphaAddress, health.NewState(nil)))
}
