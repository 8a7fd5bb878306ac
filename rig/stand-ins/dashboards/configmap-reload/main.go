// Stand-in for configmap-reload 0.8.0, started as Prometheus' manifest starts it:
//
//	/configmap-reload --volume-dir=/etc/config --webhook-url=http://127.0.0.1:9090/-/reload
//
// It does the real program's duty by looking every few seconds instead of by inotify.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	lookInterval   = 2 * time.Second
	webhookTimeout = 10 * time.Second
)

// generation tells two states of a mounted ConfigMap apart. The kubelet changes all files of one at once, by moving
// the link "..data" to a new folder, so the link's target is enough.
func generation(folder string) (string, error) {
	target, err := os.Readlink(filepath.Join(folder, "..data"))
	if err != nil {
		return "", fmt.Errorf("%s does not look like a mounted ConfigMap: %w", folder, err)
	}
	return target, nil
}

// callWebhook asks for the reload once; a refusal is an error.
func callWebhook(client *http.Client, address string) error {
	response, err := client.Post(address, "", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

// watcher remembers which generation the webhook has accepted, so a failed call is repeated.
type watcher struct {
	folder, webhook, accepted string
	client                    *http.Client
}

// look calls the webhook when the folder has changed since the last accepted call.
func (watcher *watcher) look() error {
	current, err := generation(watcher.folder)
	if err != nil || current == watcher.accepted {
		return err
	}
	if err := callWebhook(watcher.client, watcher.webhook); err != nil {
		return fmt.Errorf("reload by %s: %w", watcher.webhook, err)
	}
	log.Printf("%s changed, reload accepted", watcher.folder)
	watcher.accepted = current
	return nil
}

func main() {
	folder := flag.String("volume-dir", "", "folder of the mounted ConfigMap")
	webhook := flag.String("webhook-url", "", "address to POST to when the folder changed")
	flag.Parse()
	if *folder == "" || *webhook == "" {
		log.Fatal("both --volume-dir and --webhook-url are needed")
	}
	start, err := generation(*folder)
	if err != nil {
		log.Fatal(err)
	}
	watched := watcher{*folder, *webhook, start, &http.Client{Timeout: webhookTimeout}}
	log.Printf("watching %s", *folder)
	for range time.Tick(lookInterval) {
		if err := watched.look(); err != nil {
			log.Print(err)
		}
	}
}
