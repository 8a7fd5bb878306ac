#!/bin/bash
# publish.sh build   makes every image and file of the rig's lab (cached)
# publish.sh push    and brings what changed into the running upstream
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/folders.sh"
IMAGES=$RIG/upstream/images.txt
PARALLEL_PUSHES=2
MANIFEST_TYPES='application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json'

# recipe_path RECIPE: what rig/image/make.sh understands.
recipe_path() {
  case $1 in
    */*) printf '%s/%s\n' "$RIG" "$1" ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# build_images: prints REFERENCE LAYOUT per image.
build_images() {
  local reference recipe references=() recipes=() layouts
  while read -r reference recipe; do
    case $reference in '' | '#'*) continue ;; esac
    references+=("$reference")
    recipes+=("$(recipe_path "$recipe")")
  done <"$IMAGES"
  layouts=$("$RIG/image/make.sh" "${recipes[@]}")
  paste -d ' ' <(printf '%s\n' "${references[@]}") <(printf '%s\n' "$layouts")
}

published_digest() {
  loopback --head --header "Accept: $MANIFEST_TYPES" "http://$RIG_REGISTRY/v2/${1%:*}/manifests/${1##*:}" |
    sed -n 's/^docker-content-digest: \(sha256:[0-9a-f]*\).*/\1/Ip'
}

# push_image CRANE REFERENCE LAYOUT: nothing to do when the tag names this very index already.
push_image() {
  local crane=$1 reference=$2 layout=$3 digest
  # A recipe that makes something else than its line promises would be found much later, in a pod.
  grep -qF "\"io.containerd.image.name\":\"$reference\"" "$layout/index.json" ||
    die "$layout is not $reference: images.txt and the recipe disagree"
  digest=$(grep -o 'sha256:[0-9a-f]\{64\}' "$layout/index.json" | head -n 1)
  [ "$(published_digest "$reference")" != "$digest" ] || return 0
  "$crane" push "$layout" "$RIG_REGISTRY/$reference" >/dev/null 2>"$UPSTREAM_STATE/log/push-$digest.txt" ||
    die "pushing $reference: $(tail -n 2 "$UPSTREAM_STATE/log/push-$digest.txt")"
  rm "$UPSTREAM_STATE/log/push-$digest.txt"
  log "upstream: published $reference"
}

push_images() {
  local crane
  crane=$("$RIG/build/build.sh" crane)/crane
  export -f push_image published_digest loopback log die
  export RIG_REGISTRY UPSTREAM_STATE MANIFEST_TYPES
  # shellcheck disable=SC2016 # expanded by the inner shell
  xargs -P $PARALLEL_PUSHES -L 1 bash -c 'set -euo pipefail; push_image "$@"' push "$crane" <<<"$1"
}

# Copies, not links into the build cache: who damages a served file on purpose must not damage the cache.
push_files() {
  local next=$UPSTREAM_STATE/files.next
  rm -rf "$next"
  cp -a --reflink=auto "$1" "$next"
  [ ! -d "$UPSTREAM_STATE/files" ] || mv -T "$UPSTREAM_STATE/files" "$UPSTREAM_STATE/files.old"
  mv -T "$next" "$UPSTREAM_STATE/files"
  rm -rf "$UPSTREAM_STATE/files.old"
}

action=${1:-}
case $action in build | push) ;; *) echo "usage: publish.sh build | push" >&2; exit 2 ;; esac
images=$(build_images)
files=$("$RIG/upstream/files.sh")
[ "$action" = push ] || exit 0
server_pid registry >/dev/null || die "the upstream does not run: start it with rig/rig upstream up"
push_images "$images"
push_files "$files"
log "upstream: $(wc -l <<<"$images") images and $(find "$files" -type f | wc -l) files are published"
