#!/bin/bash
# Proves the node: it comes up as a cluster without pod network, runs what has to run before that, gets pods and DNS
# with one, and leaves nothing behind; then once more with the state that it kept. Runs in an instance of its own, so a
# rig in use is not disturbed. Ends with the line `N passed, N failed`.
set -uo pipefail
export ZTLAB_RIG_INSTANCE=${ZTLAB_RIG_CHECK_INSTANCE:-9}
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"
. "$RIG/lib/check.sh"

TOOLBOX=docker.io/ztlab/toolbox:1
SERVICE=kubernetes.default.svc.cluster.local
# Seconds that a pod may take; a second or two are normal.
POD_PATIENCE=90

node_up() { "$RIG/node/up.sh"; }
node_down() { "$RIG/node/down.sh" "$@"; }

node_ready_status() {
  kube get node "$NODE_NAME" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'
}

node_is_waiting_for_a_network() {
  equals "$(node_ready_status)" False &&
    kube get node "$NODE_NAME" -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}' | grep -F 'cni plugin not initialized'
}

coredns_waits() {
  equals "$(kube -n kube-system get pods -l k8s-app=kube-dns -o jsonpath='{.items[*].status.phase}')" Pending
}

import_toolbox() {
  local layout
  layout=$("$RIG/image/make.sh" toolbox) && tar -C "$layout" -cf - . | in_node ctr -n k8s.io images import -
}

# run_pod NAME SPEC: SPEC is merged into a pod that runs the toolbox.
run_pod() {
  kube apply -f - <<YAML && kube wait pod "$1" --for=condition=Ready --timeout=${POD_PATIENCE}s
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 0
  tolerations: [{operator: Exists}]
  containers:
  - {name: toolbox, image: "$TOOLBOX", imagePullPolicy: Never, securityContext: {privileged: ${3:-false}}}
  $2
YAML
}

# The rule must be seen in the node by the node's own iptables, or the pod talked to another network namespace.
pod_sets_rules() {
  kube exec host -- iptables-nft -w -A FORWARD -s 203.0.113.9 -j DROP && in_node iptables-save | grep -F 203.0.113.9
}

outside_is_unreachable_from() {
  local said
  said=$(kube exec "$1" -- busybox ping -c 1 -W 2 192.0.2.1 2>&1) && { echo "an answer from outside: $said"; return 1; }
  grep -E 'unreachable|100% packet loss' <<<"$said"
}

# The network that a lab's own step would bring, made of Debian's plugins.
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
}

coredns_ready() { kube -n kube-system rollout status deployment/coredns --timeout=${POD_PATIENCE}s; }

coredns_address_in_pool() {
  kube -n kube-system get pods -l k8s-app=kube-dns -o jsonpath='{.items[*].status.podIP}' | grep -E '^10\.244\.0\.[0-9]+$'
}

# The very first lookup may be lost although CoreDNS says ready, hence the repetition.
lookup() { kube exec pod -- busybox nslookup "$SERVICE"; }
lookup_answers() { wait_until 30 lookup && lookup | grep -F "$API_SERVICE_IP"; }

pod_reaches_api_service() { kube exec pod -- busybox nc -w 3 "$API_SERVICE_IP" 443 -e true; }

first_round() {
  check 'comes up from nothing' node_up || return
  check 'node is registered and waits for a pod network' node_is_waiting_for_a_network
  check 'CoreDNS is deployed and waits too' wait_until 20 coredns_waits
  check 'version is the release, not a build from nowhere' equals "$(kube get node "$NODE_NAME" -o jsonpath='{.status.nodeInfo.kubeletVersion}')" "$KUBERNETES_VERSION"
  check 'images can be imported' import_toolbox
  check 'a privileged pod on the host network runs before there is a pod network' run_pod host 'hostNetwork: true' true
  check 'that pod can set packet rules of the node' pod_sets_rules
  check 'nothing outside is reachable from it' outside_is_unreachable_from host
  check 'a pod network can be brought' bring_pod_network
  check 'the node becomes Ready' wait_until $POD_PATIENCE equals_ready
  check 'CoreDNS becomes ready' coredns_ready
  check 'CoreDNS has an address of the pool' coredns_address_in_pool
  check 'a pod of the pod network runs' run_pod pod ''
  check 'a lookup in it answers' lookup_answers
  check 'it reaches a Service' pod_reaches_api_service
  check 'nothing outside is reachable from it' outside_is_unreachable_from pod
  check 'a second up leaves the node alone' same_process_after_up
  check 'goes down and leaves nothing' node_down
}

second_round() {
  check 'comes up again with its state' node_up || return
  check 'the node becomes Ready by itself' wait_until $POD_PATIENCE equals_ready
  check 'the pod of the first round comes back' wait_until $POD_PATIENCE lookup
  check 'its lookup answers' lookup_answers
  check 'a killed first process takes everything with it' kill_and_look
  check 'comes up after that crash' node_up
  check 'goes down, forgets its state and leaves nothing' node_down --wipe
  check 'the state folder is gone' equals "$(ls -d "$NODE_STATE" 2>/dev/null)" ''
}

equals_ready() { equals "$(node_ready_status)" True; }

same_process_after_up() {
  local before
  before=$(node_pid) && node_up && equals "$(node_pid)" "$before"
}

kill_and_look() {
  . "$RIG/node/cgroups.sh"
  [ "$(node_processes | wc -l)" -gt 10 ] || { echo "fewer processes than a node has"; return 1; }
  kill -KILL "$(cat "$NODE_STATE/pid")"
  wait_until 10 no_processes
}

no_processes() { [ -z "$(node_processes)" ]; }

node_down --wipe --quiet
first_round && second_round
node_down --wipe --quiet
claims_counted
