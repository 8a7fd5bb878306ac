#!/bin/bash
# Kiali's stand-in at the path that the manifest starts. The pod demands a user that is not root, and the manifest
# names none: it has to come from the image.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
. "$(dirname "$0")/programs.sh"
make_image --ref quay.io/kiali/kiali:v1.76 --media docker --user 1000 --entrypoint '["/opt/kiali/kiali"]' \
  --port 20001/tcp --port 9090/tcp --layer "$(dashboard_program kiali):/opt/kiali/kiali:755"
