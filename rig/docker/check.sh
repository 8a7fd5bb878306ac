#!/bin/bash
# Proves the docker-runtime path: a dockerd by hand, a node container with its own dockerd in it, images loaded through
# `docker exec` and read back by their digests, minikube's stand-in with its refusals, and nothing left behind. Runs in an
# instance of its own, so a rig in use is not disturbed. Ends with the line `N passed, N failed`.
set -uo pipefail
export ZTLAB_RIG_INSTANCE=${ZTLAB_RIG_CHECK_INSTANCE:-8}
. "$(dirname "$(readlink -f "$0")")/folders.sh"
. "$RIG/lib/check.sh"
KICBASE=gcr.io/k8s-minikube/kicbase:v0.0.42
PAUSE=registry.k8s.io/pause:3.9
NODE=zt-check
NODE_PATIENCE=60
WORK=$(mktemp -d)
# Recipes of the eight images that minikube's cache holds.
CACHED_RECIPES=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd coredns pause storage-provisioner)

# config_digest ARCHIVE: what Docker has to report as the image's ID.
config_digest() { tar -xOf "$1" manifest.json | sed 's/.*"Config": "blobs.\(sha256\).\([0-9a-f]*\)".*/\1:\2/'; }

archive() { "$RIG/docker/archive.py" "$("$RIG/image/make.sh" "$1" 2>/dev/null)" >"$2"; }

# footprint: what a dockerd could leave on the machine. Other rigs come and go meanwhile: their links and namespaces do
# not count.
footprint() {
  cut -d ' ' -f 2,3 /proc/mounts | grep -v /netns
  ip -o link | cut -d ' ' -f 2 | grep -v '^zt-host'
  find /sys/fs/cgroup -maxdepth 2 -type d -name "$DOCKER_GROUP"
  ps -eo args | grep -F "$DOCKER_STATE" | grep -v grep
  command -v iptables-save >/dev/null && iptables-save | grep -vE '^#|zt-host' | sed 's/\[.*//'
  cat /proc/sys/net/ipv4/ip_forward
}

bring_up() { "$RIG/docker/up.sh" >"$WORK/environment" && . "$WORK/environment"; }

load_kicbase() {
  archive "$RIG/docker/image-kicbase.sh" "$WORK/kicbase.tar" && docker load <"$WORK/kicbase.tar" &&
    equals "$(docker image inspect --format '{{.Id}}' "$KICBASE")" "$(config_digest "$WORK/kicbase.tar")"
}

node_answers() { docker exec "$NODE" docker version --format '{{.Server.Version}}'; }

start_node() {
  docker run --detach --privileged --network none --tmpfs /run --volume "$NODE:/var" --name "$NODE" "$KICBASE" &&
    wait_until $NODE_PATIENCE node_answers
}

inner_storage_is_overlay2() { equals "$(docker exec "$NODE" docker info --format '{{.Driver}}')" overlay2; }

load_through_exec() {
  archive pause "$WORK/pause.tar" && docker exec --interactive "$NODE" docker load <"$WORK/pause.tar"
}

read_back() {
  equals "$(docker exec "$NODE" docker image inspect --format '{{.Id}}' "$PAUSE")" "$(config_digest "$WORK/pause.tar")"
}

# One flipped byte in a layer.
damaged_archive_is_refused() {
  local layer offset
  layer=$(tar -tf "$WORK/pause.tar" | sed -n 2p)
  tar -xOf "$WORK/pause.tar" "$layer" >"$WORK/layer" || return 1
  offset=$(grep -obaF "$layer" "$WORK/pause.tar" | head -n 1 | cut -d : -f 1)
  cp "$WORK/pause.tar" "$WORK/damaged.tar"
  # The member's bytes begin one block of 512 after its header; 1000 bytes on is inside the compressed data.
  printf '\377\377\377\377' | dd of="$WORK/damaged.tar" bs=1 seek=$((offset + 512 + 1000)) conv=notrunc status=none
  docker exec "$NODE" docker image rm "$PAUSE" || return 1
  ! docker exec --interactive "$NODE" docker load <"$WORK/damaged.tar"
}

# Loading is one thing; the node's dockerd can also run what it has.
node_runs_a_container() {
  docker exec --interactive "$NODE" docker load <"$WORK/pause.tar" &&
    docker exec "$NODE" docker run --detach --network none --name pause "$PAUSE" &&
    equals "$(docker exec "$NODE" docker inspect --format '{{.State.Running}}' pause)" true
}

remove_node() { docker rm --force --volumes "$NODE" && docker volume rm "$NODE"; }

