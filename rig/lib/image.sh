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
