# shellcheck shell=bash
# Sourced by check.sh: NetworkPolicies against real packets, denials among them. Every pod serves TCP 8080 (named
# http), 8081 and 8090 and UDP 5353. Namespaces shop and bank; pods server, client and other in shop, client and other
# in bank.

# Time for a policy to reach the kernel; it takes a few tenths of a second.
ENFORCEMENT_DELAY=1
declare -A address

pod_manifest() {
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {namespace: $1, name: $2, labels: {app: $2}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: flow, image: "docker.io/ztlab/flow:1", imagePullPolicy: Never, ports: [{name: http, containerPort: 8080}]}
YAML
}

start_pods() {
  kube create namespace shop && kube create namespace bank && kube label namespace bank team=b &&
    wait_until 20 kube -n shop get serviceaccount default && wait_until 20 kube -n bank get serviceaccount default || return 1
  {
    pod_manifest shop server; pod_manifest shop client; pod_manifest shop other
    pod_manifest bank client; pod_manifest bank other
    echo '---'
    echo '{"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "server"},'
    echo ' "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": "http"}]}}'
  } | kube apply -f - && read_addresses
}

# Pods that come back with the node have other addresses.
read_addresses() {
  local pod
  kube -n shop wait pod --all --for=condition=Ready --timeout=60s && kube -n bank wait pod --all --for=condition=Ready --timeout=60s || return 1
  for pod in shop/server shop/client shop/other bank/client bank/other; do
    address[$pod]=$(kube -n "${pod%/*}" get pod "${pod#*/}" -o jsonpath='{.status.podIP}')
  done
  address[api]=$API_SERVICE_IP
  address[service]=server.shop.svc.cluster.local
}

# flow OUTCOME FROM PROTOCOL TO:PORT [WHY]: one attempt; OUTCOME is PASS or DENIED, FROM a pod or `node`.
flow() {
  check "$1: $2 -> $3 $4${5:+ ($5)}" flow_is "$1" "$2" "$3" "${address[${4%:*}]}:${4##*:}"
}

flow_is() {
  local said
  if [ "$2" = node ]; then
    said=$(in_node "$FLOW_COMMAND" "$3" "$4")
  else
    said=$(kube -n "${2%/*}" exec "${2#*/}" -- /flow "$3" "$4")
  fi
  equals "$said" "$1"
}

# policy NAME SPEC: in namespace shop.
policy() {
  check "policy $1 is applied" apply_policy "$1" "$2"
  sleep $ENFORCEMENT_DELAY
}

apply_policy() {
  printf -- '---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: shop, name: %s}\nspec: %s\n' "$1" "$2" | kube apply -f -
}

policy_checks() {
  FLOW_COMMAND=$("$HERE/build.sh")/flow
  check 'pods for the flows are running' start_pods
  check 'names resolve' becomes 20 flow_is PASS shop/client tcp "${address[service]}:80"

  echo '# no policy'
  flow PASS shop/client tcp shop/server:8080
  flow PASS bank/other tcp shop/server:8081
  flow PASS bank/client udp shop/server:5353
  flow PASS shop/other tcp api:443

  echo '# server denies ingress'
  policy deny '{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}'
  flow DENIED shop/client tcp shop/server:8080
  flow DENIED bank/client udp shop/server:5353
  flow PASS bank/client tcp shop/client:8080 'not selected'
  flow PASS shop/server tcp shop/client:8080 'egress is open, replies pass'
  flow PASS node tcp shop/server:8080 'the node is never policed'
  flow PASS shop/server tcp shop/server:8080 'itself'
  flow PASS shop/server tcp service:80 'itself through its Service'

  echo '# … but from shop/client to a named port'
  policy named '{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}]}]}'
  flow PASS shop/client tcp shop/server:8080
  flow DENIED shop/client tcp shop/server:8081 'other port'
  flow DENIED shop/other tcp shop/server:8080 'other label'
  flow DENIED bank/client tcp shop/server:8080 'same label, other namespace'
  flow PASS shop/client tcp service:80 'after the translation of the Service'
  flow DENIED shop/other tcp service:80

  echo '# … and from clients of namespaces with team=b'
  policy both '{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: client}}}], ports: [{protocol: UDP, port: 5353}, {port: 8081}]}]}'
  flow PASS bank/client tcp shop/server:8081
  flow PASS bank/client udp shop/server:5353
  flow DENIED bank/other tcp shop/server:8081
  flow DENIED shop/client udp shop/server:5353
  flow DENIED bank/client tcp shop/server:8080
  flow PASS shop/client tcp shop/server:8080 'by the policy before'

  echo '# … and from a range of addresses with an exception, to a range of ports'
  policy range "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/24, except: [${address[bank/other]}/32]}}], ports: [{port: 8085, endPort: 8095}]}]}"
  flow PASS shop/other tcp shop/server:8090
  flow DENIED bank/other tcp shop/server:8090 'the exception'
  flow DENIED shop/other tcp shop/server:8081 'outside the range'

  echo '# shop/other may send to DNS and to the named port of clients only'
  policy egress '{podSelector: {matchLabels: {app: other}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{protocol: UDP, port: 53}, {port: 53}]}, {to: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}]}]}'
  flow PASS shop/other tcp shop/client:8080
  flow DENIED shop/other tcp shop/client:8081
  flow DENIED shop/other tcp bank/client:8080 'a podSelector alone means its own namespace'
  flow DENIED shop/other tcp api:443 'the node is policed as a destination'
  flow DENIED shop/other tcp shop/server:8090 'ingress allows it, egress does not'
  flow PASS bank/client tcp shop/other:8080 'its ingress is open, replies pass'
  flow PASS shop/client tcp api:443

  echo '# a new label, and no policies any more'
  check 'bank/other becomes a client' kube -n bank label pod other app=client --overwrite
  sleep $ENFORCEMENT_DELAY
  flow PASS bank/other tcp shop/server:8081
  check 'the policies are deleted' kube -n shop delete networkpolicy --all
  sleep $ENFORCEMENT_DELAY
  flow PASS shop/client tcp shop/server:8081
  flow PASS shop/other tcp api:443
  flow PASS bank/client udp shop/server:5353
  check 'no set is left in the kernel' no_sets_left
}

restart_checks() {
  echo '# the node stops and starts with a policy in it'
  policy deny '{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}'
  flow DENIED shop/client tcp shop/server:8080
  check 'the node goes down' "$RIG/node/down.sh"
  check 'the node comes up' "$RIG/node/up.sh"
  check 'calico-node is ready again' becomes $PATIENCE node_restarted
  check 'the pods are ready again' read_addresses
  flow DENIED shop/client tcp shop/server:8080
  flow PASS shop/server tcp shop/client:8080
  kube delete namespace shop bank --wait=false >/dev/null
}

# The API still holds what was true before the node stopped, so readiness alone could be old.
node_restarted() {
  equals "$(kube -n calico-system get pods -l k8s-app=calico-node -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}/{.items[*].status.containerStatuses[0].ready}')" 1/true &&
    all_available
}

no_sets_left() { equals "$(in_node ipset list -name)" ''; }
