#!/bin/bash
# Proves the upstream that runs here: what it serves is what was built, under the real names, in the forms that clients
# ask for; and a second `up` publishes nothing. Starts it when it does not run, and leaves it as it was.
# Ends with the line `N passed, N failed`.
set -uo pipefail
. "$(dirname "$(readlink -f "$0")")/folders.sh"
. "$RIG/lib/check.sh"
WORK=$(mktemp -d)

# images_of_the_lab: every reference of the rig's intent, its versions filled in.
images_of_the_lab() {
  python3 - "$RIG/lab/ztlab.toml" <<'PYTHON'
import sys, tomllib
lab = tomllib.load(open(sys.argv[1], "rb"))
for image in lab["image"].values():
    print(image["ref"].format(**lab["version"]))
PYTHON
}

the_list_is_the_lab() {
  diff <(images_of_the_lab | sort) <(grep -v '^#' "$RIG/upstream/images.txt" | cut -d ' ' -f 1 | sort)
}

every_tag_answers() {
  local reference digest
  while read -r reference; do
    digest=$("$CRANE" digest "$RIG_REGISTRY/$reference") || { echo "no digest: $reference"; return 1; }
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "$reference: $digest"; return 1; }
  done < <(images_of_the_lab)
}

# media_type REFERENCE: what the registry calls the thing behind the tag.
media_type() { "$CRANE" manifest "$RIG_REGISTRY/$1" | sed -n 's/.*"mediaType":"\([^"]*\(list\|index\)[^"]*\)".*/\1/p'; }

an_image_is_the_one_that_was_built() {
  local layout
  layout=$("$RIG/image/make.sh" pause) || return 1
  equals "$("$CRANE" digest "$RIG_REGISTRY/registry.k8s.io/pause:3.9")" \
    "$(grep -o 'sha256:[0-9a-f]\{64\}' "$layout/index.json" | head -n 1)"
}

a_damaged_blob_is_noticed_by_its_reader() {
  local reference=$RIG_REGISTRY/registry.k8s.io/pause layer data
  layer=$("$CRANE" manifest --platform linux/amd64 "$reference:3.9" | grep -o '"layers":.*' | grep -o 'sha256:[0-9a-f]\{64\}') || return 1
  data=$UPSTREAM_STATE/registry/docker/registry/v2/blobs/sha256/${layer:7:2}/${layer:7}/data
  cp -p "$data" "$WORK/whole" || return 1
  printf 'x' | dd of="$data" bs=1 seek=100 conv=notrunc status=none
  "$CRANE" blob "$reference@$layer" >/dev/null 2>"$WORK/complaint"
  local status=$?
  cat "$WORK/whole" >"$data"
  cat "$WORK/complaint"
  [ $status != 0 ] && grep -q 'sha256' "$WORK/complaint" && "$CRANE" blob "$reference@$layer" >/dev/null
}

file_digest() { loopback --fail "$RIG_FILES/$1" | sha256sum | cut -d ' ' -f 1; }

a_file_is_upstreams_own() {
  equals "$(file_digest raw.githubusercontent.com/projectcalico/calico/v3.27.0/manifests/tigera-operator.yaml)" \
    e302e73474429a3dfd0f6d88edcb12b67ec48b54b4496f8d48682500aac1752f
}

a_program_has_its_checksum_beside_it() {
  equals "$(file_digest "$1")" "$(loopback --fail "$RIG_FILES/$1.sha256" | cut -d ' ' -f 1)"
}

# A download that was cut off goes on where it stopped, if the file is still the same.
a_range_is_served() {
  local url=$RIG_FILES/dl.k8s.io/release/v1.28.3/bin/linux/amd64/kubectl tag
  tag=$(loopback --head "$url" | tr -d '\r' | sed -n 's/^ETag: //ip')
  equals "$(loopback --range 1-3 --header "If-Range: $tag" "$url")" ELF &&
    equals "$(loopback --output /dev/null --write-out '%{http_code}' --range 1-3 --header 'If-Range: "other"' "$url")" 200
}

