# shellcheck shell=bash
# Sourced by init.sh: the daemons of the node, in the order in which they need each other.
# PROGRAMS_KUBERNETES and PROGRAMS_ETCD name the folders that they were built into.

CERTIFICATES=/etc/kubernetes/pki
# Seconds for the API server to be ready; three are normal, the rest is for a machine that compiles beside.
API_PATIENCE=180
declare -A DAEMON_PIDS

# start NAME PROGRAM ARGUMENT...: in the background, with a log of its own.
start() {
  local name=$1
  shift
  "$@" >>"$NODE_STATE/log/$name.log" 2>&1 </dev/null &
  DAEMON_PIDS[$name]=$!
}

# api PATH: asks the API server as administrator.
api() {
  curl --silent --fail --noproxy '*' --max-time 2 --cacert "$CERTIFICATES/ca.crt" \
    --cert "$CERTIFICATES/admin.crt" --key "$CERTIFICATES/admin.key" "https://127.0.0.1:6443$1"
}

start_containerd() { start containerd containerd --config /etc/kubernetes/containerd.toml; }

# Plain http on the node's own loopback. Losing the last writes in a power cut is no harm here, waiting for the disk is.
start_etcd() {
  start etcd "$PROGRAMS_ETCD/etcd" --name "$NODE_NAME" --data-dir /var/lib/etcd/data --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster "$NODE_NAME=http://127.0.0.1:2380"
}

# --advertise-address: without a default route it cannot find its own address.
start_api_server() {
  local arguments=(
    --etcd-servers=http://127.0.0.1:2379
    --advertise-address="$NODE_IP" --bind-address=0.0.0.0 --secure-port=6443
    --tls-cert-file="$CERTIFICATES/apiserver.crt" --tls-private-key-file="$CERTIFICATES/apiserver.key"
    --client-ca-file="$CERTIFICATES/ca.crt"
    --service-cluster-ip-range="$SERVICE_RANGE"
    --service-account-issuer=https://kubernetes.default.svc.cluster.local
    --service-account-key-file="$CERTIFICATES/sa.pub" --service-account-signing-key-file="$CERTIFICATES/sa.key"
    --authorization-mode="Node,RBAC" --enable-admission-plugins=NodeRestriction --allow-privileged=true
    --kubelet-certificate-authority="$CERTIFICATES/ca.crt"
    --kubelet-client-certificate="$CERTIFICATES/apiserver-kubelet-client.crt"
    --kubelet-client-key="$CERTIFICATES/apiserver-kubelet-client.key"
    --kubelet-preferred-address-types=InternalIP,Hostname
    --requestheader-client-ca-file="$CERTIFICATES/ca.crt" --requestheader-allowed-names=front-proxy-client
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
    --requestheader-extra-headers-prefix=X-Remote-Extra-
    --proxy-client-cert-file="$CERTIFICATES/front-proxy-client.crt"
    --proxy-client-key-file="$CERTIFICATES/front-proxy-client.key"
  )
  start kube-apiserver "$PROGRAMS_KUBERNETES/kube-apiserver" "${arguments[@]}"
}

# One node, so no election. --allocate-node-cidrs=false: that controller waits ten seconds before its first try and
# holds the later ones up; the pod range of the only node is known anyway.
start_controller_manager() {
  local config=/etc/kubernetes/controller-manager.conf
  local arguments=(
    --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config"
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true
    --service-account-private-key-file="$CERTIFICATES/sa.key" --root-ca-file="$CERTIFICATES/ca.crt"
    --cluster-signing-cert-file="$CERTIFICATES/ca.crt" --cluster-signing-key-file="$CERTIFICATES/ca.key"
    --requestheader-client-ca-file="$CERTIFICATES/ca.crt"
    --allocate-node-cidrs=false --cluster-cidr="$POD_RANGE" --service-cluster-ip-range="$SERVICE_RANGE"
  )
  start kube-controller-manager "$PROGRAMS_KUBERNETES/kube-controller-manager" "${arguments[@]}"
}

start_scheduler() {
  local config=/etc/kubernetes/scheduler.conf
  start kube-scheduler "$PROGRAMS_KUBERNETES/kube-scheduler" --bind-address=127.0.0.1 --leader-elect=false \
    --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config"
}

start_kubelet() {
  start kubelet "$PROGRAMS_KUBERNETES/kubelet" --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \
    --node-ip="$NODE_IP" --hostname-override="$NODE_NAME" --root-dir=/var/lib/kubelet \
    --pod-infra-container-image="registry.k8s.io/pause:$PAUSE_VERSION" --v=1
}

start_kube_proxy() { start kube-proxy "$PROGRAMS_KUBERNETES/kube-proxy" --config=/etc/kubernetes/kube-proxy.yaml; }

start_daemons() {
  start_containerd
  start_etcd
  start_api_server
  wait_until $API_PATIENCE api /readyz || die "the API server is not ready after $API_PATIENCE s"
  start_controller_manager
  start_scheduler
  start_kubelet
  # kube-proxy looks for its Node once and then backs off for seconds: the kubelet registers it first.
  wait_until $API_PATIENCE api "/api/v1/nodes/$NODE_NAME" || die "the kubelet has not registered the node"
  start_kube_proxy
}

# The kubelet first, so that nothing is restarted; etcd last, so that everybody's last word is kept.
stop_daemons() {
  local name
  for name in kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd; do
    [ -z "${DAEMON_PIDS[$name]:-}" ] || kill "${DAEMON_PIDS[$name]}" 2>/dev/null || true
  done
  [ -z "${DAEMON_PIDS[etcd]:-}" ] || wait_until 5 not_running "${DAEMON_PIDS[etcd]}" || true
}

not_running() { ! kill -0 "$1"; }
