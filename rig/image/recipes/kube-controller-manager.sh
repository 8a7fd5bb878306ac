#!/bin/bash
# The released image holds nothing but the program, and so does this one.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
program=$(program kubernetes kube-controller-manager)
make_image --ref "registry.k8s.io/kube-controller-manager:$KUBERNETES_VERSION" --media docker --entrypoint '["/usr/local/bin/kube-controller-manager"]' \
  --layer "$program:/usr/local/bin/kube-controller-manager:755"
