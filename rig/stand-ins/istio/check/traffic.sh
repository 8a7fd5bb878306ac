# shellcheck shell=bash
# Sourced by check.sh: what the mesh does to requests. A denial always stands beside a request that passes, or a dead
# backend would count as security.

BACKEND=http://backend-service:5000/api/x

apply_workloads() {
  kube apply -f "$HERE/check/workloads.yaml" && kube -n webapp wait pod --all --for=condition=Ready --timeout=${PATIENCE}s
}
apply_policies() { kube apply -f "$POLICIES"; }

containers_ready() { kube -n webapp get pod "$1" -o jsonpath='{range .status.containerStatuses[*]}{.name}={.ready} {end}'; }
address() { kube -n webapp get pod "$1" -o jsonpath='{.status.podIP}'; }

# ask POD OPTIONS... URL: the status and the body, or what went wrong.
ask() {
  local pod=$1
  shift
  kube -n webapp exec "$pod" -c app -- /mesh-probe get "$@" 2>&1
}

# asking_gives PATTERN POD OPTIONS... URL: the answer matches the extended expression.
asking_gives() {
  local pattern=$1 answer
  shift
  answer=$(ask "$@")
  echo "$answer"
  grep -qE "$pattern" <<<"$answer"
}

# After a change one more request may go over a pooled connection: a denial counts when it comes three times in a row.
settles_on() {
  local pattern=$1
  shift
  wait_until $POLICY_PATIENCE asking_gives "$pattern" "$@" && asking_gives "$pattern" "$@" && asking_gives "$pattern" "$@"
}

# plain_curl URL: curl's status and exit code, from the node, without any certificate.
plain_curl() { in_node curl --silent --noproxy '*' --max-time 5 --output /dev/null --write-out '%{http_code} %{exitcode}' "$1"; }
plain_curl_gives() {
  local said
  said=$(plain_curl "$2")
  echo "$said"
  grep -qxE "$1" <<<"$said"
}

gateway_url() { echo "http://$(kube -n istio-system get service istio-ingressgateway -o jsonpath='{.spec.clusterIP}')"; }
through_the_gateway() {
  local answer
  answer=$(in_node curl --silent --noproxy '*' --max-time 15 --header 'X-Forwarded-Client-Cert: URI=spiffe://forged' "$(gateway_url)$1")
  echo "$answer"
  grep -qE "$2" <<<"$answer"
}

set_mode() {
  kube -n istio-system patch peerauthentication default --type merge --patch "{\"spec\":{\"mtls\":{\"mode\":\"$1\"}}}"
}

allow_loadtest() {
  kube -n webapp patch authorizationpolicy backend --type json \
    --patch '[{"op":"add","path":"/spec/rules/0/from/0/source/principals/-","value":"cluster.local/ns/webapp/sa/loadtest"}]'
}

scale_istiod() {
  kube -n istio-system scale deployment/istiod --replicas="$1" && kube -n istio-system rollout status deployment/istiod --timeout=${PATIENCE}s &&
    { [ "$1" != 0 ] || wait_until $PATIENCE istiod_is_gone; }
}
istiod_is_gone() { equals "$(kube -n istio-system get pods -l app=istiod -o name)" ''; }

# The packets to the silent pod are dropped on their way, as a network policy does it.
silence() { in_node iptables -I FORWARD -d "$(address silent)" -p tcp --dport 5000 -j DROP; }

all_proxies_synced() {
  kube get --raw /api/v1/namespaces/istio-system/services/istiod:15014/proxy/debug/syncz | python3 -c '
import json, sys
proxies = json.load(sys.stdin)
for proxy in proxies:
    for part in ("cluster", "listener", "route", "endpoint"):
        sent, acked = proxy.get(part + "_sent"), proxy.get(part + "_acked")
        if sent != acked:
            sys.exit("%s: %s sent %s, acked %s" % (proxy["proxy"], part, sent, acked))
kinds = sorted(proxy["proxy_type"] for proxy in proxies)
if kinds != ["router"] * 2 + ["sidecar"] * 3:
    sys.exit("proxies: %s" % kinds)
'
}

counted() {
  in_node curl --silent --noproxy '*' "http://$(address backend):15020/stats/prometheus" |
    grep '^istio_requests_total{reporter="destination"' | grep -F "source_principal=\"spiffe://cluster.local/ns/webapp/sa/$1\"" |
    grep -F 'destination_service="backend-service.webapp.svc.cluster.local"' | grep -F 'connection_security_policy="mutual_tls"'
}

nothing_restarted() {
  equals "$(kube get pods -n webapp -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}' | tr -d ' 0')" ''
}

refused_policy() {
  refuses 'unknown field "when"' kube apply -f - <<YAML
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: unheard-of, namespace: webapp}
spec: {rules: [{when: [{key: "request.headers[x]", values: [y]}]}]}
YAML
}

