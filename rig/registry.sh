#!/bin/bash
# registry.sh: a lab goes into registries of others and out again. Brings distribution (2.8, as Debian has it, and 3), crane
# with a registry of its own, and oras, and runs the tests that `cargo test` skips without them
# (tests/store/registries.rs). Each test starts its own empty registry on loopback.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib/ztlab.sh"
. "$RIG/lib/go.sh"
# shellcheck source=benches/peers/peers.sh
. "$RIG/../benches/peers/peers.sh"

programs=$("$RIG/build/packages.sh" debian docker-registry)/usr/bin:$(peer_distribution):$(peer_crane):$(peer_oras)
cd "$REPOSITORY"
ZTLAB_READERS=$programs cargo test --locked --test store_room registries::
