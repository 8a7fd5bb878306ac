#!/bin/bash
# Builds every command of this module and prints the folder they are in.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/common.sh"
. "$RIG/lib/go.sh"
HERE=$RIG/stand-ins/istio

build_commands() {
  require_go
  log "istio stand-ins: building"
  go_build "$HERE" "" "$OUT/" ./cmd/...
}

cached istio-stand-ins "$HERE/go.mod" "$HERE/go.sum" "$HERE/cmd" "$HERE/internal" =build-1 -- build_commands
