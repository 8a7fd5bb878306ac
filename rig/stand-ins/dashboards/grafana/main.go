// Stand-in for Grafana 9.5.5, started as its image starts it: /run.sh.
package main

import (
	"log"
	"net/http"
	"os"

	"ztlab/rig/dashboards/page"
)

// The manifest mounts these; without them the real program has neither its settings nor its data source.
var mounted = []string{"/etc/grafana/grafana.ini", "/etc/grafana/provisioning/datasources/datasources.yaml"}

func main() {
	for _, file := range mounted {
		if _, err := os.Stat(file); err != nil {
			log.Fatalf("configuration of grafana: %v", err)
		}
	}
	grafana := page.Dashboard{
		Name: "Grafana", Version: "9.5.5", Root: "/dashboards",
		HealthPath: "/api/health", HealthType: "application/json",
		Health: "{\"commit\":\"stand-in\",\"database\":\"ok\",\"version\":\"9.5.5\"}",
		Shows:  "Istio's dashboards, drawn from Prometheus.",
	}
	page.Serve(map[string]http.Handler{":3000": grafana.Handler()})
}
