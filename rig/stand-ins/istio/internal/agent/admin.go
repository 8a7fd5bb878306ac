package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"ztlab.rig/istio/internal/names"
	"ztlab.rig/istio/internal/wire"
)

// admin asks Envoy about itself.
type admin struct {
	http http.Client
}

func newAdmin() *admin { return &admin{http: http.Client{Timeout: 3 * time.Second}} }

func (admin *admin) get(ctx context.Context, method, path string) (string, error) {
	address := fmt.Sprintf("http://127.0.0.1:%d%s", names.AdminPort, path)
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return "", err
	}
	response, err := admin.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("envoy answered %s to %s: %s", response.Status, path, strings.TrimSpace(string(body)))
	}
	return string(body), err
}

// live says whether Envoy has read its configuration and answers on its ports.
func (admin *admin) live(ctx context.Context) bool {
	body, err := admin.get(ctx, http.MethodGet, "/ready")
	return err == nil && strings.HasPrefix(body, "LIVE")
}

var versionText = regexp.MustCompile(`(?m)^(listener_manager\.lds|cluster_manager\.cds)\.version_text: "(.*)"$`)

// acked reads from Envoy which versions it has in use. One that it refused never appears here.
func (admin *admin) acked(ctx context.Context) wire.Acked {
	var acked wire.Acked
	body, err := admin.get(ctx, http.MethodGet, "/stats?filter=version_text")
	if err != nil {
		return acked
	}
	for _, found := range versionText.FindAllStringSubmatch(body, -1) {
		if strings.HasPrefix(found[1], "listener") {
			acked.Listeners = found[2]
		} else {
			acked.Clusters = found[2]
		}
	}
	return acked
}

// drain asks Envoy to let running requests end and to take no new connections.
func (admin *admin) drain(ctx context.Context) error {
	_, err := admin.get(ctx, http.MethodPost, "/drain_listeners?graceful&skip_exit")
	return err
}
