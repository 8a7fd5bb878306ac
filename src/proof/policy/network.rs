//! NetworkPolicies, as the API's reference describes them: they add up, there is no order and no rule that denies.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde_json::Value;

use super::{End, Ruling, chooses, name, namespace};

/// The transport of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Everything that curl does.
    Tcp,
    /// Most of DNS.
    Udp,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// May a packet leave `from`?
pub fn egress(policies: &[DynamicObject], from: &End, to: &End, port: u16, transport: Transport) -> Ruling {
    judge(policies, "Egress", ("egress", "to"), from, to, (port, transport))
}

/// May it arrive at `to`?
pub fn ingress(policies: &[DynamicObject], from: &End, to: &End, port: u16, transport: Transport) -> Ruling {
    judge(policies, "Ingress", ("ingress", "from"), to, from, (port, transport))
}

fn judge(
    policies: &[DynamicObject],
    direction: &str,
    (rules, peers): (&str, &str),
    subject: &End,
    other: &End,
    packet: (u16, Transport),
) -> Ruling {
    if !subject.is_pod {
        return Ruling::Open;
    }
    let (mut concerned, mut allowing) = (Vec::new(), Vec::new());
    for policy in policies.iter().filter(|policy| namespace(policy) == subject.namespace) {
        let spec = &policy.data["spec"];
        if !has_direction(spec, direction) || !chooses(&spec["podSelector"], &subject.labels) {
            continue;
        }
        concerned.push(name(policy));
        let all = spec[rules].as_array().into_iter().flatten();
        let passes = all.into_iter().any(|rule| {
            let ports = rule["ports"].as_array().filter(|ports| !ports.is_empty());
            let ends = rule[peers].as_array().filter(|ends| !ends.is_empty());
            ports.is_none_or(|ports| ports.iter().any(|port| port_matches(port, packet)))
                && ends.is_none_or(|ends| ends.iter().any(|peer| peer_matches(peer, &subject.namespace, other)))
        });
        if passes {
            allowing.push(name(policy));
        }
    }
    match (concerned.is_empty(), allowing.is_empty()) {
        (true, _) => Ruling::Open,
        (_, false) => Ruling::Allowed(allowing),
        (_, true) => Ruling::Denied(concerned),
    }
}

/// `policyTypes` defaults to ingress, and to egress as well where there are rules for it.
fn has_direction(spec: &Value, direction: &str) -> bool {
    match spec["policyTypes"].as_array() {
        Some(types) => types.iter().any(|one| one == direction),
        None => direction == "Ingress" || spec["egress"].as_array().is_some_and(|rules| !rules.is_empty()),
    }
}

fn port_matches(rule: &Value, (port, transport): (u16, Transport)) -> bool {
    if rule["protocol"].as_str().unwrap_or("TCP") != transport.name() {
        return false;
    }
    match (&rule["port"], rule["endPort"].as_u64()) {
        (Value::Null, _) => true,
        (Value::Number(first), last) => {
            let first = first.as_u64().unwrap_or(0);
            (first..=last.unwrap_or(first)).contains(&u64::from(port))
        }
        // The name of a container's port: no pod of a proof names one.
        _ => false,
    }
}

