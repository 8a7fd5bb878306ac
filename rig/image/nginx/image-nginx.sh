#!/bin/bash
# Debian's nginx with the official image's paths: /etc/nginx/nginx.conf includes conf.d/*.conf, pages in
# /usr/share/nginx/html, logs on the container's own streams. It also runs as user 101, as the lab does:
# whatever it writes goes to /tmp. The recipe lies here so that its configuration files count as its source.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/../../lib/image.sh"
root=$OUT/.root
debian_root "$root" nginx nginx-common libc6 libcrypt1 libpcre2-8-0 libssl3 zlib1g
busybox_commands "$root"
users "$root" nginx:101
rm -rf "$root"/etc/nginx/{sites-*,modules-*,snippets} "$root"/etc/{init.d,logrotate.d,default,ufw} "$root/var/www" "$root"/{usr/,}lib/systemd
mkdir -p "$root/etc/nginx/conf.d" "$root/var/log/nginx" "$root/usr/share/nginx/html" "$root/run"
ln -sf /dev/stdout "$root/var/log/nginx/access.log"
ln -sf /dev/stderr "$root/var/log/nginx/error.log"
cp "$here/nginx.conf" "$root/etc/nginx/nginx.conf"
cp "$here/default.conf" "$root/etc/nginx/conf.d/default.conf"
echo '<!doctype html><title>nginx</title><p>nginx of the rig: the page of the base image.</p>' >"$root/usr/share/nginx/html/index.html"
make_image --ref docker.io/library/nginx:1.22.1 --media docker --env NGINX_VERSION=1.22.1 --cmd '["nginx","-g","daemon off;"]' \
  --port 80/tcp --layer "$root:/"
rm -r "$root"
