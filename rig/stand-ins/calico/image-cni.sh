#!/bin/bash
# The plugins that internal/operator's configuration names, and the command that copies them to the node.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/calico/build.sh")
plugins=$("$RIG/build/packages.sh" debian containernetworking-plugins)/usr/lib/cni
make_image --ref docker.io/calico/cni:v3.27.0 --entrypoint '["/opt/cni/bin/install"]' \
  --layer "$plugins/bridge:/opt/cni/bin/bridge" "$plugins/host-local:/opt/cni/bin/host-local" \
  "$plugins/loopback:/opt/cni/bin/loopback" "$plugins/portmap:/opt/cni/bin/portmap" \
  --layer "$commands/install-cni:/opt/cni/bin/install:755"
