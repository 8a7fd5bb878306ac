#!/bin/bash
# Only the program: the released image also carries iptables and friends for use as a DaemonSet, while the rig's node
# runs kube-proxy as a process.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
program=$(program kubernetes kube-proxy)
make_image --ref "registry.k8s.io/kube-proxy:$KUBERNETES_VERSION" --media docker --entrypoint '["/usr/local/bin/kube-proxy"]' \
  --layer "$program:/usr/local/bin/kube-proxy:755"
