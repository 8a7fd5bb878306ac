#!/bin/bash
# See rig/build/storage-provisioner for what this stand-in does not do.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
program=$(program storage-provisioner)
make_image --ref "gcr.io/k8s-minikube/storage-provisioner:v5" --media docker --entrypoint '["/storage-provisioner"]' \
  --layer "$program:/storage-provisioner:755"
