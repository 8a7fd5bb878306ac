//! Whether network policies let a pod send to another one: as Kubernetes judges them, pure.
//!
//! Only what a diagnosis needs: egress, and peers that are pods. A peer that is a range of addresses counts as
//! "perhaps", so nobody is accused because of it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::Pod,
        networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

type Labels = BTreeMap<String, String>;

/// Where a pod wants to send to.
pub(super) struct Destination<'a> {
    /// The namespace.
    pub(super) namespace: &'a str,
    /// The pod's labels there.
    pub(super) labels: Labels,
    /// `TCP` or `UDP`.
    pub(super) protocol: &'a str,
    /// The container's port.
    pub(super) port: i32,
}

/// The policies that isolate a pod without one that lets it reach a destination; `None` when it may, or when nothing
/// isolates it. `policies` are those of the pod's namespace.
pub(super) fn egress_blocked(pod: &Pod, policies: &[NetworkPolicy], to: &Destination<'_>) -> Option<Vec<String>> {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let home = pod.metadata.namespace.as_deref().unwrap_or_default();
    let isolating: Vec<&NetworkPolicy> = policies.iter().filter(|policy| isolates_egress(policy, &labels)).collect();
    if isolating.is_empty() || isolating.iter().any(|policy| allows(policy, home, to)) {
        return None;
    }
    let name = |policy: &&NetworkPolicy| format!("{home}/{}", policy.metadata.name.as_deref().unwrap_or_default());
    Some(isolating.iter().map(name).collect())
}

fn isolates_egress(policy: &NetworkPolicy, labels: &Labels) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let egress = match &spec.policy_types {
        Some(types) => types.iter().any(|kind| kind == "Egress"),
        // The API's own default: a policy with egress rules is one about egress.
        None => spec.egress.is_some(),
    };
    egress && spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, labels))
}

fn allows(policy: &NetworkPolicy, home: &str, to: &Destination<'_>) -> bool {
    let rules = policy.spec.iter().flat_map(|spec| spec.egress.iter().flatten());
    rules.into_iter().any(|rule| {
        let peers = rule.to.as_deref().unwrap_or_default();
        let ports = rule.ports.as_deref().unwrap_or_default();
        (peers.is_empty() || peers.iter().any(|peer| names(peer, home, to)))
            && (ports.is_empty() || ports.iter().any(|port| opens(port, to)))
    })
}

fn names(peer: &NetworkPolicyPeer, home: &str, to: &Destination<'_>) -> bool {
    if peer.ip_block.is_some() {
        return true;
    }
    let namespace = match &peer.namespace_selector {
        // Every namespace has this label; others are not looked up, so a selector by them counts as "perhaps".
        Some(selector) if only_names(selector) => {
            let label = ("kubernetes.io/metadata.name".to_owned(), to.namespace.to_owned());
            selects(selector, &Labels::from([label]))
        }
        Some(_) => true,
        None => home == to.namespace,
    };
    namespace && peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, &to.labels))
}

fn only_names(selector: &LabelSelector) -> bool {
    let is_name = |key: &str| key == "kubernetes.io/metadata.name";
    selector.match_labels.iter().flatten().all(|(key, _)| is_name(key))
        && selector.match_expressions.iter().flatten().all(|expression| is_name(&expression.key))
}

fn opens(port: &NetworkPolicyPort, to: &Destination<'_>) -> bool {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    protocol == to.protocol
        && match (&port.port, port.end_port) {
            (Some(IntOrString::Int(first)), Some(last)) => (*first..=last).contains(&to.port),
            (Some(IntOrString::Int(only)), None) => *only == to.port,
            // A named port is known to the other pod's containers only: perhaps.
            (Some(IntOrString::String(_)) | None, _) => true,
        }
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let all = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    all && selector.match_expressions.iter().flatten().all(|expression| {
        let values = expression.values.as_deref().unwrap_or_default();
        let value = labels.get(&expression.key);
        match expression.operator.as_str() {
            "In" => value.is_some_and(|value| values.contains(value)),
            "NotIn" => value.is_none_or(|value| !values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn shipped() -> Vec<NetworkPolicy> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/calico");
        let files =
            fs_err::read_dir(folder).unwrap().map(|entry| fs_err::read_to_string(entry.unwrap().path()).unwrap());
        let objects = files.flat_map(|text| crate::cluster::manifest::parse("policies", &text).unwrap());
        objects.map(|object| object.try_parse().unwrap()).collect()
    }

    fn frontend() -> Pod {
        from_value(json!({"metadata": {"namespace": "webapp", "name": "f", "labels": {"app": "frontend"}}})).unwrap()
    }

    fn to(namespace: &'static str, app: &str, port: i32) -> Destination<'static> {
        let labels = Labels::from([("app".to_owned(), app.to_owned())]);
        Destination { namespace, labels, protocol: "TCP", port }
    }

    #[test]
    fn the_labs_own_policies_let_a_sidecar_reach_istiod_and_the_frontend_reach_the_backend_only() {
        let policies = shipped();
        let blocked = |to: &Destination<'_>| egress_blocked(&frontend(), &policies, to);
        assert_eq!(blocked(&to("istio-system", "istiod", 15012)), None);
        assert_eq!(blocked(&to("webapp", "backend", 5000)), None);
        let others =
            [to("istio-system", "istiod", 15010), to("webapp", "loadtest", 80), to("elsewhere", "backend", 5000)];
        for other in others {
            let names = blocked(&other).unwrap();
            assert!(names.contains(&"webapp/default-deny".to_owned()), "{names:?}");
        }
    }

    #[test]
    fn without_the_rule_for_istiod_the_policies_that_isolate_are_named() {
        let mut policies = shipped();
        policies.retain(|policy| policy.metadata.name.as_deref() != Some("allow-istiod"));
        let names = egress_blocked(&frontend(), &policies, &to("istio-system", "istiod", 15012)).unwrap();
        assert!(names.contains(&"webapp/frontend".to_owned()) && !names.contains(&"webapp/loadtest".to_owned()));
    }

    #[test]
    fn nobody_is_accused_of_what_may_be_allowed() {
        let policy = |egress: Value| -> Vec<NetworkPolicy> {
            vec![from_value(json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": egress}})).unwrap()]
        };
        let blocked = |egress: Value| {
            egress_blocked(&frontend(), &policy(egress), &to("istio-system", "istiod", 15012)).is_some()
        };
        assert!(blocked(json!([])));
        assert!(!blocked(json!([{}])));
        assert!(!blocked(json!([{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])));
        assert!(!blocked(json!([{"to": [{"namespaceSelector": {"matchLabels": {"mesh": "yes"}}}]}])));
        assert!(!blocked(json!([{"ports": [{"port": "https-dns"}]}])));
        assert!(!blocked(json!([{"ports": [{"port": 15000, "endPort": 15020}]}])));
        assert!(blocked(json!([{"ports": [{"port": 15012, "protocol": "UDP"}]}])));
        assert!(blocked(json!([{"to": [{"podSelector": {}}]}])), "the pod's own namespace");
        assert!(blocked(
            json!([{"to": [{"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["istiod"]}]}}]}])
        ));
        let ingress_only = from_value(json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}}})).unwrap();
        assert_eq!(egress_blocked(&frontend(), &[ingress_only], &to("istio-system", "istiod", 15012)), None);
    }
}
