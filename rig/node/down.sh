#!/bin/bash
# down.sh [--wipe] [--quiet]: stops the node. Its state (objects, images, certificates) stays unless --wipe is given.
# Also clears up after a node that crashed.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"
. "$RIG/node/cgroups.sh"

wipe=no quiet=no
for option; do
  case $option in
    --wipe) wipe=yes ;;
    --quiet) quiet=yes ;;
    *) die "usage: down.sh [--wipe] [--quiet]" ;;
  esac
done

ended() { [ ! -e "/proc/$1" ]; }
no_processes() { [ -z "$(node_processes)" ]; }

# First the ordered way; whatever is left after that goes with the namespace.
stop_processes() {
  local first outer
  first=$(node_pid) || return 0
  outer=$(cat "$NODE_STATE/pid")
  kill -TERM "$first"
  wait_until 10 ended "$first" || log "node: does not stop in order, killing it"
  kill -KILL "$outer" 2>/dev/null || true
  wait_until 10 no_processes || die "processes of the node are left: $(node_processes | tr '\n' ' ')"
}

stop_processes
rm -f "$NODE_STATE/pid"
if no_processes; then
  remove_node_groups
  # The link's other end has died with the node's network namespace, which the kernel clears away a moment later.
  ip link delete "$MACHINE_LINK" 2>/dev/null || true
fi
[ $wipe = no ] || rm -rf "$NODE_STATE"
[ $quiet = yes ] || "$RIG/node/leftovers.sh"
