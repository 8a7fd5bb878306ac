#!/bin/bash
# Proves the mesh on a node of its own, on real packets: the lab's own policies (folder istio/ of the project) around
# pods that say what they saw (check/workloads.yaml). Runs in an instance of its own, so a rig in use is not disturbed.
# Ends with `N passed, N failed`.
#   check.sh            everything, from a fresh node
#   check.sh --keep     leaves the node running with the mesh in it, to look around; the instance number is 7
set -uo pipefail
export ZTLAB_RIG_INSTANCE=${ZTLAB_RIG_CHECK_INSTANCE:-7}
. "$(dirname "$(readlink -f "$0")")/../../lib/common.sh"
. "$RIG/lib/check.sh"
HERE=$RIG/stand-ins/istio
POLICIES=$(cd "$RIG/../istio" && pwd)
IMAGES=(pilot proxyv2 mesh-probe)
# Seconds that a step may take; installing takes about ten.
PATIENCE=90
# Seconds until a changed policy must hold. One or two are normal.
POLICY_PATIENCE=10

import_images() {
  local recipes=() layout layouts
  for name; do recipes+=("$HERE/image-$name.sh"); done
  layouts=$("$RIG/image/make.sh" "${recipes[@]}") || return 1
  for layout in $layouts; do
    tar -C "$layout" -cf - . | in_node ctr -n k8s.io images import - || return 1
  done
}

# The mesh needs pods that reach each other and nothing else of a network: Debian's plugins do.
bring_pod_network() {
  local plugins root
  plugins=$("$RIG/build/packages.sh" debian containernetworking-plugins) && root=/proc/$(node_pid)/root || return 1
  cp "$plugins"/usr/lib/cni/{bridge,host-local,loopback,portmap} "$root/opt/cni/bin/"
  cat >"$root/etc/cni/net.d/10-check.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "check", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  kube -n kube-system rollout status deployment/coredns --timeout=${PATIENCE}s
}

# The istioctl of the checks is the one in the archive, as the lab gets it.
unpack_archive() {
  archive=$("$HERE/archive.sh") && (cd "$archive" && sha256sum --check ./*.sha256) &&
    tar -C "$RIG_STATE" -xzf "$archive/istio-1.20.0-linux-amd64.tar.gz" &&
    cmp "$RIG_STATE/istio-1.20.0/samples/addons/kiali.yaml" "$RIG/upstream/files/istio-1.20.0/samples/addons/kiali.yaml"
}

istioctl() {
  local command=$1
  shift
  "$RIG_STATE/istio-1.20.0/bin/istioctl" "$command" "$@" --context "$RIG_CONTEXT" --kubeconfig "$RIG_KUBECONFIG"
}

install_mesh() {
  istioctl install --set profile=demo --set hub=docker.io/istio --set tag=1.20.0 --set values.global.imagePullPolicy=IfNotPresent \
    --set meshConfig.defaultConfig.proxyMetadata.CLOUD_PLATFORM=none -y --readiness-timeout ${PATIENCE}s
}

OWNED=install.operator.istio.io/owning-resource-namespace=istio-system
KINDS=customresourcedefinitions,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations
NAMESPACED_KINDS=deployments,services,configmaps,serviceaccounts,roles,rolebindings

# owned: every object of the installation with its version, and the pods with their identity.
owned() {
  local columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion
  kube get "$KINDS" -l "$OWNED" -o "custom-columns=$columns" --no-headers &&
    kube -n istio-system get "$NAMESPACED_KINDS" -l "$OWNED" -o "custom-columns=$columns" --no-headers &&
    kube -n istio-system get pods -o custom-columns=NAME:.metadata.name,UID:.metadata.uid --no-headers
}

installing_again_changes_nothing() {
  local before after
  before=$(owned) && install_mesh && after=$(owned) && [ "$(wc -l <<<"$before")" -gt 40 ] && diff <(echo "$before") <(echo "$after")
}

nothing_is_owned() {
  equals "$(kube get "$KINDS" -l "$OWNED" -o name; kube -n istio-system get "$NAMESPACED_KINDS",pods -l "$OWNED" -o name)" '' &&
    equals "$(kube get crd -o name | grep istio)" '' && equals "$(kube -n istio-system get pods -o name)" ''
}

refuses() { local words=$1; shift; "$@" >"$RIG_STATE/log/refused.txt" 2>&1 && { echo "it was accepted"; return 1; }; grep -F -e "$words" "$RIG_STATE/log/refused.txt"; }

install_checks() {
  check 'the node comes up' "$RIG/node/up.sh"
  check 'a pod network is there' bring_pod_network
  check 'the images are imported' import_images "${IMAGES[@]}"
  check 'the archive holds istioctl and upstream manifests' unpack_archive
  check 'istioctl says its version without a mesh' eval 'istioctl version | grep -x "client version: 1.20.0"'
  check 'an unknown setting is refused' refuses 'does not know this key' istioctl install --set profile=demo --set values.pilot.env=x -y
  check 'istioctl install' install_mesh
  check 'istioctl install again changes nothing' installing_again_changes_nothing
  check 'the fifteen definitions are there' eval 'equals "$(kube get crd -o name | grep -c istio.io)" 15'
  check 'istioctl version sees both gateways' eval 'istioctl version | grep -x "data plane version: 1.20.0 (2 proxies)"'
}

removal_checks() {
  check 'istioctl uninstall --purge' istioctl uninstall --purge -y
  check 'nothing of it is left' becomes 60 nothing_is_owned
  check 'pods can be made in webapp without istiod' kube -n webapp run after --image=docker.io/ztlab/mesh-probe:1 --image-pull-policy=Never -- serve :5000
  check 'it can be installed again' install_mesh
  check 'the node goes down and leaves nothing' "$RIG/node/down.sh" --wipe
}

. "$HERE/check/traffic.sh"
"$RIG/node/down.sh" --wipe --quiet
install_checks
traffic_checks
if [ "${1:-}" = --keep ]; then
  echo "the node runs on: export KUBECONFIG=$RIG_KUBECONFIG; ZTLAB_RIG_INSTANCE=$ZTLAB_RIG_INSTANCE $RIG/rig node down --wipe ends it"
else
  removal_checks
fi
rm -rf "$RIG_STATE/istio-1.20.0"
claims_counted
