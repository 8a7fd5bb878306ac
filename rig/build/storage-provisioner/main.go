// Command storage-provisioner stands in for Minikube's hostPath provisioner. The rig's lab has no volume claims: the
// image is there to be locked, fetched, moved and proven like the real one. Run as a pod it says so and stays up.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	fmt.Println("storage-provisioner (rig stand-in): running; claims are not served")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
}
