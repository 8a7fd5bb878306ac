#!/bin/bash
# With OUT=FOLDER: Istio's release archive as far as the lab opens it, istio-1.20.0-linux-amd64.tar.gz with its .sha256.
# istioctl is the stand-in; the dashboards' manifests are upstream's own, byte for byte.
# Without OUT: makes it through the build cache and prints the folder. Same inputs, same bytes.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/common.sh"
RELEASE=istio-1.20.0
ARCHIVE=$RELEASE-linux-amd64.tar.gz
UPSTREAM=$RIG/upstream/files/$RELEASE

pack() {
  local tree=$OUT/.tree
  mkdir -p "$tree/$RELEASE/bin" "$tree/$RELEASE/samples/addons"
  install -m 755 "$1/istioctl" "$tree/$RELEASE/bin/istioctl"
  install -m 644 "$UPSTREAM"/samples/addons/{grafana,kiali,prometheus}.yaml "$tree/$RELEASE/samples/addons/"
  tar -C "$tree" --sort=name --mtime='2023-11-13 00:00:00Z' --owner=0 --group=0 --numeric-owner --format=ustar \
    --mode='u+rwX,go+rX,go-w' -cf - "$RELEASE" | gzip -1 -n >"$OUT/$ARCHIVE"
  rm -r "$tree"
  (cd "$OUT" && sha256sum "$ARCHIVE" >"$ARCHIVE.sha256")
}

commands=$("$RIG/stand-ins/istio/build.sh")
if [ -n "${OUT:-}" ]; then
  pack "$commands"
else
  cached istio-archive "$commands/istioctl" "$UPSTREAM" "$RIG/stand-ins/istio/archive.sh" -- pack "$commands"
fi
