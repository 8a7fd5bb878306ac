#!/bin/bash
# upstream.sh up             starts the registry and the file server and publishes what changed
# upstream.sh down [--wipe]  stops them; --wipe forgets what they hold (the build cache can publish it again)
# upstream.sh requests       prints how many requests each has answered since it was made
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
action=${1:-}
[ $# = 0 ] || shift
case $action in
  up) "$here/up.sh" && "$here/publish.sh" push ;;
  down) exec "$here/down.sh" "$@" ;;
  check) exec "$here/check.sh" ;;
  requests)
    . "$here/folders.sh"
    echo "registry $(wc -l <"$UPSTREAM_STATE/log/registry.log")"
    echo "files $(wc -l <"$UPSTREAM_STATE/log/files.log")" ;;
  *) echo "usage: upstream.sh up | down [--wipe] | check | requests" >&2; exit 2 ;;
esac
