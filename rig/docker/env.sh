#!/bin/bash
# Prints what to export so that the `docker` command means the rig's dockerd. It does so by the command's own current
# context, as Docker Desktop does: DOCKER_HOST is among what a lab takes away from its child processes.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/folders.sh"
tree=$(docker_tree)
if [ ! -d "$DOCKER_STATE/config" ]; then
  docker=("$tree/usr/bin/docker" --config "$DOCKER_STATE/config.new")
  rm -rf "$DOCKER_STATE/config.new"
  mkdir -p "$DOCKER_STATE/config.new"
  "${docker[@]}" context create rig --docker "host=unix://$DOCKER_SOCKET" >/dev/null 2>&1
  "${docker[@]}" context use rig >/dev/null 2>&1
  mv "$DOCKER_STATE/config.new" "$DOCKER_STATE/config"
fi
echo "export DOCKER_CONFIG='$DOCKER_STATE/config'"
echo "unset DOCKER_HOST DOCKER_CONTEXT"
echo "export PATH=\"$tree/usr/bin:\$PATH\""
