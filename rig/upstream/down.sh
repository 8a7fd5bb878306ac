#!/bin/bash
# down.sh [--wipe]: stops the registry and the file server; --wipe also forgets what they hold and what was asked of them.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/folders.sh"
STOP_PATIENCE=5

is_gone() { ! [ -e "/proc/$1" ]; }

for name in "${SERVERS[@]}"; do
  if pid=$(server_pid "$name"); then
    kill "$pid"
    wait_until $STOP_PATIENCE is_gone "$pid" || kill -KILL "$pid"
  fi
  rm -f "$UPSTREAM_STATE/run/$name.started"
done
[ "${1:-}" != --wipe ] || rm -rf "$UPSTREAM_STATE"
log "upstream: down"
