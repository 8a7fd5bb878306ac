#!/bin/bash
# Names what a stopped node left on the machine and fails if there is anything.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"
. "$RIG/node/cgroups.sh"

found=0
report() { log "left over: $*"; found=1; }

for pid in $(node_processes); do report "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-80)"; done
for group in $(node_groups); do [ ! -e "$group" ] || report "control group $group"; done
while read -r mount_point; do report "mount $mount_point"; done < <(awk -v state="$NODE_STATE" 'index($5, state) == 1 {print $5}' /proc/self/mountinfo)
if ip link show "$MACHINE_LINK" >/dev/null 2>&1; then report "link $MACHINE_LINK"; fi
if ip route | grep -qF "$MACHINE_IP"; then report "route to $MACHINE_IP"; fi
if iptables-save 2>/dev/null | grep -qE "${NODE_IP//./\\.}|$MACHINE_LINK"; then report "rules of iptables"; fi
[ $found = 0 ] && log "node: down, nothing left"
exit $found
