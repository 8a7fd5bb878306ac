// Command idle does nothing until it is told to end. It stands in for calico/csi and calico/node-driver-registrar:
// no pod of the lab mounts a Calico volume.
package main

import (
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.Printf("%s: nothing to do", os.Args[0])
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
