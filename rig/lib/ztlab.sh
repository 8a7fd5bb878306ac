# shellcheck shell=bash
# Sourced by ./demo and ./check: builds the product and runs it on the rig.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

REPOSITORY=$(dirname "$RIG")
DEMO=$RIG_STATE/demo
mkdir -p "$DEMO"
# Builds stay outside the clone, so that a second clone is quick too. Cargo keys them by itself.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$RIG_CACHE/cargo}
ZTLAB=$CARGO_TARGET_DIR/debug/ztlab

# want_cargo: says plainly what is missing.
want_cargo() {
  [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
  command -v cargo >/dev/null ||
    die "cargo is absent: install Rust 1.89 or newer (https://rustup.rs), then run me again"
  local found
  found=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n' 1.89.0 "$found" | sort -V | head -n 1)" = 1.89.0 ] ||
    die "cargo $found is too old: ztlab wants Rust 1.89 or newer (rustup update)"
}

build_ztlab() {
  log "building ztlab (the first time takes 8 to 15 minutes on two cores)"
  (cd "$REPOSITORY" && cargo build --locked)
}

# prepare_lab: the lab's files with the rig's intent; a lock from an earlier run is kept, so that it is checked and not remade.
prepare_lab() {
  mkdir -p "$DEMO/lab/lock"
  local part
  for part in app manifests istio; do
    rm -rf "$DEMO/lab/${part:?}"
    cp -r "$REPOSITORY/$part" "$DEMO/lab/$part"
  done
  cp "$RIG/lab/ztlab.toml" "$DEMO/lab/lock/ztlab.toml"
  # A lock of an older form (its version table without blank lines) is refused by every verb, `lock` included.
  if [ -e "$DEMO/lab/lock/ztlab.lock" ] && ! "$ZTLAB" --lab "$DEMO/lab" lock show >/dev/null 2>&1; then
    log "the lock of an earlier run has another form: it is made anew"
    rm "$DEMO/lab/lock/ztlab.lock"
  fi
}

# lab VERB...: the product with the rig's upstream as its mirror, as a school would name its own.
lab() {
  local host arguments=()
  for host in docker.io registry.k8s.io gcr.io quay.io; do
    arguments+=(--mirror "$host=http://$RIG_REGISTRY/$host")
  done
  for host in github.com dl.k8s.io raw.githubusercontent.com pypi.org files.pythonhosted.org; do
    arguments+=(--mirror "https://$host=$RIG_FILES/$host")
  done
  "$ZTLAB" --lab "$DEMO/lab" --store "$DEMO/store" "${arguments[@]}" "$@"
}

# offline VERB...: the product where there is no way out, the node's own network namespace, against the rig's cluster.
offline() {
  (
    eval "$("$RIG/rig" env)"
    nsenter --target "$(node_pid)" --net -- "$ZTLAB" --lab "$DEMO/lab" --store "$DEMO/store" --offline \
      "$@" --context "$RIG_CONTEXT" --node "containerd:$RIG_CONTAINERD"
  )
}

# open_app: keeps the app's page reachable on loopback until `./demo stop`.
open_app() {
  [ ! -s "$DEMO/open.pid" ] || kill "$(cat "$DEMO/open.pid")" 2>/dev/null || true
  (
    eval "$("$RIG/rig" env)"
    exec setsid "$ZTLAB" --json --lab "$DEMO/lab" --store "$DEMO/store" open app --port 8080 \
      --context "$RIG_CONTEXT" --node "containerd:$RIG_CONTAINERD" </dev/null >"$DEMO/open.json" 2>"$DEMO/open.log" &
    echo $! >"$DEMO/open.pid"
  )
  wait_until 20 test -s "$DEMO/open.json" || die "ztlab open app: $(cat "$DEMO/open.log")"
  sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$DEMO/open.json" >"$DEMO/address"
}
