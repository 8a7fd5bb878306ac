// Package additions takes the place of the package that registers all plug-ins of Prometheus: build.sh compiles the
// release's own main file with that one import changed to this one. The released program also finds targets in two
// dozen clouds, whose SDKs are most of what it is compiled from.
package additions

import (
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/http"
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
)
