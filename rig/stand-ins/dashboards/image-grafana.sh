#!/bin/bash
# Grafana's stand-in under the name of the real image's start script.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
. "$(dirname "$0")/programs.sh"
make_image --ref docker.io/grafana/grafana:9.5.5 --user 472 --entrypoint '["/run.sh"]' --port 3000/tcp \
  --layer "$(dashboard_program grafana):/run.sh:755"
