# shellcheck shell=bash
# Sourced by the upstream's scripts.

. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

# One upstream serves all rigs of this cache, whichever instance started it: its ports are fixed.
#   registry/  docker-registry's storage     files/  HOST/PATH of every file     bin/  docker-registry itself
#   log/       one line per request          run/    process ids, nginx' temporary files
UPSTREAM_STATE=${ZTLAB_RIG_STATE:-$RIG_CACHE/state}/upstream
SERVERS=(registry files)

# server_pid NAME: its process id; fails when it does not run. The number alone proves nothing after a crash.
server_pid() {
  local pid
  pid=$(cat "$UPSTREAM_STATE/run/$1.started" 2>/dev/null) || return 1
  grep -qsz -F /mnt/upstream "/proc/$pid/cmdline" || return 1
  printf '%s\n' "$pid"
}

# loopback ARGUMENT...: curl past any proxy of the machine.
loopback() { curl --noproxy '*' --silent --show-error "$@"; }
