#!/bin/bash
# The node's first process: pid 1 of fresh pid, mount, network, uts, ipc and cgroup namespaces. It lays out what the
# node sees, starts the daemons and collects orphans. When it ends, the kernel ends everything in the node.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"
. "$RIG/node/cgroups.sh"
. "$RIG/node/filesystem.sh"
. "$RIG/node/daemons.sh"
trap 'stop_daemons; exit 0' TERM

has_link() { ip link show "$1"; }

# No default route: what is outside cannot be reached, by construction and at once.
set_up_network() {
  wait_until 30 has_link eth0 || die "the link to the machine did not appear"
  ip link set lo up
  ip address add "$NODE_IP/30" dev eth0
  ip link set eth0 up
  # A connection to a Service needs some route before kube-proxy's rules can turn it to a pod.
  ip route add "$SERVICE_RANGE" dev lo src "$NODE_IP"
  sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
  # Pods of one node talk through a bridge; only with this do Services and network policies see that traffic.
  sysctl -qw net.bridge.bridge-nf-call-iptables=1
  # The machine has no route back to pods and would answer them through its own default route.
  iptables -w -A FORWARD -s "$POD_RANGE" -o eth0 -m conntrack --ctstate NEW -j REJECT
}

set_up_filesystem
set_up_network
ulimit -n "$(ulimit -Hn)"
ulimit -c 0
cd /
start_daemons
# From here on errors of single commands do not matter: stay, and reap what falls to pid 1.
set +e
while :; do
  sleep 3600 &
  wait $!
done
