#!/bin/bash
# Starts Debian's dockerd by hand, with its own folders and socket, in a mount and a process namespace of its own: its
# mounts and containers end with one process, and the machine keeps none of them. No bridge, no packet rules.
# Arguments go to dockerd as they are.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/folders.sh"
START_PATIENCE=30

# The first process of the namespaces. /run becomes private, so that sockets have short names there and leave no trace.
# shellcheck disable=SC2016 # expanded by the inner shell
INIT='
  mount -t tmpfs -o mode=755 tmpfs /run
  state=$1; shift
  exec dockerd --host "unix://$state/docker.sock" --data-root "$state/data" --exec-root /run/docker --pidfile /run/docker.pid "$@"
'

if docker_pid >/dev/null && rig_docker version >/dev/null 2>&1; then
  log "docker: up already"
  exec "$RIG/docker/env.sh"
fi
[ "$(id -u)" = 0 ] || die "dockerd wants root"
tree=$(docker_tree)
wrapper=$(runc_wrapper)
mkdir -p "$DOCKER_STATE/data"
rm -f "$DOCKER_SOCKET"
export PATH="$tree/usr/sbin:$tree/usr/bin:$PATH"
# A small Debian may lack some of the libraries. The C library is always the machine's own: it belongs to its loader.
libraries=$("$RIG/build/packages.sh" debian "${DOCKER_LIBRARIES[@]}")
export LD_LIBRARY_PATH="$libraries/lib/x86_64-linux-gnu:$libraries/usr/lib/x86_64-linux-gnu"
setsid unshare --mount --propagation private --pid --fork --mount-proc --kill-child \
  bash -c "$INIT" init "$DOCKER_STATE" --storage-driver overlay2 --cgroup-parent "/$DOCKER_GROUP" \
  --bridge none --iptables=false --ip-forward=false --ip-masq=false --oom-score-adjust 0 \
  --add-runtime "rig=$wrapper" --default-runtime rig "$@" </dev/null >>"$RIG_STATE/log/docker.log" 2>&1 &
echo $! >"$DOCKER_STATE/pid"
wait_until $START_PATIENCE rig_docker version ||
  { tail -n 5 "$RIG_STATE/log/docker.log" >&2; die "dockerd does not answer on $DOCKER_SOCKET"; }
log "docker: up, $(rig_docker version --format '{{.Server.Version}}') on $DOCKER_SOCKET"
exec "$RIG/docker/env.sh"
