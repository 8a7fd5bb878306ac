#!/bin/bash
# down.sh [--wipe]: stops the rig's dockerd and all that runs in it; --wipe also forgets its images and volumes.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/folders.sh"
STOP_PATIENCE=20
GROUP_PATIENCE=5

is_gone() { ! [ -e "/proc/$1" ]; }

# Control groups outlive their processes for a moment.
remove_groups() {
  local group left=0
  for group in /sys/fs/cgroup/"$DOCKER_GROUP" /sys/fs/cgroup/*/"$DOCKER_GROUP"; do
    [ -d "$group" ] || continue
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
  done
  return $left
}

if pid=$(docker_pid); then
  # The one child is dockerd itself: asked politely, it stops its containers and writes down what it knows.
  read -r child _ <"/proc/$pid/task/$pid/children" || true
  [ -z "${child:-}" ] || kill "$child"
  wait_until $STOP_PATIENCE is_gone "$pid" || { kill -KILL "$pid"; wait_until $STOP_PATIENCE is_gone "$pid"; }
fi
rm -f "$DOCKER_STATE/pid" "$DOCKER_SOCKET"
wait_until $GROUP_PATIENCE remove_groups || log "docker: control groups are left under $DOCKER_GROUP"
[ "${1:-}" != --wipe ] || rm -rf "$DOCKER_STATE"
log "docker: down"
