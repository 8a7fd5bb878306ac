#!/bin/bash
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/calico/build.sh")
make_image --ref docker.io/calico/pod2daemon-flexvol:v3.27.0 --entrypoint '["/flexvol-driver"]' \
  --layer "$commands/flexvol-driver:/flexvol-driver:755"
