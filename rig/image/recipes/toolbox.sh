#!/bin/bash
# Debian's busybox and iptables with the libraries that they need, for the checks' own pods. Not part of any lab.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
libraries=(libc6 libxtables12 libnftnl11 libmnl0 libip4tc2 libip6tc2 libnetfilter-conntrack3 libnfnetlink0)
tree=$("$RIG/build/packages.sh" debian busybox-static iptables "${libraries[@]}")
make_image --ref "docker.io/ztlab/toolbox:1" --cmd '["/bin/busybox","sleep","1000000"]' \
  --layer "$tree:/"
