# shellcheck shell=bash
# Sourced by whatever needs Debian's Docker: packages and the runtime around runc.

. "$RIG/lib/go.sh"

# Debian's Docker, and the libraries that it, containerd and runc need beside the C library.
DOCKER_LIBRARIES=(
  libsystemd0 libdevmapper1.02.1 libcap2 libgcrypt20 libgpg-error0 liblzma5 libzstd1 liblz4-1 libselinux1 libudev1
  libpcre2-8-0 libseccomp2
)
DOCKER_PACKAGES=(docker.io containerd runc tini)

compile_runc_wrapper() { go_build "$RIG/docker/runc-wrapper" "" "$OUT/runc-wrapper" .; }

runc_wrapper() {
  local folder
  folder=$(cached runc-wrapper "$RIG/docker/runc-wrapper" "$RIG/lib/go.sh" -- compile_runc_wrapper)
  printf '%s/runc-wrapper\n' "$folder"
}
