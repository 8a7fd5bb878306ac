#!/bin/bash
# What restarts nothing but tells Prometheus to read its configuration again.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
. "$(dirname "$0")/programs.sh"
make_image --ref docker.io/jimmidyson/configmap-reload:v0.8.0 --media docker --user 65534 \
  --entrypoint '["/configmap-reload"]' \
  --layer "$(dashboard_program configmap-reload):/configmap-reload:755"
