#!/bin/bash
# Prometheus compiled from its Go module (rig/build/prometheus), laid out as the official image's Dockerfile does it.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
root=$OUT/.root
program=$(program prometheus)
release=${program%/*}
mkdir -p "$root"/{prometheus,bin,etc/prometheus,usr/share/prometheus}
busybox_commands "$root"
users "$root"
cp "$program" "$root/bin/"
cp "$release"/{LICENSE,NOTICE} "$root/"
cp "$release/prometheus.yml" "$root/etc/prometheus/"
for folder in console_libraries consoles; do
  cp -r "$release/$folder" "$root/usr/share/prometheus/"
  ln -s "/usr/share/prometheus/$folder" "$root/etc/prometheus/$folder"
done
# All files of the rig's images are root's, so the folder that the user nobody keeps its data in is open to all.
make_image --ref "docker.io/prom/prometheus:v$PROMETHEUS_VERSION" --user nobody --workdir /prometheus --entrypoint '["/bin/prometheus"]' \
  --cmd '["--config.file=/etc/prometheus/prometheus.yml","--storage.tsdb.path=/prometheus","--web.console.libraries=/usr/share/prometheus/console_libraries","--web.console.templates=/usr/share/prometheus/consoles"]' \
  --port 9090/tcp --layer "$root/prometheus:/prometheus:777" "$root:/"
rm -r "$root"
