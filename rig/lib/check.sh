# shellcheck shell=bash
# Sourced after common.sh by every check of the rig: claims, the evidence for each, and the line that counts them.

EVIDENCE=$RIG_STATE/log/check-$$.txt
passed=0
failed=0

# check CLAIM COMMAND...: one line for each claim; of a command that fails, the end of what it said. Fails as the
# command does, for rounds that have nothing to go on with.
check() {
  local claim=$1
  shift
  if "$@" >"$EVIDENCE" 2>&1; then
    passed=$((passed + 1))
    echo "ok    $claim"
  else
    failed=$((failed + 1))
    echo "FAIL  $claim"
    sed 's/^/      /' "$EVIDENCE" | tail -n 12
    return 1
  fi
}

equals() { [ "$1" = "$2" ] || { echo "expected '$2', found '$1'"; return 1; }; }

# becomes SECONDS COMMAND...: waits for the command to succeed; the last try is the evidence.
becomes() { local limit=$1; shift; wait_until "$limit" "$@" || "$@"; }

# claims_counted: the last line of every check, `N passed, N failed`; fails when a claim did.
claims_counted() {
  rm -f "$EVIDENCE"
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}
