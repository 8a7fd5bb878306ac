#!/bin/bash
# inside.sh DEBIAN ZIG WORK COMMAND...: runs COMMAND in an unpacked Debian, with the project read-only at /source.
# check.sh calls it in a mount namespace of its own, so whatever is mounted here ends with the command.
set -euo pipefail

debian=$1 zig=$2 work=$3
shift 3
project=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
# The machine's own: its copies of crates and its settings of registries are used as they are.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$work/tmp" "$cargo_home"

mount --bind "$project" "$debian/source"
mount --options remount,bind,ro "$debian/source"
mount --bind "$zig" "$debian/zig"
mount --bind "$work" "$debian/work"
mount --bind "$work/tmp" "$debian/tmp"
mount --bind "$cargo_home" "$debian/cargo"
mount --rbind /dev "$debian/dev"
mount --rbind /proc "$debian/proc"
# What it takes to reach a registry the way this machine does: names, and whom to trust.
for file in /etc/hosts /etc/resolv.conf /etc/nsswitch.conf /etc/ssl; do
  [ ! -e "$file" ] || mount --bind "$file" "$debian$file"
done

# Settings for the machine's own compilers are not for these.
unset RUSTC RUSTFLAGS RUSTC_WRAPPER RUSTUP_TOOLCHAIN CC CFLAGS AR
export PATH=/usr/bin:/usr/sbin HOME=/work TMPDIR=/tmp CARGO_HOME=/cargo CARGO_TARGET_DIR=/work/target
# -Zbuild-std is for nightly compilers; with this a released one takes it too.
export RUSTC_BOOTSTRAP=1
export CC_aarch64_apple_darwin=/source/rig/mac/zig-cc AR_aarch64_apple_darwin='/zig/ziglang/zig ar'
export ZIG_GLOBAL_CACHE_DIR=/work/zig ZIG_LOCAL_CACHE_DIR=/work/zig
# Unset, the crate `cc` would ask Xcode for a folder of headers. zig has them, so this one is empty.
export SDKROOT=/sdk
exec chroot "$debian" /usr/bin/env --chdir=/source "$@"
