# shellcheck shell=bash disable=SC2034 # most of it is for those who source it
# Sourced by every script of the rig: names, addresses, folders, and the build cache.
#
# Outputs of builds live in $RIG_CACHE/NAME-KEY, where KEY is a hash of what they were made from; such a folder
# is never changed once it exists, so any number of scripts may read it at the same time.
# Running things keep their files in $RIG_STATE, one folder per part.

# Without it a failure inside $(…) goes unseen, and a script carries on with an empty answer.
shopt -s inherit_errexit

RIG=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RIG_CACHE=${ZTLAB_RIG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ztlab-rig}

# Several rigs may run side by side (a person's and a check's): 0 to 9, each with its own state, links and addresses.
RIG_INSTANCE=${ZTLAB_RIG_INSTANCE:-0}
if [ "$RIG_INSTANCE" = 0 ]; then RIG_SUFFIX=''; else RIG_SUFFIX=-$RIG_INSTANCE; fi
RIG_STATE=${ZTLAB_RIG_STATE:-$RIG_CACHE/state$RIG_SUFFIX}
mkdir -p "$RIG_CACHE" "$RIG_STATE/log"
# A shell made by plain `su` lacks the folders where iptables, runc and nginx are.
PATH=$PATH:/usr/sbin:/sbin

# The cluster: one node in its own network namespace, joined to the machine by one veth pair.
NODE_NAME=zt-node
NODE_GROUP=zt-node$RIG_SUFFIX
NODE_IP=10.199.$((199 - RIG_INSTANCE)).2
MACHINE_IP=10.199.$((199 - RIG_INSTANCE)).1
MACHINE_LINK=zt-host$RIG_SUFFIX
POD_RANGE=10.244.0.0/16
SERVICE_RANGE=10.96.0.0/12
API_SERVICE_IP=10.96.0.1
DNS_SERVICE_IP=10.96.0.10
NODE_STATE=$RIG_STATE/node
RIG_CONTEXT=zt-rig
RIG_KUBECONFIG=$NODE_STATE/kubernetes/admin.conf

# The upstream: a registry and a file server that only this machine can reach. All rigs share it.
RIG_REGISTRY=127.0.0.1:5055
RIG_FILES=http://127.0.0.1:5056

. "$RIG/lib/versions.sh"

# log WORDS...: a line for the person who watches; standard output stays free for data.
log() { printf '%(%H:%M:%S)T %s\n' -1 "$*" >&2; }

die() { log "error: $*"; exit 1; }

# plain_modes: executable or not is all that a clone keeps; the rest of a mode is the umask of whoever cloned.
plain_modes() { sed -E 's/ [0-7]*[1357][0-7]{2}$/ executable/; t; s/ [0-7]+$/ 644/'; }

# content_hash INPUT...: one hash over files, folders (names, kinds, executable bits and contents) and `=text` inputs.
# Where the clone lies does not count, so two clones share one cache.
content_hash() {
  local input
  for input; do
    case $input in
      =*) printf 'text %s\n' "${input#=}" ;;
      *)
        if [ -d "$input" ]; then
          (cd "$input" && find . -type f -not -name '*.pyc' -printf '%P %m\n' | plain_modes | LC_ALL=C sort)
          (cd "$input" && find . -type l -printf '%P -> %l\n' | LC_ALL=C sort)
          (cd "$input" && find . -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0r sha256sum)
        elif [ -f "$input" ]; then
          printf 'file %s ' "${input##*/}"
          sha256sum <"$input"
        else
          die "input of the build cache does not exist: $input"
        fi ;;
    esac
  done | sha256sum | cut -c1-16
}

# cached NAME INPUT... -- COMMAND...: prints the folder that COMMAND made from these inputs, running it only when it
# is absent. COMMAND (a program or a function of the calling script) writes into $OUT; what it says goes to standard error.
# A half-made folder is never seen: it gets its name only after COMMAND succeeded. Two callers of one key wait for each other.
cached() {
  local name=$1 key folder lock status inputs=()
  shift
  while [ "$1" != -- ]; do inputs+=("$1"); shift; done
  shift
  key=$(content_hash "${inputs[@]}")
  [ ${#key} = 16 ] || return 1
  folder=$RIG_CACHE/$name-$key
  if [ ! -d "$folder" ]; then
    mkdir -p "$RIG_CACHE/.locks"
    exec {lock}>"$RIG_CACHE/.locks/$name-$key"
    flock "$lock"
    if [ ! -d "$folder" ]; then
      rm -rf "$folder.tmp"
      mkdir -p "$folder.tmp"
      status=0
      run_build "$folder.tmp" "$@" {lock}>&- >&2 || status=$?
      [ "$status" = 0 ] || { log "building $name failed (status $status)"; exec {lock}>&-; return 1; }
      mv -T "$folder.tmp" "$folder"
    fi
    exec {lock}>&-
  fi
  printf '%s\n' "$folder"
}

# run_build OUT COMMAND...: runs COMMAND so that its first failing line ends it.
# A function gets a shell of its own with the functions and variables of this one: in the shell that tests the outcome,
# bash switches errexit off all the way down, and a failed build would be kept as a good one.
run_build() (
  export OUT=$1
  shift
  [ "$(type -t "$1")" = function ] || exec "$@"
  exec bash <(
    declare -p | grep -vE '^declare -[[:alpha:]-]*r|^declare -[[:alpha:]-]+ (BASH|DIRSTACK|FUNCNAME|GROUPS|PIPESTATUS|SHLVL|_=)'
    declare -f
    echo 'set -euo pipefail; "$@"'
  ) "$@"
)

# node_pid: the machine's process id of the node's first process; fails when no node runs.
node_pid() {
  local outer inner
  outer=$(cat "$NODE_STATE/pid" 2>/dev/null) || return 1
  # The number may belong to somebody else by now: after a crash the file stays.
  grep -qs unshare "/proc/$outer/cmdline" || return 1
  # The file has no line end, so `read` alone would call it a failure.
  read -r inner _ <"/proc/$outer/task/$outer/children" || [ -n "${inner:-}" ] || return 1
  printf '%s\n' "$inner"
}

# in_node COMMAND...: runs a command of the machine inside all namespaces of the node.
in_node() {
  local pid
  pid=$(node_pid) || die "the node does not run: start it with rig/rig node up"
  nsenter --target "$pid" --mount --net --pid --uts --ipc --cgroup -- "$@"
}

# kube ARGUMENT...: kubectl against the rig's cluster. A proxy of the machine has no way to the node.
kube() {
  KUBECTL_FOLDER=${KUBECTL_FOLDER:-$("$RIG/build/build.sh" kubernetes)}
  NO_PROXY=$NODE_IP no_proxy=$NODE_IP "$KUBECTL_FOLDER/kubectl" --kubeconfig "$RIG_KUBECONFIG" "$@"
}

# wait_until SECONDS COMMAND...: repeats COMMAND, silently, until it succeeds; fails when the time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}
