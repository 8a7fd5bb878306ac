#!/bin/bash
# build.sh all | NAME...: makes the rig's programs from Go modules and prints, one per line, the folders they are in.
# Names: kubernetes etcd coredns prometheus crane pause storage-provisioner. What is in the cache already costs nothing.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"
. "$RIG/lib/go.sh"

PROGRAMS=(pause storage-provisioner crane etcd coredns prometheus kubernetes)
# Seconds between two progress lines of a long build.
PROGRESS_INTERVAL=15

# Kubernetes asks its own build for its version; without these flags the kubelet calls itself v0.0.0-master and
# `kubectl version` and every check of versions would be wrong. The values are those of the release.
kubernetes_linker_flags() {
  local package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- ' -X %s.gitVersion=%s -X %s.gitMajor=1 -X %s.gitMinor=28' "$package" "$KUBERNETES_VERSION" "$package" "$package"
    printf -- ' -X %s.gitTreeState=clean' "$package"
    printf -- ' -X %s.gitCommit=a8a1abc25cad87333840cd7d54be2efaf31a3177' "$package"
    printf -- ' -X %s.buildDate=2023-10-18T11:33:16Z' "$package"
  done
}

build_kubernetes() {
  local packages=() name total
  for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
    packages+=("k8s.io/kubernetes/cmd/$name")
  done
  log "kubernetes: fetching modules"
  total=$(cd "$RIG/build/kubernetes" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local go list -deps "${packages[@]}" | wc -l)
  log "kubernetes: compiling six programs out of $total packages (about seven minutes on two cores when none of them is cached)"
  VERBOSE_FLAG=(-v)
  go_build "$RIG/build/kubernetes" "$(kubernetes_linker_flags)" "$OUT/" "${packages[@]}" 2>&1 | show_progress "$total"
}

# show_progress TOTAL: reads the names of compiled packages and says now and then how far the build is. Anything else
# on that stream is a complaint of the compiler and is passed on.
show_progress() {
  local total=$1 count=0 started=$SECONDS shown=$SECONDS line elapsed
  while IFS= read -r line; do
    case $line in *" "*) printf '%s\n' "$line" >&2; continue ;; esac
    count=$((count + 1))
    [ $((SECONDS - shown)) -ge $PROGRESS_INTERVAL ] || continue
    shown=$SECONDS
    elapsed=$((SECONDS - started))
    log "kubernetes: $count of at most $total packages after $elapsed s, at most $((elapsed * (total - count) / count / 60 + 1)) min to go"
  done
}

build_etcd() { go_build "$RIG/build/etcd" "" "$OUT/etcd" go.etcd.io/etcd/server/v3; }
build_coredns() { go_build "$RIG/build/coredns" "" "$OUT/coredns" .; }
build_crane() { go_build "$RIG/build/crane" "" "$OUT/crane" github.com/google/go-containerregistry/cmd/crane; }
build_pause() { go_build "$RIG/build/pause" "" "$OUT/pause" .; }
build_storage_provisioner() { go_build "$RIG/build/storage-provisioner" "" "$OUT/storage-provisioner" .; }

# Prometheus imports all its plug-ins in its main file, and no build tag leaves any out (see rig/build/prometheus).
# Beside the program come the files that the released image has from the same sources.
build_prometheus() {
  local module=$OUT/.module release
  cp -r "$RIG/build/prometheus" "$module"
  release=$(cd "$module" && export GOFLAGS=-mod=readonly GOTOOLCHAIN=local &&
    go mod download github.com/prometheus/prometheus && go list -m -f '{{.Dir}}' github.com/prometheus/prometheus)
  sed 's|"github.com/prometheus/prometheus/plugins"|"ztlab/rig/prometheus/additions"|' "$release/cmd/prometheus/main.go" >"$module/main.go"
  grep -q '"ztlab/rig/prometheus/additions"' "$module/main.go" || die "prometheus: the main file does not import the plug-ins as expected"
  go_build "$module" "$(prometheus_linker_flags)" "$OUT/prometheus" .
  cp -r --no-preserve=mode "$release"/{consoles,console_libraries,documentation/examples/prometheus.yml,LICENSE,NOTICE} "$OUT/"
  rm -r "$module"
}

# What the release says of itself; see its .promu.yml.
prometheus_linker_flags() {
  local package=github.com/prometheus/common/version
  printf -- '-X %s.Version=%s -X %s.Branch=HEAD' "$package" "$PROMETHEUS_VERSION" "$package"
  printf -- ' -X %s.Revision=c0d8a56c69014279464c0e15d8bfb0e153af0dab' "$package"
}

# timed_build NAME: the build with a line before and after it.
timed_build() {
  local started=$SECONDS
  require_go
  log "$1: building"
  "build_${1//-/_}"
  log "$1: built in $((SECONDS - started)) s"
}

[ $# -gt 0 ] || die "usage: build.sh all | NAME... (${PROGRAMS[*]})"
[ "$1" != all ] || set -- "${PROGRAMS[@]}"
for name; do
  case " ${PROGRAMS[*]} " in
    *" $name "*) cached "$name" "$RIG/build/$name" =build-1 -- timed_build "$name" ;;
    *) die "no such program: $name (there are ${PROGRAMS[*]})" ;;
  esac
done
