#!/bin/bash
# readers.sh: skopeo, oras and crane read a fetched store where it lies. Brings the tools and runs the tests that
# `cargo test` skips without them (tests/store/readers.rs).
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib/ztlab.sh"
. "$RIG/lib/go.sh"
# shellcheck source=benches/peers/peers.sh
. "$RIG/../benches/peers/peers.sh"

readers=$(peer_crane):$(peer_oras):$(peer_skopeo)
cd "$REPOSITORY"
ZTLAB_READERS=$readers cargo test --locked --test store_room readers::
