#!/bin/bash
# The upstream manifest runs the command `operator` without a path, so it has to be on the PATH.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/calico/build.sh")
make_image --ref quay.io/tigera/operator:v1.32.3 --entrypoint '["operator"]' \
  --layer "$commands/operator:/usr/local/bin/operator:755"
