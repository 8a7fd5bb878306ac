#!/bin/bash
# Debian's Python 3.11 where the official image has its own: `python3` and `python` in /usr/local/bin, packages in
# /usr/local/lib/python3.11/site-packages. Debian's Python looks into dist-packages only; a .pth file adds the other.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
root=$OUT/.root
libraries=(libc6 libgcc-s1 zlib1g libexpat1 libssl3 libbz2-1.0 libcrypt1 libffi8 liblzma5 libsqlite3-0 libuuid1)
debian_root "$root" python3.11-minimal libpython3.11-minimal libpython3.11-stdlib media-types netbase "${libraries[@]}"
busybox_commands "$root"
users "$root"
mkdir -p "$root/usr/local/bin" "$root"/usr/local/lib/python3.11/{dist,site}-packages
ln -s /usr/bin/python3.11 "$root/usr/local/bin/python3"
ln -s python3 "$root/usr/local/bin/python"
echo /usr/local/lib/python3.11/site-packages >"$root/usr/local/lib/python3.11/dist-packages/site-packages.pth"
make_image --ref docker.io/library/python:3.11.2-slim-bookworm --env PYTHON_VERSION=3.11.2 --env LANG=C.UTF-8 --cmd '["python3"]' \
  --layer "$root:/"
rm -r "$root"
