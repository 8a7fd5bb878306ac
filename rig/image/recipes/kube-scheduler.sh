#!/bin/bash
# The released image holds nothing but the program, and so does this one.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
program=$(program kubernetes kube-scheduler)
make_image --ref "registry.k8s.io/kube-scheduler:$KUBERNETES_VERSION" --media docker --entrypoint '["/usr/local/bin/kube-scheduler"]' \
  --layer "$program:/usr/local/bin/kube-scheduler:755"
