#!/bin/bash
# Type-checks the program and its tests for Macs with Apple's own processors; wants a Debian machine and root.
#
# Debian has no compiled Rust library for that target, so the library's sources are checked along with the program
# (`-Zbuild-std`). The compiler has to be of the same release as these sources: both come from Debian's newest suite,
# unpacked into a folder of their own and entered by chroot. Crates with C in them get zig as their compiler, because
# it brings the headers of macOS. Nothing is installed; everything is kept in the rig's cache. A compiler that was
# fetched once stays: remove the cache's mac-debian-* for a newer one.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"

TARGET=aarch64-apple-darwin
SUITE=sid
ZIG=ziglang==0.14.1
# The shell and its tools are for build scripts.
PACKAGES=(rustc cargo rust-src gcc libc6-dev base-files bash dash coreutils)
WORK=$RIG_CACHE/mac

# debian_mirror: the address that this machine's apt has Debian from.
# shellcheck disable=SC2016 # apt fills these in
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' | awk '$2 == "Debian" && !found++ {print $1}'
}

# apt_apart ARGUMENT...: apt as this machine has it set up, but with one suite, a state of its own, and nothing installed
# yet: so it fetches whatever the wanted packages need.
apt_apart() {
  local apart=$OUT/.apt
  apt-get -qq --option APT::Sandbox::User=root --option Dir::State="$apart/state" \
    --option Dir::State::status="$apart/status" --option Dir::Cache="$apart/cache" \
    --option Dir::Etc::SourceList="$apart/sources.list" --option Dir::Etc::SourceParts="$apart/none" \
    --option Dir::Etc::PreferencesParts="$apart/none" "$@"
}

fetch_debian() {
  local mirror package
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || die "apt knows no mirror of Debian; as root: apt-get update"
  log "fetching a compiler from Debian $SUITE"
  mkdir -p "$OUT/.apt/state/lists/partial" "$OUT/.apt/cache/archives/partial" "$OUT/.apt/none"
  : >"$OUT/.apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $SUITE main" >"$OUT/.apt/sources.list"
  apt_apart update
  apt_apart install --yes --download-only --no-install-recommends "${PACKAGES[@]}"
  # base-files first: it has the link from /bin to /usr/bin, where another package would make a folder.
  for package in "$OUT"/.apt/cache/archives/base-files_*.deb "$OUT"/.apt/cache/archives/*.deb; do
    dpkg -x "$package" "$OUT"
  done
  rm -r "$OUT/.apt"
  # Installing would have made this link; the packages' own scripts do not run here.
  ln -s gcc "$OUT/usr/bin/cc"
  # What inside.sh mounts something on.
  mkdir -p "$OUT"/{source,zig,work,cargo,sdk,dev,proc,tmp,etc/ssl}
  touch "$OUT"/etc/{hosts,resolv.conf,nsswitch.conf}
}

fetch_zig() {
  log "fetching $ZIG from PyPI"
  PIP_ROOT_USER_ACTION=ignore pip3 install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$OUT" "$ZIG"
}

[ "$(id -u)" = 0 ] || die "this mounts folders and enters them by chroot: run it as root"
command -v apt-get dpkg pip3 >/dev/null || die "this wants apt-get, dpkg and pip3: a Debian with python3-pip"
debian=$(cached mac-debian "=$SUITE ${PACKAGES[*]}" "=$(declare -f fetch_debian)" -- fetch_debian)
zig=$(cached mac-zig "=$ZIG" -- fetch_zig)
log "checking for $TARGET (the first time takes about ten minutes on two cores)"

# One after the other, and the program anew each time: cargo goes by the times of files, and those of another clone,
# which is seen at the same place, may be older than the last check.
mkdir -p "$WORK" "$RIG_CACHE/.locks"
exec {lock}>"$RIG_CACHE/.locks/mac"
flock "$lock"
rm -rf "$WORK"/target/*/debug/.fingerprint/ztlab-*

# The library and the macros are compiled for real; nobody runs them often enough to be worth the optimiser's minutes.
unshare --mount "$RIG/mac/inside.sh" "$debian" "$zig" "$WORK" \
  cargo check --locked --all-targets -Zbuild-std --target "$TARGET" --config 'profile.dev.package."*".opt-level=0'
echo "ztlab type-checks for $TARGET"
