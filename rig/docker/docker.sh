#!/bin/bash
# docker.sh up             starts a dockerd of the rig's own; prints what to export to talk to it
# docker.sh down [--wipe]  stops it with everything that runs in it; --wipe forgets its images and volumes
# docker.sh env            prints what to export
# docker.sh check          proves the docker-runtime path in an instance of its own
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
action=${1:-}
[ $# = 0 ] || shift
case $action in
  up | down | check | env) exec "$here/$action.sh" "$@" ;;
  *) echo "usage: docker.sh up | down [--wipe] | env | check" >&2; exit 2 ;;
esac
