#!/bin/bash
# Debian's Prometheus (2.42) at the official image's paths. Debian's build shows the classic pages, whose scripts
# are packages of their own.
set -euo pipefail
. "$(dirname "$0")/../../lib/image.sh"
root=$OUT/.root
scripts=(
  fonts-glyphicons-halflings libjs-bootstrap4 libjs-d3 libjs-eonasdan-bootstrap-datetimepicker libjs-jquery
  libjs-jquery-hotkeys libjs-moment libjs-moment-timezone libjs-mustache libjs-popper.js libjs-rickshaw
)
debian_root "$root" prometheus libc6 libgcc-s1 "${scripts[@]}"
rm -rf "$root"/etc/{default,init.d,logrotate.d} "$root/lib/systemd" "$root"/usr/lib/systemd "$root/usr/bin/promtool" "$root/usr/share/javascript/moment-timezone/data"
busybox_commands "$root"
users "$root"
mkdir -p "$root/prometheus"
mv "$root/usr/bin/prometheus" "$root/bin/prometheus"
make_image --ref docker.io/prom/prometheus:v2.41.0 --user nobody --workdir /prometheus --entrypoint '["/bin/prometheus"]' \
  --cmd '["--config.file=/etc/prometheus/prometheus.yml","--storage.tsdb.path=/prometheus"]' --port 9090/tcp \
  --layer "$root:/"
rm -r "$root"
