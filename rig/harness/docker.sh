#!/bin/bash
# docker.sh [PART...]: the parts of the harness that want a dockerd (default: docker), with everything they need: a lab
# that is locked and fetched, an upstream, and the dockerd.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/../lib/common.sh"
[ -f "${HARNESS_WORK:?}/lab/lock/ztlab.lock" ] || die "no fetched lab in $HARNESS_WORK: run the parts supply and whole-way first"
"$RIG/rig" upstream up
eval "$("$RIG/rig" docker up)"
PATH=$("$RIG/build/build.sh" crane):$PATH
export PATH RIG_REGISTRY
# Named so that the harness does not look for the rig's cluster: this part has a node of its own.
export HARNESS_TARGET='--cluster ztlab-docker'
status=0
python3 "$here/run.py" "${@:-docker}" || status=$?
"$RIG/rig" docker down --wipe
exit "$status"
