#!/bin/bash
# make.sh RECIPE...: prints, one per line, the folders of the OCI layouts that these recipes make; cached.
# RECIPE is a name in rig/image/recipes or the path of an executable. A recipe elsewhere (a stand-in's) counts with
# everything that lies in its folder, so a changed source makes a new image.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"

timed_recipe() {
  local started=$SECONDS
  log "image $1: making"
  "$2"
  log "image $1: made in $((SECONDS - started)) s"
}

# What every recipe works with: a change in one of these makes all images anew.
tools=("$RIG/image/mkimage.py" "$RIG/lib/image.sh" "$RIG/lib/go.sh" "$RIG/lib/versions.sh" "$RIG/build")

for recipe; do
  case $recipe in
    */*) inputs=("$(dirname "$recipe")") ;;
    *) recipe=$RIG/image/recipes/$recipe.sh inputs=("$recipe") ;;
  esac
  [ -x "$recipe" ] || die "no such recipe: $recipe"
  name=$(basename "$recipe" .sh)
  name=${name#image-}
  cached "image-$name" "$recipe" "${inputs[@]}" "${tools[@]}" -- timed_recipe "$name" "$recipe"
done
