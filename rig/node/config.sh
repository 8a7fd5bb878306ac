#!/bin/bash
# Writes the configuration files of containerd, kubelet and kube-proxy into the node's state folder, which the node
# sees as /etc/kubernetes. Paths in them are the usual ones: the node has private folders there.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"

# restrict_oom_score_adj: without CAP_SYS_RESOURCE nobody may lower a score; clamped, every pod still starts.
# The disabled plugins would only complain about file systems and traces that are not there.
containerd_config() {
  cat <<TOML
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:$PAUSE_VERSION"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
TOML
}

# oomScoreAdj: the default is negative, see above. Evictions by disk are off: a developer's disk is often nearly
# full, and a pod evicted for that would look like a fault of the lab. resolvConf is an empty file: no outside names.
kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
clusterDNS: [$DNS_SERVICE_IP]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: /etc/kubernetes/pki/kubelet-server.crt
tlsPrivateKeyFile: /etc/kubernetes/pki/kubelet-server.key
staticPodPath: ""
oomScoreAdj: 0
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard:
  imagefs.available: 0%
  nodefs.available: 0%
  nodefs.inodesFree: 0%
  memory.available: 64Mi
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
YAML
}

# conntrack: the limits belong to the machine and cannot be written from a network namespace; zero leaves them alone.
# minSyncPeriod: a Service is reachable at once, which matters for the API server's calls to fresh webhooks.
kube_proxy_config() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: /etc/kubernetes/proxy.conf}
hostnameOverride: $NODE_NAME
clusterCIDR: $POD_RANGE
mode: iptables
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: 0s, syncPeriod: 30s, localhostNodePorts: false}
YAML
}

mkdir -p "$NODE_STATE/kubernetes"
cd "$NODE_STATE/kubernetes"
containerd_config >containerd.toml
kubelet_config >kubelet.yaml
kube_proxy_config >kube-proxy.yaml
