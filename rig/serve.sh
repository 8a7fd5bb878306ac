#!/bin/bash
# serve.sh: everything that pulls from `ztlab serve`: another ztlab, crane, skopeo, Debian's containerd and dockerd, and a
# browser. Wants a fetched lab in HARNESS_WORK, as the harness' part `supply` leaves it.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib/ztlab.sh"
. "$RIG/lib/go.sh"
# shellcheck source=benches/peers/peers.sh
. "$RIG/../benches/peers/peers.sh"
[ -f "${HARNESS_WORK:?}/lab/lock/ztlab.lock" ] || die "no fetched lab in $HARNESS_WORK: run the harness' part supply first"

# dockerd has to know its mirror before the server listens there.
export HARNESS_SERVE_PORT=${HARNESS_SERVE_PORT:-$((5080 + RIG_INSTANCE))}
path=$("$RIG/build/build.sh" crane):$(peer_skopeo):$PATH
eval "$("$RIG/docker/up.sh" --registry-mirror "http://127.0.0.1:$HARNESS_SERVE_PORT")"
trap '"$RIG/docker/down.sh" --wipe' EXIT
export PATH=$path:$PATH
# Named so that the harness does not look for the rig's cluster: none is needed.
HARNESS_TARGET='--cluster none' RIG_REGISTRY=$RIG_REGISTRY RIG_FILES=$RIG_FILES python3 "$RIG/harness/run.py" serve