# A folder as a lab prepares it for minikube: three binaries, eight archives.
prepare_minikube() {
  local files recipe reference path
  files=$("$RIG/upstream/files.sh") || return 1
  export MINIKUBE_HOME=$WORK/minikube KUBECONFIG=$WORK/kubeconfig
  MINIKUBE_CACHE=$MINIKUBE_HOME/.minikube/cache
  mkdir -p "$MINIKUBE_CACHE/linux/amd64/v1.28.3"
  install -m 755 "$files"/dl.k8s.io/release/v1.28.3/bin/linux/amd64/{kubectl,kubelet,kubeadm} "$MINIKUBE_CACHE/linux/amd64/v1.28.3/"
  install -m 755 "$files/github.com/kubernetes/minikube/releases/download/v1.32.0/minikube-linux-amd64" "$WORK/minikube-program"
  for recipe in "${CACHED_RECIPES[@]}"; do
    archive "$recipe" "$WORK/one.tar" || return 1
    reference=$(tar -xOf "$WORK/one.tar" manifest.json | sed 's/.*"RepoTags": \["\([^"]*\)"\].*/\1/')
    path=$MINIKUBE_CACHE/images/amd64/${reference/:/_}
    mkdir -p "$(dirname "$path")"
    mv "$WORK/one.tar" "$path"
  done
}

START=(
  start -p "$NODE" --driver=docker --container-runtime=docker --kubernetes-version=v1.28.3 --base-image=$KICBASE
  --preload=false --cni=false --network-plugin=cni --memory=2048 --cpus=1
  --extra-config=kubeadm.pod-network-cidr=10.244.0.0/16 --interactive=false -o json
)
minikube() { "$WORK/minikube-program" "$@"; }

start_minikube() {
  minikube "${START[@]}" --force >"$WORK/events" || { tail -n 1 "$WORK/events"; return 1; }
  tail -n 1 "$WORK/events" | grep '"currentstep":"19"'
}

minikube_loaded_all() {
  equals "$(docker exec "$NODE" docker images --quiet | sort -u | wc -l)" ${#CACHED_RECIPES[@]}
}

context_is_the_profile() {
  equals "$("$MINIKUBE_CACHE/linux/amd64/v1.28.3/kubectl" config current-context)" "$NODE"
}

# refused CODE COMMAND...: the command ends with that exit code.
refused() {
  local code=$1 status=0
  shift
  "$@" || status=$?
  equals "$status" "$code"
}

without_an_image() {
  local path=$MINIKUBE_CACHE/images/amd64/registry.k8s.io/pause_3.9 status
  mv "$path" "$path.away"
  refused 122 minikube "${START[@]}" --force
  status=$?
  mv "$path.away" "$path"
  return $status
}

stop_and_start_again() {
  minikube stop -p "$NODE" && refused 7 minikube status -p "$NODE" -o json && start_minikube &&
    minikube status -p "$NODE" -o json | grep '"Host":"Running"'
}

delete_minikube() {
  minikube delete -p "$NODE" && equals "$(docker ps --all --quiet)" "" && equals "$(docker volume ls --quiet)" "" &&
    refused 85 minikube status -p "$NODE"
}

nothing_is_left() { diff "$WORK/before" <(footprint); }

wrapper_tests() { (cd "$RIG/docker/runc-wrapper" && CGO_ENABLED=0 go vet ./... && CGO_ENABLED=0 go test ./...); }

# Ending one process has to be enough, however rudely.
crash() {
  bring_up && start_node && kill -KILL "$(docker_pid)" && sleep 1 && "$RIG/docker/down.sh" --wipe
}

"$RIG/docker/down.sh" --wipe
docker_tree >/dev/null
footprint >"$WORK/before"

check "the runtime wrapper's own tests pass" wrapper_tests
check "a dockerd of the rig's own starts" bring_up
check "docker load of kicbase; its ID is the config's digest" load_kicbase
check "the node container starts and its own dockerd answers" start_node
check "the node's dockerd stores on overlay2" inner_storage_is_overlay2
check "docker exec -i NODE docker load" load_through_exec
check "docker exec NODE docker image inspect gives the config's digest" read_back
check "an archive with damaged bytes is not loaded" damaged_archive_is_refused
check "the node's dockerd runs a container" node_runs_a_container
check "the node and its volume go away" remove_node
check "minikube's folder can be prepared" prepare_minikube
check "minikube start ends with step 19" start_minikube
check "minikube loaded the eight images of its cache" minikube_loaded_all
check "the kubeconfig's current context is the profile" context_is_the_profile
check "minikube stop, status, start again" stop_and_start_again
check "refused: a flag of the recipe left out (120)" refused 120 minikube "${START[@]/--preload=false/--force}"
check "refused: a start flag in the environment (121)" refused 121 env MINIKUBE_CPUS=1 "$WORK/minikube-program" "${START[@]}" --force
check "refused: a proxy that leads out (121)" refused 121 env HTTPS_PROXY=http://proxy.example:3128 "$WORK/minikube-program" "${START[@]}" --force
check "refused: an image absent from the cache (122)" without_an_image
check "refused: more cores than there are (29)" refused 29 minikube "${START[@]/--cpus=1/--cpus=999}" --force
[ "$(id -u)" != 0 ] || check "refused: root without --force (57)" refused 57 minikube "${START[@]}"
check "minikube delete leaves no container, volume or profile" delete_minikube
check "dockerd stops" "$RIG/docker/down.sh"
check "nothing is left on the machine" nothing_is_left
check "a dockerd that was killed with a node in it" crash
check "nothing is left after that either" nothing_is_left
rm -r "$WORK"
claims_counted
