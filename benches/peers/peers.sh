# shellcheck shell=bash
# Sourced where the peers are wanted, to compare with or to read the store with. Wants rig/lib/common.sh and go.sh.
# peer_crane, peer_oras, peer_skopeo, peer_distribution: print the folder that the program of that name is in.

PEERS=$RIG/../benches/peers

# A peer may want a newer Go than the rig does; the toolchain then comes as a module, from where all modules come.
build_peer() {
  require_go
  log "building $1"
  (cd "$PEERS/$1" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=auto go build -trimpath -buildvcs=false -o "$OUT/" "$2")
}

# Debian's skopeo with the libraries that it wants, unpacked and not installed.
write_skopeo() {
  cat >"$OUT/skopeo" <<TEXT
#!/bin/sh
LD_LIBRARY_PATH=$1/usr/lib/$(uname -m)-linux-gnu exec $1/usr/bin/skopeo "\$@"
TEXT
  chmod 755 "$OUT/skopeo"
}

peer_crane() { cached bench-crane "$PEERS/crane" -- build_peer crane github.com/google/go-containerregistry/cmd/crane; }
peer_oras() { cached bench-oras "$PEERS/oras" -- build_peer oras oras.land/oras/cmd/oras; }
peer_distribution() { cached bench-distribution "$PEERS/distribution" -- build_peer distribution .; }

peer_skopeo() {
  local tree
  tree=$("$RIG/build/packages.sh" debian skopeo libgpgme11 libassuan0 libgpg-error0 libdevmapper1.02.1)
  cached bench-skopeo "=$tree" -- write_skopeo "$tree"
}
