package additions

import (
	"embed"
	"net/http"

	"github.com/prometheus/prometheus/web/ui"
)

//go:embed static
var files embed.FS

// The pages of the release are compiled by npm and are no part of the Go module; without them every page is an error 500.
func init() { ui.Assets = http.FS(files) }
