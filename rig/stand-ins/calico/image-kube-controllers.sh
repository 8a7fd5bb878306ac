#!/bin/bash
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/calico/build.sh")
make_image --ref docker.io/calico/kube-controllers:v3.27.0 --user 999 --entrypoint '["/usr/bin/kube-controllers"]' \
  --layer "$commands/kube-controllers:/usr/bin/kube-controllers:755" "$commands/check-status:/usr/bin/check-status:755"
