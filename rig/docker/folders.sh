# shellcheck shell=bash
# Sourced by the scripts of the docker-runtime path.

. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
. "$RIG/docker/programs.sh"

#   data/         dockerd's images and volumes    config/  the docker command's settings: a context that leads here
#   docker.sock   dockerd's socket                pid      of the process that everything hangs on
DOCKER_STATE=$RIG_STATE/docker
DOCKER_SOCKET=$DOCKER_STATE/docker.sock
DOCKER_GROUP=zt-docker$RIG_SUFFIX

# docker_tree: the folder with Debian's Docker, unpacked and not installed, so that nothing starts by itself.
docker_tree() { "$RIG/build/packages.sh" debian "${DOCKER_PACKAGES[@]}"; }

# rig_docker ARGUMENT...: the docker command against the rig's dockerd.
rig_docker() {
  DOCKER_TREE=${DOCKER_TREE:-$(docker_tree)}
  "$DOCKER_TREE/usr/bin/docker" --host "unix://$DOCKER_SOCKET" "$@"
}

# docker_pid: the unshare process that dockerd hangs on; fails when it does not run.
docker_pid() {
  local pid
  pid=$(cat "$DOCKER_STATE/pid" 2>/dev/null) || return 1
  grep -qsz -F "$DOCKER_STATE" "/proc/$pid/cmdline" || return 1
  printf '%s\n' "$pid"
}
