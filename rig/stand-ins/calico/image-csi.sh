#!/bin/bash
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/calico/build.sh")
make_image --ref docker.io/calico/csi:v3.27.0 --entrypoint '["/csi-driver"]' --layer "$commands/idle:/csi-driver:755"
