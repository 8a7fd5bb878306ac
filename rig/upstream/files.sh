#!/bin/bash
# Prints a folder with every file of the rig's lab at HOST/PATH of its real URL; made through the build cache.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"
. "$RIG/lib/go.sh"
MINIKUBE_VERSION=v1.32.0
CALICO_VERSION=v3.27.0
ISTIO_VERSION=1.20.0

compile_minikube() { go_build "$RIG/stand-ins/minikube" "" "$OUT/" . ./kubeadm; }

# place SOURCE DESTINATION: a link when both are in the build cache, where nothing ever changes; a program has 100 MB.
place() {
  mkdir -p "$OUT/$(dirname "$2")"
  case $1 in
    "$RIG_CACHE"/*) ln -L "$1" "$OUT/$2" ;;
    *) install -m 644 "$1" "$OUT/$2" ;;
  esac
}

# with_checksum SOURCE DESTINATION: as the release servers of Kubernetes and Minikube have it, the bare digest in NAME.sha256.
with_checksum() {
  place "$1" "$2"
  sha256sum "$1" | cut -d ' ' -f 1 >"$OUT/$2.sha256"
}

# lay_out KUBERNETES MINIKUBE ISTIO WHEELS: the folders that hold what is served.
lay_out() {
  local kubernetes=$1 minikube=$2 istio=$3 wheels=$4 manifests=$RIG/upstream/files host file
  local kubernetes_release=dl.k8s.io/release/$KUBERNETES_VERSION/bin/linux/amd64
  with_checksum "$kubernetes/kubectl" "$kubernetes_release/kubectl"
  with_checksum "$kubernetes/kubelet" "$kubernetes_release/kubelet"
  with_checksum "$minikube/kubeadm" "$kubernetes_release/kubeadm"
  with_checksum "$minikube/minikube" "github.com/kubernetes/minikube/releases/download/$MINIKUBE_VERSION/minikube-linux-amd64"
  for file in "$istio"/*; do
    place "$file" "github.com/istio/istio/releases/download/$ISTIO_VERSION/${file##*/}"
  done
  host=raw.githubusercontent.com
  for file in tigera-operator custom-resources; do
    place "$manifests/calico-$CALICO_VERSION/$file.yaml" "$host/projectcalico/calico/$CALICO_VERSION/manifests/$file.yaml"
  done
  for file in kiali prometheus grafana; do
    place "$manifests/istio-$ISTIO_VERSION/samples/addons/$file.yaml" "$host/istio/istio/$ISTIO_VERSION/samples/addons/$file.yaml"
  done
  cp -al "$wheels/." "$OUT/"
}

kubernetes=$("$RIG/build/build.sh" kubernetes)
minikube=$(cached minikube "$RIG/stand-ins/minikube" "$RIG/lib/go.sh" -- compile_minikube)
istio=$("$RIG/stand-ins/istio/archive.sh")
wheels=$(cached wheels "$RIG/upstream/wheels.py" "$RIG/lab/ztlab.toml" -- "$RIG/upstream/wheels.py" "$RIG/lab/ztlab.toml")
# Folders of the build cache carry the hash of their inputs in their names.
cached upstream-files "=$kubernetes" "=$minikube" "=$istio" "=$wheels" "$RIG/upstream/files" "$RIG/upstream/files.sh" -- \
  lay_out "$kubernetes" "$minikube" "$istio" "$wheels"
