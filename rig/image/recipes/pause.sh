#!/bin/bash
# Every pod's first container.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
program=$(program pause)
make_image --ref "registry.k8s.io/pause:$PAUSE_VERSION" --media docker --user 65535:65535 --entrypoint '["/pause"]' \
  --layer "$program:/pause:755"
