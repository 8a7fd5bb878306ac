#!/bin/bash
# The released image holds nothing but the program, and so does this one.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
program=$(program kubernetes kube-apiserver)
make_image --ref "registry.k8s.io/kube-apiserver:$KUBERNETES_VERSION" --media docker --entrypoint '["/usr/local/bin/kube-apiserver"]' \
  --layer "$program:/usr/local/bin/kube-apiserver:755"
