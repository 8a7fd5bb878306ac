#!/bin/bash
# Debian's curl with busybox around it, as user 100 like the official image. There are no certificate authorities in it:
# everything that the lab asks is plain HTTP to a neighbour.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
root=$OUT/.root
libraries=(
  libc6 libgcc-s1 zlib1g libcurl4 libbrotli1 libzstd1 libnghttp2-14 libidn2-0 libunistring2 libpsl5 libssh2-1 libssl3
  librtmp1 libgmp10 libgnutls30 libnettle8 libhogweed6 libp11-kit0 libffi8 libtasn1-6
  libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libldap-2.5-0 libsasl2-2
)
debian_root "$root" curl "${libraries[@]}"
rm -rf "$root"/etc/{init.d,ldap,default}
busybox_commands "$root"
users "$root" curl_user:100
make_image --ref docker.io/curlimages/curl:8.5.0 --user 100 --cmd '["curl"]' --layer "$root:/"
rm -r "$root"
