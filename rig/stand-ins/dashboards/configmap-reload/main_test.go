package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// point moves the "..data" link as the kubelet does.
func point(t *testing.T, folder, target string) {
	t.Helper()
	link := filepath.Join(folder, "..data")
	if err := os.RemoveAll(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}

func TestCallsOncePerChangeAndRepeatsWhenRefused(t *testing.T) {
	calls, status := 0, http.StatusInternalServerError
	server := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if request.Method != http.MethodPost {
			t.Errorf("method %s", request.Method)
		}
		calls++
		response.WriteHeader(status)
	}))
	defer server.Close()
	folder := t.TempDir()
	point(t, folder, "first")
	watched := watcher{folder, server.URL, "first", server.Client()}

	steps := []struct {
		name, target string
		status       int
		fails        bool
		calls        int
	}{
		{"unchanged", "first", http.StatusOK, false, 0},
		{"refused", "second", http.StatusInternalServerError, true, 1},
		{"repeated", "second", http.StatusOK, false, 2},
		{"accepted already", "second", http.StatusOK, false, 2},
		{"changed again", "third", http.StatusOK, false, 3},
	}
	for _, step := range steps {
		point(t, folder, step.target)
		status = step.status
		if err := watched.look(); (err != nil) != step.fails {
			t.Errorf("%s: error %v", step.name, err)
		}
		if calls != step.calls {
			t.Errorf("%s: %d calls, expected %d", step.name, calls, step.calls)
		}
	}
}

func TestRefusesAFolderThatIsNotAConfigMap(t *testing.T) {
	if _, err := generation(t.TempDir()); err == nil {
		t.Error("an empty folder was taken for a mounted ConfigMap")
	}
}
