#!/bin/bash
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/calico/build.sh")
make_image --ref docker.io/calico/typha:v3.27.0 --user 10001 --entrypoint '["/usr/bin/calico-typha"]' \
  --layer "$commands/typha:/usr/bin/calico-typha:755"
