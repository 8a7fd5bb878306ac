// Stand-in for kubeadm 1.28.3. The real one cannot be compiled unpatched by a current Go (it parses an address form that
// Go's URL parser has learned to refuse), and the rig's node needs none. Minikube's cache wants the file to exist, so this
// exists, says what it is, and refuses everything but its version.
package main

import (
	"fmt"
	"os"
)

const unavailable = 64

func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		fmt.Println("kubeadm version: v1.28.3 (the rig's stand-in, not kubeadm)")
		return
	}
	fmt.Fprintln(os.Stderr, "kubeadm: this is the rig's stand-in; it makes no cluster. The rig starts its node by rig/rig node up.")
	os.Exit(unavailable)
}
