// Stand-in for Kiali 1.76, started as its manifest starts it: /opt/kiali/kiali -config FILE.
package main

import (
	"flag"
	"log"
	"net/http"
	"os"

	"ztlab/rig/dashboards/page"
)

func main() {
	config := flag.String("config", "", "configuration file that the manifest mounts")
	flag.Parse()
	// Kiali ends without its configuration, and a manifest that forgot to mount it must not look healthy here.
	if _, err := os.Stat(*config); err != nil {
		log.Fatalf("configuration of kiali: %v", err)
	}
	kiali := page.Dashboard{
		Name: "Kiali", Version: "v1.76", Root: "/kiali",
		HealthPath: "/kiali/healthz", HealthType: "text/plain",
		Shows: "the graph of the mesh: who calls whom, and whether the call is encrypted.",
	}
	page.Serve(map[string]http.Handler{":20001": kiali.Handler(), ":9090": kiali.Metrics()})
}
