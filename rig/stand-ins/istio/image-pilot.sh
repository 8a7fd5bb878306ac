#!/bin/bash
# istiod, at the path and as the user of the released image.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/istio/build.sh")
make_image --ref docker.io/istio/pilot:1.20.0 --media docker --user 1337:1337 \
  --entrypoint '["/usr/local/bin/pilot-discovery"]' --layer "$commands/pilot-discovery:/usr/local/bin/pilot-discovery:755"
