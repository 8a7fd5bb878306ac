#!/bin/bash
# Proves the stand-ins on a node of their own: Calico's manifest brings the operator, an Installation brings the network,
# a missing image is reported, policies hold on real packets and after a restart of the node (check-policies.sh), and a
# deleted Installation takes its workloads with it. Runs in an instance of its own, so a rig in use is not disturbed.
# Ends with `N passed, N failed`.
set -uo pipefail
export ZTLAB_RIG_INSTANCE=${ZTLAB_RIG_CHECK_INSTANCE:-8}
. "$(dirname "$(readlink -f "$0")")/../../lib/common.sh"
. "$RIG/lib/check.sh"
HERE=$RIG/stand-ins/calico
MANIFEST=$RIG/upstream/files/calico-v3.27.0/tigera-operator.yaml
# Without the enforcer's image, which the check of a failing pull leaves out at first.
IMAGES=(operator cni typha kube-controllers csi node-driver-registrar pod2daemon-flexvol flow)
# Seconds that a step may take; the whole network takes about ten.
PATIENCE=90

import_images() {
  local recipes=() layout layouts
  for name; do recipes+=("$HERE/image-$name.sh"); done
  layouts=$("$RIG/image/make.sh" "${recipes[@]}") || return 1
  for layout in $layouts; do
    tar -C "$layout" -cf - . | in_node ctr -n k8s.io images import - || return 1
  done
}

# The order that the definitions need: no Installation before its kind is there.
apply_manifest() {
  kube apply --server-side --field-manager check -f "$MANIFEST" &&
    kube wait --for=condition=Established crd --all --timeout=${PATIENCE}s &&
    kube -n tigera-operator rollout status deployment/tigera-operator --timeout=${PATIENCE}s
}

# apply_installation POOL
apply_installation() {
  kube apply --server-side --field-manager check -f - <<YAML
apiVersion: operator.tigera.io/v1
kind: Installation
metadata: {name: default}
spec:
  calicoNetwork:
    ipPools: [{cidr: $1, blockSize: 26, encapsulation: VXLANCrossSubnet, natOutgoing: Enabled, nodeSelector: all()}]
YAML
}

# condition OBJECT TYPE FIELD: a field of one of the conditions.
condition() { kube get "$1" -o jsonpath="{.status.conditions[?(@.type==\"$2\")].$3}"; }
condition_is() { equals "$(condition "$1" "$2" status)" "$3"; }
degraded_says() { condition tigerastatus/calico Degraded message | grep -F "$1"; }
all_available() {
  condition_is tigerastatus/calico Available True && condition_is tigerastatus/calico Progressing False && condition_is tigerastatus/calico Degraded False
}
rolled_out() { kube -n calico-system rollout status "$1" --timeout=${PATIENCE}s; }

coredns_in_pool() {
  kube -n kube-system rollout status deployment/coredns --timeout=${PATIENCE}s &&
    kube -n kube-system get pods -l k8s-app=kube-dns -o jsonpath='{.items[*].status.podIP}' | grep -E '^10\.244\.0\.[0-9]+$'
}

spec_is_stable() {
  local before
  before=$(kube get installation default -o jsonpath='{.metadata.generation}')
  apply_installation 10.244.0.0/16 && sleep 2 &&
    equals "$(kube get installation default -o jsonpath='{.metadata.generation}')" "$before"
}

restart_everything() {
  kube -n calico-system delete pods --all --wait=true && becomes $PATIENCE all_available
}

gone() { ! kube get "$@" 2>/dev/null; }

installation_checks() {
  check 'the node comes up' "$RIG/node/up.sh"
  check 'images but that of calico-node are imported' import_images "${IMAGES[@]}"
  check 'the upstream manifest brings the operator' apply_manifest
  check 'an impossible pool is accepted by the API' apply_installation 10.244.0.0/30
  check '… and reported as degraded' becomes 20 degraded_says '/24 or larger'
  check 'a good pool replaces it' apply_installation 10.244.0.0/16
  check 'the missing image is reported as degraded' becomes 30 degraded_says 'failed to pull container image for: calico-node'
  check 'the component is not called available' condition_is tigerastatus/calico Available False
  check 'the image is imported' import_images node
  check 'the component becomes available' becomes $PATIENCE all_available
  check 'the Installation says Ready' becomes 10 condition_is installation/default Ready True
  check 'typha is rolled out' rolled_out deployment/calico-typha
  check 'the CSI driver is rolled out' rolled_out daemonset/csi-node-driver
  check 'the node is Ready' becomes 30 condition_is "node/$NODE_NAME" Ready True
  check 'CoreDNS is ready in the pool' coredns_in_pool
  check 'applying the Installation again changes nothing' spec_is_stable
}

removal_checks() {
  check 'all pods deleted, everything becomes available again' restart_everything
  check 'the Installation is deleted' kube delete installation default --wait=true
  check 'its TigeraStatus goes' becomes 20 gone tigerastatus calico
  check 'its namespace goes' becomes $PATIENCE gone namespace calico-system
  check 'its ClusterRole goes' becomes $PATIENCE gone clusterrole calico-node
  check 'the node goes down and leaves nothing' "$RIG/node/down.sh" --wipe
}

. "$HERE/check-policies.sh"
"$RIG/node/down.sh" --wipe --quiet
installation_checks
policy_checks
restart_checks
removal_checks
claims_counted
