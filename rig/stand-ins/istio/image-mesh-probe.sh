#!/bin/bash
# App and caller of check.sh. Not part of any lab.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/istio/build.sh")
make_image --ref docker.io/ztlab/mesh-probe:1 --user 10001:10001 --entrypoint '["/mesh-probe"]' \
  --layer "$commands/mesh-probe:/mesh-probe:755"
