// Command pause is the first process of every pod: it keeps the pod's namespaces open and, when containers share
// the process namespace, collects the orphans that fall to it.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const version = "3.9"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-v" {
		fmt.Println("pause (rig)", version)
		return
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		reapOrphans()
	}
}

// reapOrphans collects every child that has ended: several deaths may arrive as one signal.
func reapOrphans() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 || err != nil {
			return
		}
	}
}