identity_checks() {
  check 'pods of a labelled namespace run 2/2' eval 'equals "$(containers_ready backend)" "app=true istio-proxy=true "'
  check 'a pod that says no runs 1/1' eval 'equals "$(containers_ready outsider)" "app=true "'
  check 'without policies plaintext passes (control)' settles_on '^200 .*certificate \[\]' outsider "$BACKEND"
  check 'the lab'\''s policies are accepted' apply_policies
  check 'right identity: 200, the backend sees who asked' settles_on \
    '^200 .*By=spiffe://cluster.local/ns/webapp/sa/backend;Hash=[0-9a-f]{64};Subject=\\"\\";URI=spiffe://cluster.local/ns/webapp/sa/frontend"\]$' frontend "$BACKEND"
  check 'a forged certificate header is replaced' asking_gives '^200 .*\["By=[^,]*sa/frontend"\]$' frontend -H 'X-Forwarded-Client-Cert: By=forged;URI=spiffe://forged' "$BACKEND"
  check 'wrong identity: 403' settles_on '^403 .*RBAC: access denied$' loadtest "$BACKEND"
  check 'wrong path: 403' asking_gives '^403 .*RBAC: access denied$' frontend http://backend-service:5000/admin
  check 'wrong method: 403' asking_gives '^403 .*RBAC: access denied$' frontend -X POST "$BACKEND"
  check 'another identity, another service: 200' asking_gives '^200 ' loadtest http://frontend-service/
  check 'full and short names mean the same' asking_gives '^200 ' frontend http://backend-service.webapp.svc.cluster.local:5000/api/x
  check 'HTTP/1.0: 426' asking_gives '^426 ' frontend -0 "$BACKEND"
}

plaintext_checks() {
  check 'STRICT: plaintext connects and is reset' plain_curl_gives '000 (52|56)' "http://$(address backend):5000/api/x"
  check 'STRICT: so it is from a pod without a proxy' asking_gives 'error: .*(reset|EOF)' outsider "$BACKEND"
  check 'the kubelet'\''s probes go on' eval 'sleep 3; equals "$(containers_ready backend)" "app=true istio-proxy=true "'
  check 'PERMISSIVE is accepted' set_mode PERMISSIVE
  check 'PERMISSIVE: plaintext gets as far as the policy' becomes $POLICY_PATIENCE plain_curl_gives '403 0' "http://$(address backend):5000/api/x"
  check 'PERMISSIVE: mutual TLS goes on' asking_gives '^200 .*sa/frontend' frontend "$BACKEND"
  check 'DISABLE is accepted' set_mode DISABLE
  check 'DISABLE: even a proxy comes without identity' settles_on '^403 ' frontend "$BACKEND"
  check 'STRICT again' set_mode STRICT
  check 'STRICT again: plaintext is reset' becomes $POLICY_PATIENCE plain_curl_gives '000 (52|56)' "http://$(address backend):5000/api/x"
  check 'STRICT again: mutual TLS goes on' settles_on '^200 ' frontend "$BACKEND"
}

gateway_checks() {
  check 'the gateway leads to the frontend with its own identity' through_the_gateway /page \
    '^frontend saw GET /page .*URI=spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"\]$'
  check 'a removed route' kube -n webapp delete virtualservice webapp
  check '… ends in 404' becomes $POLICY_PATIENCE eval 'equals "$(plain_curl "$(gateway_url)/page")" "404 0"'
  check 'and comes back' apply_policies
  check '… to 200' becomes $POLICY_PATIENCE through_the_gateway /page '^frontend saw GET /page'
}

traffic_checks() {
  check 'the workloads come up' apply_workloads
  identity_checks
  plaintext_checks
  gateway_checks
  check 'a policy changes' allow_loadtest
  check '… and holds without a restart' settles_on '^200 .*sa/loadtest' loadtest "$BACKEND"
  check 'the policy is taken back' apply_policies
  check '… and holds on connections that were open' settles_on '^403 ' loadtest "$BACKEND"
  check 'a policy that the stand-in would not obey is refused' refused_policy
  check 'the silent peer is silenced' silence
  check '… and answered for with 503 after ten seconds' asking_gives '^503 in (9\.[5-9]|10\.|11\.)' frontend http://silent:5000/
  check 'every proxy has what it was sent' becomes $POLICY_PATIENCE all_proxies_synced
  check 'requests are counted with their identities' becomes $POLICY_PATIENCE counted frontend
  check 'istiod stops' scale_istiod 0
  check '… the mesh goes on' asking_gives '^200 ' frontend "$BACKEND"
  check '… and no pod comes in unasked' refuses 'failed calling webhook' kube -n webapp run unasked --image=docker.io/ztlab/mesh-probe:1
  check 'istiod starts' scale_istiod 1
  check '… knows every proxy again' becomes 30 all_proxies_synced
  check '… and the mesh goes on with the same root' asking_gives '^200 ' frontend "$BACKEND"
  check 'nothing else restarted' nothing_restarted
}
