#!/bin/bash
# Starts the registry and the file server, unprivileged and on loopback; does nothing for one that runs.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/folders.sh"
START_PATIENCE=10

# start NAME COMMAND...: runs COMMAND as nobody with the upstream's folder at /mnt/upstream.
# The detour by a private mount: the folder lies in a home directory that nobody may not enter, and the servers'
# configuration can name fixed paths. The mount ends with the process.
start() {
  local name=$1
  shift
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid unshare --mount --propagation private bash -c '
    mount -t tmpfs -o mode=755 tmpfs /mnt && mkdir /mnt/upstream && mount --bind "$1" /mnt/upstream && cd / && shift &&
      exec setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --no-new-privs "$@"
  ' enter "$UPSTREAM_STATE" "$@" </dev/null >>"$UPSTREAM_STATE/log/$name.log" 2>>"$UPSTREAM_STATE/log/$name.err" &
  echo $! >"$UPSTREAM_STATE/run/$name.started"
}

prepare_folders() {
  local registry
  mkdir -p "$UPSTREAM_STATE"/{registry,files,log,run,bin}
  chown nobody "$UPSTREAM_STATE"/{registry,log,run}
  touch "$UPSTREAM_STATE"/log/{registry,files}.{log,err}
  chown nobody "$UPSTREAM_STATE"/log/*
  registry=$("$RIG/build/packages.sh" debian docker-registry)
  install -m 755 "$registry/usr/bin/docker-registry" "$UPSTREAM_STATE/bin/docker-registry.new"
  mv "$UPSTREAM_STATE/bin/docker-registry.new" "$UPSTREAM_STATE/bin/docker-registry"
  install -m 644 "$RIG/upstream/registry.yml" "$RIG/upstream/nginx.conf" "$UPSTREAM_STATE/"
}

# answers NAME URL: the server that we started answers. Somebody else's on the same port would, too: hence the first half.
answers() { server_pid "$1" && loopback --output /dev/null "$2"; }

[ "$(id -u)" = 0 ] || die "the upstream wants root, to give its servers less than that"
nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || die "nginx is absent: rig/build/packages.sh tools installs it"
umask 022
for name in "${SERVERS[@]}"; do
  if server_pid "$name" >/dev/null; then continue; fi
  [ -n "${prepared:-}" ] || prepare_folders
  prepared=yes
  case $name in
    registry) start registry /mnt/upstream/bin/docker-registry serve /mnt/upstream/registry.yml ;;
    files) start files "$nginx" -c /mnt/upstream/nginx.conf -e /mnt/upstream/log/files.err ;;
  esac
done
wait_until $START_PATIENCE answers registry "http://$RIG_REGISTRY/v2/" ||
  die "the registry does not answer on $RIG_REGISTRY: $(tail -n 3 "$UPSTREAM_STATE/log/registry.err")"
wait_until $START_PATIENCE answers files "$RIG_FILES/" ||
  die "the file server does not answer on $RIG_FILES: $(tail -n 3 "$UPSTREAM_STATE/log/files.err")"
log "upstream: registry on $RIG_REGISTRY, files on $RIG_FILES, requests in $UPSTREAM_STATE/log"
