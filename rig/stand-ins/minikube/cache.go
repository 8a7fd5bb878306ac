package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const architecture = "amd64"

var nodeBinaries = []string{"kubelet", "kubeadm", "kubectl"}

// The images that Kubernetes 1.28.3 needs; the list is compiled into the real program as well.
var kubernetesImages = []string{
	"registry.k8s.io/kube-apiserver:" + kubernetesVersion,
	"registry.k8s.io/kube-controller-manager:" + kubernetesVersion,
	"registry.k8s.io/kube-scheduler:" + kubernetesVersion,
	"registry.k8s.io/kube-proxy:" + kubernetesVersion,
	"registry.k8s.io/pause:3.9",
	"registry.k8s.io/etcd:3.5.9-0",
	"registry.k8s.io/coredns/coredns:v1.10.1",
	"gcr.io/k8s-minikube/storage-provisioner:v5",
}

func binaryPath(name string) string {
	return filepath.Join(minikubeFolder(), "cache", "linux", architecture, kubernetesVersion, name)
}

// imagePath is where minikube looks for an image: the reference with the tag's colon as an underscore.
func imagePath(reference string) string {
	return filepath.Join(minikubeFolder(), "cache", "images", architecture, strings.ReplaceAll(reference, ":", "_"))
}

// cachedImage is one archive of the cache that was read through and found whole.
type cachedImage struct {
	reference string
	path      string
	config    string // digest of its config, which Docker reports as the image's ID
}

// checkCache demands every binary and every image. The real program looks only whether the binaries exist, and goes on
// without an image until kubeadm gives up minutes later.
func checkCache() ([]cachedImage, error) {
	for _, name := range nodeBinaries {
		if file, err := os.Stat(binaryPath(name)); err != nil || file.Size() == 0 {
			return nil, refuseCache("node binary %s is absent or empty", binaryPath(name))
		}
	}
	var images []cachedImage
	for _, reference := range kubernetesImages {
		config, err := readArchive(imagePath(reference), reference)
		if err != nil {
			return nil, refuseCache("image %s in %s: %v", reference, imagePath(reference), err)
		}
		images = append(images, cachedImage{reference, imagePath(reference), config})
	}
	return images, nil
}

// archiveManifest is one entry of a docker-archive's manifest.json.
type archiveManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readArchive returns the digest of the config of the one image in a docker-archive, after checking that the image
// carries the expected name and that everything it names is in there.
func readArchive(path, reference string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	var manifests []archiveManifest
	digests := map[string]string{}
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		if header.Name == "manifest.json" {
			if err := json.NewDecoder(archive).Decode(&manifests); err != nil {
				return "", err
			}
			continue
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, archive); err != nil {
			return "", err
		}
		digests[header.Name] = hex.EncodeToString(hash.Sum(nil))
	}
	return checkManifest(manifests, digests, reference)
}

func checkManifest(manifests []archiveManifest, digests map[string]string, reference string) (string, error) {
	if len(manifests) != 1 {
		return "", errors.New("not a docker-archive of one image: no manifest.json, or not one entry in it")
	}
	manifest := manifests[0]
	if len(manifest.RepoTags) != 1 || manifest.RepoTags[0] != reference {
		return "", errors.New("it is named " + strings.Join(manifest.RepoTags, ", "))
	}
	for _, name := range append([]string{manifest.Config}, manifest.Layers...) {
		digest, present := digests[name]
		if !present {
			return "", errors.New("it lacks " + name)
		}
		// Members below blobs/sha256 are named by their digest; a name that lies means damaged bytes.
		if stated, isBlob := strings.CutPrefix(name, "blobs/sha256/"); isBlob && stated != digest {
			return "", errors.New("the bytes of " + name + " are not what the name says")
		}
	}
	return "sha256:" + digests[manifest.Config], nil
}
