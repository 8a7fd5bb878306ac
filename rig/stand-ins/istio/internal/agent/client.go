package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"ztlab.rig/istio/internal/names"
	"ztlab.rig/istio/internal/wire"
)

// answerTimeout is above the time that istiod holds a question open.
const answerTimeout = 30 * time.Second

// errNothingNew is istiod's answer to a question that it held until the end.
var errNothingNew = errors.New("nothing new")

// client talks to istiod. It trusts exactly the root that istiod put into the namespace.
type client struct {
	address string

	mutex sync.Mutex
	root  []byte
	http  *http.Client
}

// trusting gives a connection maker for the root as it is now: a pod may have started with the root of a mesh that was
// purged, and the kubelet brings the new one into the running pod.
func (client *client) trusting() (*http.Client, error) {
	client.mutex.Lock()
	defer client.mutex.Unlock()
	root, err := os.ReadFile(rootCertFile)
	if err != nil || bytes.Equal(root, client.root) {
		return client.http, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(root) {
		return nil, fmt.Errorf("%s has no certificate", rootCertFile)
	}
	client.root = root
	client.http = &http.Client{
		Timeout: answerTimeout,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: names.DiscoveryHost, MinVersion: tls.VersionTLS12},
		},
	}
	return client.http, nil
}

func (client *client) certificate(ctx context.Context, request string) (wire.CertificateReply, error) {
	var reply wire.CertificateReply
	err := client.ask(ctx, wire.CertificatePath, wire.CertificateRequest{Request: request}, &reply)
	return reply, err
}

func (client *client) configuration(ctx context.Context, request wire.ConfigurationRequest) (wire.ConfigurationReply, error) {
	var reply wire.ConfigurationReply
	err := client.ask(ctx, wire.ConfigurationPath, request, &reply)
	return reply, err
}

func (client *client) ask(ctx context.Context, path string, question, answer any) error {
	connections, err := client.trusting()
	if err != nil {
		return err
	}
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+client.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	// Read each time: the kubelet renews the token in place.
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	response, err := connections.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(response.Body).Decode(answer)
	case http.StatusNoContent:
		return errNothingNew
	default:
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
		return fmt.Errorf("istiod answered %s: %s", response.Status, strings.TrimSpace(string(text)))
	}
}