# index_type ACCEPT: content type of a project's page for such a client.
index_type() {
  loopback --output "$WORK/index" --write-out '%{content_type}' --header "Accept: $1" "$RIG_FILES/pypi.org/simple/markupsafe/"
}

the_index_is_json_for_those_who_ask() {
  equals "$(index_type 'application/vnd.pypi.simple.v1+json')" application/vnd.pypi.simple.v1+json &&
    equals "$(index_type 'text/html')" text/html
}

a_wheel_is_where_the_index_says() {
  index_type 'application/vnd.pypi.simple.v1+json' >/dev/null
  local url digest
  url=$(grep -o 'https://files.pythonhosted.org/[^"]*' "$WORK/index")
  digest=$(grep -o '"sha256": "[0-9a-f]*"' "$WORK/index" | grep -o '[0-9a-f]\{64\}')
  equals "$(file_digest "${url#https://}")" "$digest"
}

nothing_is_published_twice() {
  "$RIG/upstream/publish.sh" push 2>"$WORK/second" || return 1
  ! grep 'published [a-z]' "$WORK/second"
}

# Both servers run without rights and without a way for others to reach them.
servers_are_nobody_on_loopback() {
  local name pid
  for name in "${SERVERS[@]}"; do
    pid=$(server_pid "$name") || return 1
    equals "$(stat -c %U "/proc/$pid")" nobody || return 1
    equals "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")" 0000000000000000 || return 1
  done
  # Addresses in this table are hexadecimal: 0100007F is 127.0.0.1; state 0A listens.
  awk '$4 == "0A" && $2 ~ /:(13BF|13C0)$/ { print $2; if ($2 !~ /^0100007F:/) bad = 1 } END { exit bad }' /proc/net/tcp
}

requests_are_counted() {
  local before after
  before=$("$RIG/upstream/upstream.sh" requests | sed -n 's/^files //p')
  loopback --output /dev/null "$RIG_FILES/nothing/here"
  after=$("$RIG/upstream/upstream.sh" requests | sed -n 's/^files //p')
  equals $((after - before)) 1 && tail -n 1 "$UPSTREAM_STATE/log/files.log" | grep 'GET /nothing/here 404'
}

server_pid registry >/dev/null && was_running=yes
"$RIG/upstream/upstream.sh" up || exit 1
CRANE=$("$RIG/build/build.sh" crane)/crane

check "images.txt lists exactly the images of the rig's lab" the_list_is_the_lab
check "every image answers under its real name and tag" every_tag_answers
check "an image is the one that was built, digest for digest" an_image_is_the_one_that_was_built
check "some tags are OCI indexes" equals "$(media_type docker.io/calico/node:v3.27.0)" application/vnd.oci.image.index.v1+json
check "some tags are Docker manifest lists" equals "$(media_type registry.k8s.io/pause:3.9)" application/vnd.docker.distribution.manifest.list.v2+json
check "a damaged blob is served, and its reader notices" a_damaged_blob_is_noticed_by_its_reader
check "the operator's manifest is upstream's, byte for byte" a_file_is_upstreams_own
check "kubelet has its checksum beside it" a_program_has_its_checksum_beside_it dl.k8s.io/release/v1.28.3/bin/linux/amd64/kubelet
check "Istio's archive has its checksum beside it" a_program_has_its_checksum_beside_it github.com/istio/istio/releases/download/1.20.0/istio-1.20.0-linux-amd64.tar.gz
check "part of a file is served while it is the same file" a_range_is_served
check "a project's page is JSON for those who ask for it, else HTML" the_index_is_json_for_those_who_ask
check "a wheel is where its page says, with that digest" a_wheel_is_where_the_index_says
check "publishing again publishes nothing" nothing_is_published_twice
check "both servers are nobody, on loopback, without capabilities" servers_are_nobody_on_loopback
check "requests are counted" requests_are_counted
[ -n "${was_running:-}" ] || "$RIG/upstream/upstream.sh" down
rm -r "$WORK"
claims_counted
