#!/bin/bash
# Minikube's node image as far as its dockerd: Debian's Docker and busybox. No systemd, no sshd, no Kubernetes.
# It lies here and not with the other recipes so that everything in this folder counts as its source.
set -euo pipefail
. "$(dirname "$0")/../lib/image.sh"
. "$RIG/docker/programs.sh"
root=$OUT/.root
debian_root "$root" "${DOCKER_PACKAGES[@]}" libc6 "${DOCKER_LIBRARIES[@]}"
rm -rf "$root"/etc/{default,init,init.d,apparmor.d} "$root"/lib/systemd "$root"/usr/share/{docker.io,zsh,fish,initramfs-tools}
rm -f "$root"/usr/bin/{ctr,dnet,containerd-stress} "$root/usr/sbin/ovrouter"
busybox_commands "$root"
users "$root"
# The docker command looks for its socket in /var/run, and /var becomes a volume that starts as a copy of this one.
mkdir -p "$root/var" "$root/run" "$root/usr/local/bin"
rm -rf "$root/var/run"
ln -s /run "$root/var/run"
install -m 755 "$RIG/docker/kicbase/start" "$root/usr/local/bin/start"
install -m 755 "$(runc_wrapper)" "$root/usr/local/bin/runc-wrapper"
make_image --ref gcr.io/k8s-minikube/kicbase:v0.0.42 --media docker \
  --entrypoint '["/usr/bin/tini-static","-g","--","/usr/local/bin/start"]' --layer "$root:/"
rm -r "$root"