/// Two selectors in one item intersect. Without a namespace selector a pod selector means the policy's own namespace.
fn peer_matches(peer: &Value, own_namespace: &str, other: &End) -> bool {
    if !peer["ipBlock"].is_null() {
        // A block of everything takes in everything; what another block takes in is not known without addresses, and
        // the lab has none.
        return peer["ipBlock"]["cidr"] == "0.0.0.0/0" && peer["ipBlock"]["except"].is_null();
    }
    if !other.is_pod {
        return false;
    }
    let in_namespace = if peer["namespaceSelector"].is_null() {
        other.namespace == own_namespace
    } else {
        // The label that every namespace has.
        let labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), other.namespace.clone())]);
        chooses(&peer["namespaceSelector"], &labels)
    };
    in_namespace && (peer["podSelector"].is_null() || chooses(&peer["podSelector"], &other.labels))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pod(namespace: &str, app: &str) -> End {
        let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
        End { namespace: namespace.to_owned(), labels, is_pod: true }
    }

    fn policy(name: &str, spec: Value) -> DynamicObject {
        from_value(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "webapp"}, "spec": spec}))
        .unwrap()
    }

    fn arrives(policies: &[DynamicObject], from: &End, port: u16) -> Ruling {
        ingress(policies, from, &pod("webapp", "backend"), port, Transport::Tcp)
    }

    #[test]
    fn without_a_policy_everything_passes_and_an_empty_one_stops_it() {
        let from = pod("webapp", "frontend");
        assert_eq!(arrives(&[], &from, 5000), Ruling::Open);
        let deny = policy("deny", json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        assert_eq!(arrives(std::slice::from_ref(&deny), &from, 5000), Ruling::Denied(vec!["deny".to_owned()]));
        // The other direction and other namespaces are not its business.
        let to = pod("webapp", "backend");
        assert_eq!(egress(std::slice::from_ref(&deny), &from, &to, 5000, Transport::Tcp), Ruling::Open);
        assert_eq!(ingress(&[deny], &from, &pod("other", "backend"), 5000, Transport::Tcp), Ruling::Open);
    }

    #[test]
    fn two_selectors_in_one_item_intersect_and_two_items_add_up() {
        let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}});
        let labels = json!({"matchLabels": {"app": "gateway"}});
        let rule = |from: Value| vec![policy("p", json!({"podSelector": {}, "ingress": [{"from": from}]}))];
        let one_item = rule(json!([{"namespaceSelector": namespace, "podSelector": labels}]));
        let two_items = rule(json!([{"namespaceSelector": namespace}, {"podSelector": labels}]));
        for (from, one, two) in [
            (pod("istio-system", "gateway"), true, true),
            (pod("istio-system", "other"), false, true),
            (pod("webapp", "gateway"), false, true),
            (pod("elsewhere", "gateway"), false, false),
        ] {
            assert_eq!(matches!(arrives(&one_item, &from, 1), Ruling::Allowed(_)), one, "{from:?}");
            assert_eq!(matches!(arrives(&two_items, &from, 1), Ruling::Allowed(_)), two, "{from:?}");
        }
    }

    #[test]
    fn ports_are_of_one_transport_and_may_be_a_range() {
        let rule = |ports: Value| vec![policy("p", json!({"podSelector": {}, "ingress": [{"ports": ports}]}))];
        let from = pod("webapp", "frontend");
        let passes = |ports: Value, port: u16| matches!(arrives(&rule(ports), &from, port), Ruling::Allowed(_));
        assert!(passes(json!([{"port": 5000}]), 5000) && !passes(json!([{"port": 5000}]), 5001));
        assert!(!passes(json!([{"protocol": "UDP", "port": 53}]), 53));
        assert!(passes(json!([{"port": 5000, "endPort": 5002}]), 5002));
        assert!(passes(json!([{"protocol": "TCP"}]), 1) && passes(json!([]), 1));
    }

    #[test]
    fn what_is_no_pod_is_chosen_by_an_address_only() {
        let outside = End::default();
        let from = pod("webapp", "frontend");
        let leaves = |spec: Value| egress(&[policy("p", spec)], &from, &outside, 443, Transport::Tcp);
        let egress_to = |to: Value| json!({"podSelector": {}, "egress": [{"to": to}]});
        assert!(matches!(leaves(egress_to(json!([{"namespaceSelector": {}}]))), Ruling::Denied(_)));
        assert!(matches!(leaves(egress_to(json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}]))), Ruling::Allowed(_)));
        assert!(matches!(leaves(json!({"podSelector": {}, "egress": [{}]})), Ruling::Allowed(_)));
    }
}
