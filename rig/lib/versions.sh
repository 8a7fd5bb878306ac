# shellcheck shell=bash disable=SC2034 # most of it is for those who source it
# Versions of the real parts that the rig builds; sourced by common.sh.

KUBERNETES_VERSION=v1.28.3
ETCD_VERSION=3.5.9
COREDNS_VERSION=v1.10.1
PROMETHEUS_VERSION=2.41.0
PAUSE_VERSION=3.9
