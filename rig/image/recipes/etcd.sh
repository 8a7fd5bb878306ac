#!/bin/bash
# The server alone; the released image adds etcdctl and programs for migrating from old versions.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
program=$(program etcd)
make_image --ref "registry.k8s.io/etcd:$ETCD_VERSION-0" --media docker --cmd '["etcd"]' --port 2379/tcp --port 2380/tcp \
  --layer "$program:/usr/local/bin/etcd:755"
