#!/bin/bash
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/calico/build.sh")
make_image --ref docker.io/calico/node-driver-registrar:v3.27.0 --entrypoint '["/node-driver-registrar"]' \
  --layer "$commands/idle:/node-driver-registrar:755"
