#!/bin/bash
# Both ends of a packet for check.sh. Not part of any lab.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../lib/image.sh"
commands=$("$RIG/stand-ins/calico/build.sh")
make_image --ref docker.io/ztlab/flow:1 --entrypoint '["/flow"]' --cmd '["serve"]' --layer "$commands/flow:/flow:755"
