// Command flexvol-driver stands in for calico/pod2daemon-flexvol, an init container: it installs nothing and succeeds.
package main

import "log"

func main() {
	log.Print("flexvol-driver: no driver to install")
}
