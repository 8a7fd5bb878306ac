#!/bin/bash
# One certificate authority and everything signed by it, into the node's state folder: the certificates of the
# control plane, the kubelet's, and one kubeconfig per client. The names are Kubernetes' own, so its bootstrap
# policy already grants what each of them needs.
#
# Keys are EC P-256 in PKCS#8: the form that rustls reads as well as Go and OpenSSL.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib/common.sh"

DAYS=3650
umask 077
mkdir -p "$NODE_STATE/kubernetes/pki"
cd "$NODE_STATE/kubernetes/pki"

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }

new_authority() {
  new_key ca
  openssl req -x509 -new -key ca.key -subj /CN=zt-rig-ca -days $DAYS -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyCertSign,cRLSign
}

# new_certificate NAME SUBJECT serverAuth|clientAuth [SUBJECT_ALTERNATIVE_NAMES]
new_certificate() {
  local name=$1 subject=$2 usage=$3 alternative_names=${4:-}
  new_key "$name"
  {
    echo basicConstraints=critical,CA:FALSE
    echo keyUsage=critical,digitalSignature,keyEncipherment
    echo extendedKeyUsage="$usage"
    [ -z "$alternative_names" ] || echo subjectAltName="$alternative_names"
  } >"$name.extensions"
  openssl req -new -key "$name.key" -subj "$subject" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days $DAYS \
      -extfile "$name.extensions" -out "$name.crt" 2>/dev/null
  rm "$name.extensions"
}

# new_kubeconfig NAME: self-contained, so it can be copied or pointed at from anywhere on the machine.
new_kubeconfig() {
  cat >"../$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: $RIG_CONTEXT
  cluster:
    server: https://$NODE_IP:6443
    certificate-authority-data: $(base64 -w0 ca.crt)
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$1.crt")
    client-key-data: $(base64 -w0 "$1.key")
contexts:
- name: $RIG_CONTEXT
  context: {cluster: $RIG_CONTEXT, user: $1}
current-context: $RIG_CONTEXT
YAML
}

# new_client NAME SUBJECT: a certificate and the kubeconfig that carries it.
new_client() {
  new_certificate "$1" "$2" clientAuth
  new_kubeconfig "$1"
}

service_names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
new_authority
new_certificate apiserver /CN=kube-apiserver serverAuth \
  "DNS:localhost,DNS:$NODE_NAME,$service_names,IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP"
new_certificate kubelet-server "/CN=$NODE_NAME" serverAuth "DNS:$NODE_NAME,IP:$NODE_IP,IP:127.0.0.1"
new_certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
new_certificate front-proxy-client /CN=front-proxy-client clientAuth
new_client admin /O=system:masters/CN=kubernetes-admin
new_client controller-manager /CN=system:kube-controller-manager
new_client scheduler /CN=system:kube-scheduler
new_client proxy /CN=system:kube-proxy
new_client kubelet "/O=system:nodes/CN=system:node:$NODE_NAME"
# Service account tokens are signed by a key pair of their own. Last, because up.sh takes its presence for "complete".
new_key sa
openssl pkey -in sa.key -pubout -out sa.pub
