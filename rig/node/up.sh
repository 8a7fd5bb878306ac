#!/bin/bash
# Starts the node and returns when the API answers and the node is registered. It stays NotReady, and CoreDNS waits,
# until something brings a pod network: that is a step of the lab. A running node is left alone; earlier state is kept.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"
. "$RIG/node/cgroups.sh"

# Longer than init.sh's own patience, so that its message is the one that is seen.
START_PATIENCE=200
IMAGES=(pause coredns)

check_machine() {
  local folder
  [ -z "$(node_processes)" ] ||
    die "a node of another state folder runs on this machine: stop that one, or choose another with ZTLAB_RIG_INSTANCE=1…9"
  for folder in /etc /opt /usr /var; do
    case $NODE_STATE/ in
      "$folder"/*) die "the state folder must not lie beneath $folder, which the node overlays: set ZTLAB_RIG_STATE" ;;
    esac
  done
  # Kernels that have it built in have no module of that name to load.
  [ -e /proc/sys/net/bridge ] || modprobe -q br_netfilter || die "the kernel has no br_netfilter"
}

# start_first_process: its standing as a member of the node's groups and its empty environment (no proxies, no
# kubeconfig of the person) are inherited by everything in the node.
start_first_process() {
  local join=()
  mapfile -t join < <(node_groups)
  # shellcheck disable=SC2016
  setsid env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    ZTLAB_RIG_CACHE="$RIG_CACHE" ZTLAB_RIG_STATE="$RIG_STATE" ZTLAB_RIG_INSTANCE="$RIG_INSTANCE" \
    PROGRAMS_KUBERNETES="$KUBECTL_FOLDER" PROGRAMS_ETCD="$ETCD_FOLDER" INIT="$RIG/node/init.sh" \
    bash -c 'for group; do echo $$ >"$group/cgroup.procs"; done
      exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child bash "$INIT"' \
    join "${join[@]}" >"$NODE_STATE/log/init.log" 2>&1 </dev/null &
  echo $! >"$NODE_STATE/pid"
}

# Both ends are made here: the node's first process waits for its own.
connect_to_machine() {
  local pid
  wait_until 10 node_pid || die "the node's first process is gone: see $NODE_STATE/log/init.log"
  pid=$(node_pid)
  ip link add "$MACHINE_LINK" type veth peer name eth0 netns "$pid"
  ip address add "$MACHINE_IP/30" dev "$MACHINE_LINK"
  ip link set "$MACHINE_LINK" up
}

# registered: the node's object exists; ends the waiting with an error when the first process has ended.
wait_for_node() {
  local deadline=$((SECONDS + START_PATIENCE))
  until kube get node "$NODE_NAME" >/dev/null 2>&1; do
    if ! node_pid >/dev/null || [ $SECONDS -ge $deadline ]; then
      tail -n 20 "$NODE_STATE/log/init.log" >&2
      die "the node did not come up; logs are in $NODE_STATE/log"
    fi
    sleep 0.2
  done
}

# A cluster that is already there has its DNS, so its two images are there as well.
import_images() {
  local layout reference
  for layout in "${LAYOUTS[@]}"; do
    reference=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifests"][0]["annotations"]["io.containerd.image.name"])' "$layout/index.json")
    tar -C "$layout" -cf - . | in_node ctr -n k8s.io images import --digests --base-name "${reference%:*}" - >&2
  done
}

if node_pid >/dev/null; then
  log "node: already up"
  exit 0
fi
[ "$(id -u)" = 0 ] || die "the node needs root: it makes namespaces, control groups and a network link"
"$RIG/build/packages.sh" tools
"$RIG/node/down.sh" --quiet
check_machine
# `kube` and the node use the same folder.
KUBECTL_FOLDER=$("$RIG/build/build.sh" kubernetes)
ETCD_FOLDER=$("$RIG/build/build.sh" etcd)
mapfile -t LAYOUTS < <("$RIG/image/make.sh" "${IMAGES[@]}")
started=$SECONDS
mkdir -p "$NODE_STATE/log"
[ -f "$NODE_STATE/kubernetes/pki/sa.pub" ] || "$RIG/node/pki.sh"
"$RIG/node/config.sh"
make_node_groups
start_first_process
connect_to_machine
wait_for_node
import_images
kube apply -f "$RIG/node/coredns.yaml" >/dev/null
log "node: up after $((SECONDS - started)) s; kubeconfig: $RIG_KUBECONFIG"
