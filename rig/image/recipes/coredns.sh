#!/bin/bash
# CoreDNS with the plugins of rig/build/coredns, at the path and with the entry point of the released image.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
program=$(program coredns)
make_image --ref "registry.k8s.io/coredns/coredns:$COREDNS_VERSION" --media docker --entrypoint '["/coredns"]' \
  --port 53/tcp --port 53/udp --layer "$program:/coredns:755"
