#!/bin/bash
# The policy enforcer with the two packet filter commands it calls. Their packages come with everything they load, C
# library included; documentation and translations, three quarters of it all, stay out.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
PACKAGES=(
  iptables libxtables12 libip4tc2 libip6tc2 libnftnl11 libmnl0 libnetfilter-conntrack3 libnfnetlink0
  ipset libipset13 libc6
)
commands=$("$RIG/stand-ins/calico/build.sh")
tree=$("$RIG/build/packages.sh" debian "${PACKAGES[@]}")
folders=()
for folder in lib lib64 sbin usr/lib usr/sbin; do
  [ ! -d "$tree/$folder" ] || folders+=("$tree/$folder:/$folder")
done
make_image --ref docker.io/calico/node:v3.27.0 --entrypoint '["/bin/calico-node"]' \
  --layer "${folders[@]}" \
  --layer "$commands/calico-node:/bin/calico-node:755"
