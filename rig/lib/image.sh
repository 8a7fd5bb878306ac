# shellcheck shell=bash
# Sourced by image recipes. A recipe is run with OUT=FOLDER and leaves an OCI image layout there.
# A recipe that builds a program first does so through the build cache.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
: "${OUT:?a recipe writes to the folder in OUT}"

make_image() { "$RIG/image/mkimage.py" --out "$OUT" "$@"; }

# program NAME [FILE]: the path of a program that rig/build makes.
program() {
  local folder
  folder=$("$RIG/build/build.sh" "$1")
  printf '%s/%s\n' "$folder" "${2:-$1}"
}

# debian_root FOLDER PACKAGE...: a copy of these packages' files in FOLDER, without what only people read.
# Nothing is resolved: a recipe names every library that its program needs.
debian_root() {
  local folder=$1 tree
  shift
  tree=$("$RIG/build/packages.sh" debian "$@")
  mkdir -p "$folder"
  cp -a "$tree/." "$folder/"
  rm -rf "$folder"/usr/share/{doc,man,info,locale,lintian,bug,perl5,doc-base,bash-completion}
  rm -rf "$folder"/usr/lib/x86_64-linux-gnu/gconv
}

# busybox_commands FOLDER: Debian's static busybox and a link for each of its commands that the folder lacks,
# so that a person can look around in a container and a probe finds a shell.
busybox_commands() {
  local folder=$1 tree command
  tree=$("$RIG/build/packages.sh" debian busybox-static)
  mkdir -p "$folder/bin"
  cp "$tree/bin/busybox" "$folder/bin/busybox"
  for command in $("$folder/bin/busybox" --list); do
    [ -e "$folder/bin/$command" ] || [ -e "$folder/usr/bin/$command" ] || ln -s busybox "$folder/bin/$command"
  done
}

# users FOLDER NAME:UID...: /etc/passwd and /etc/group with root, nobody and these users.
users() {
  local folder=$1 entry
  shift
  mkdir -p "$folder/etc" "$folder/tmp" "$folder/root"
  for entry in root:0 nobody:65534 "$@"; do
    printf '%s:x:%s:%s::/:/bin/sh\n' "${entry%:*}" "${entry#*:}" "${entry#*:}" >>"$folder/etc/passwd"
    printf '%s:x:%s:\n' "${entry%:*}" "${entry#*:}" >>"$folder/etc/group"
  done
}
