//! Ways to weaken a policy, enumerated by its own fields: what a proof must notice. Pure.
//!
//! A probe that stays green whatever happens to a policy proves nothing about it. So every policy object of the lab is
//! removed, and every part of it that narrows something is taken away, one at a time; for each such lab at least one probe
//! must turn red. `tests/mutations.rs` asks the rules ([`super::matrix::foresee`]), the rig asks a cluster.
//!
//! | object | weakened by |
//! |---|---|
//! | NetworkPolicy | removed; its selector, a direction, a rule's peers or ports, a peer's pod or namespace selector dropped; a peer's namespace widened to all |
//! | AuthorizationPolicy | removed; its selector, a rule's callers or operations, an operation's methods or paths dropped; a caller widened to every certificate, or to every account of the app; an empty one made to allow everything |
//! | PeerAuthentication | removed; PERMISSIVE; DISABLE; and the same two for one workload or the app's namespace by an object beside it |

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{
    matrix::{
        cells::{self, Call},
        foresee::foresee,
    },
    policy::Policies,
    prober,
    role::SEALED_NAMESPACE,
};

/// One way to weaken the lab by one object.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Mutation {
    /// Kind and name of the weakened policy.
    pub policy: String,
    /// What is done to it.
    pub change: String,
    /// The object as it then is, or the object beside it; none when it is removed.
    pub object: Option<DynamicObject>,
    /// Whether the object is a new one beside the policy.
    pub beside: bool,
}

/// The workloads of the app.
const WORKLOADS: [&str; 3] = ["backend", "frontend", "loadtest"];

/// Every mutation of one object; none for what is no policy.
pub fn mutations(object: &DynamicObject, app_namespace: &str) -> Vec<Mutation> {
    let kind = object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
    let spec = &object.data["spec"];
    let mut changes: Vec<(String, Value)> = match kind.as_str() {
        "NetworkPolicy" => network(spec),
        "AuthorizationPolicy" => authorization(spec, app_namespace),
        "PeerAuthentication" => ["PERMISSIVE", "DISABLE"]
            .map(|mode| (format!("mode {mode}"), changed(spec, "/mtls/mode", json!(mode))))
            .into(),
        _ => return Vec::new(),
    };
    changes.retain(|(_, mutated)| mutated != spec);
    let policy = format!("{kind} {}", object.metadata.name.as_deref().unwrap_or_default());
    let mutation = |change: String, object, beside| Mutation { policy: policy.clone(), change, object, beside };
    let mut all = vec![mutation("removed".to_owned(), None, false)];
    all.extend(changes.into_iter().map(|(change, spec)| {
        let mut mutated = object.clone();
        mutated.data["spec"] = spec;
        mutation(change, Some(mutated), false)
    }));
    if kind == "PeerAuthentication" {
        for mode in ["PERMISSIVE", "DISABLE"] {
            let whole = (format!("{mode} for the namespace {app_namespace}"), json!({"mtls": {"mode": mode}}));
            let each = WORKLOADS.map(|app| {
                let spec = json!({"selector": {"matchLabels": {"app": app}}, "mtls": {"mode": mode}});
                (format!("{mode} for {app}"), spec)
            });
            all.extend(each.into_iter().chain([whole]).map(|(change, spec)| {
                let mut beside = object.clone();
                beside.metadata.name = Some("weakened".to_owned());
                beside.metadata.namespace = Some(app_namespace.to_owned());
                beside.data["spec"] = spec;
                mutation(change, Some(beside), true)
            }));
        }
    }
    all
}

fn network(spec: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    if spec["podSelector"] != json!({}) {
        all.push(("its selector dropped".to_owned(), changed(spec, "/podSelector", json!({}))));
    }
    for (direction, rules, peers) in [("Ingress", "ingress", "from"), ("Egress", "egress", "to")] {
        let types = spec["policyTypes"].as_array().cloned().unwrap_or_default();
        let list = spec[rules].as_array().cloned().unwrap_or_default();
        if list.is_empty() && types.iter().any(|one| one == direction) {
            let others: Vec<Value> = types.iter().filter(|one| *one != direction).cloned().collect();
            if !others.is_empty() {
                all.push((format!("{direction} dropped"), changed(spec, "/policyTypes", json!(others))));
            }
            all.push((format!("{direction}: everything allowed"), changed(spec, &format!("/{rules}"), json!([{}]))));
        }
        for (number, rule) in list.iter().enumerate() {
            let at = format!("/{rules}/{number}");
            let place = if list.len() > 1 { format!("{rules} rule {}", number + 1) } else { rules.to_owned() };
            for part in [peers, "ports"] {
                if !rule[part].is_null() {
                    all.push((format!("{place}: `{part}` dropped"), without(spec, &at, part)));
                }
            }
            let items = rule[peers].as_array().into_iter().flatten();
            for (index, peer) in items.enumerate() {
                let at = format!("{at}/{peers}/{index}");
                let place = format!("{place}: {} {}", peers, said(peer));
                match (&peer["namespaceSelector"], &peer["podSelector"]) {
                    (Value::Null, Value::Null) => {}
                    (Value::Null, _) => {
                        all.push((format!("{place}: any pod"), changed(spec, &format!("{at}/podSelector"), json!({}))));
                        let everywhere = changed(spec, &format!("{at}/namespaceSelector"), json!({}));
                        all.push((format!("{place}: of any namespace"), everywhere));
                    }
                    (_, pods) => {
                        if !pods.is_null() {
                            all.push((format!("{place}: pod selector dropped"), without(spec, &at, "podSelector")));
                            let narrowed = without(spec, &at, "namespaceSelector");
                            all.push((format!("{place}: namespace selector dropped"), narrowed));
                        }
                        let everywhere = changed(spec, &format!("{at}/namespaceSelector"), json!({}));
                        all.push((format!("{place}: of any namespace"), everywhere));
                    }
                }
            }
        }
    }
    all
}

/// The labels that a peer asks for, to tell it from its neighbours.
fn said(peer: &Value) -> String {
    let labels = ["podSelector", "namespaceSelector"].into_iter().filter_map(|selector| {
        let labels = peer[selector]["matchLabels"].as_object()?;
        Some(labels.values().filter_map(Value::as_str).collect::<Vec<_>>().join("+"))
    });
    labels.collect::<Vec<_>>().join(" in ")
}

fn authorization(spec: &Value, app_namespace: &str) -> Vec<(String, Value)> {
    let rules = spec["rules"].as_array().cloned().unwrap_or_default();
    if rules.is_empty() {
        return vec![("everything allowed".to_owned(), changed(spec, "/rules", json!([{}])))];
    }
    let mut all = Vec::new();
    if !spec["selector"].is_null() {
        all.push(("its selector dropped".to_owned(), without(spec, "", "selector")));
    }
    for (number, rule) in rules.iter().enumerate() {
        let at = format!("/rules/{number}");
        for part in ["from", "to"] {
            if !rule[part].is_null() {
                all.push((format!("`{part}` dropped"), without(spec, &at, part)));
            }
        }
        for (index, item) in rule["from"].as_array().into_iter().flatten().enumerate() {
            let names = item["source"]["principals"].as_array().into_iter().flatten().filter_map(Value::as_str);
            for (place, name) in names.enumerate() {
                let at = format!("{at}/from/{index}/source/principals/{place}");
                let short = name.rsplit('/').next().unwrap_or_default();
                all.push((format!("caller {short}: any certificate"), changed(spec, &at, json!("*"))));
                let accounts = format!("cluster.local/ns/{app_namespace}/sa/*");
                all.push((format!("caller {short}: any account of the app"), changed(spec, &at, json!(accounts))));
            }
        }
        for (index, item) in rule["to"].as_array().into_iter().flatten().enumerate() {
            for part in ["methods", "paths"] {
                if !item["operation"][part].is_null() {
                    all.push((format!("`{part}` dropped"), without(spec, &format!("{at}/to/{index}/operation"), part)));
                    let any = json!([if part == "paths" { "/*" } else { "*" }]);
                    let at = format!("{at}/to/{index}/operation/{part}");
                    all.push((format!("`{part}`: any"), changed(spec, &at, any)));
                }
            }
        }
    }
    all
}

/// The value with one place set; the last part of the path may be new.
fn changed(value: &Value, path: &str, to: Value) -> Value {
    let mut mutated = value.clone();
    if mutated.is_null() {
        mutated = json!({});
    }
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    match mutated.pointer_mut(above) {
        Some(Value::Object(object)) => {
            object.insert(last.to_owned(), to);
        }
        Some(Value::Array(items)) => {
            if let Some(item) = last.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                *item = to;
            }
        }
        _ => {}
    }
    mutated
}

/// The value with a key taken out of the object at a place.
fn without(value: &Value, path: &str, key: &str) -> Value {
    let mut mutated = value.clone();
    if let Some(Value::Object(object)) = mutated.pointer_mut(path) {
        object.remove(key);
    }
    mutated
}

/// The lab's policies with one mutation.
pub fn mutated(objects: &[DynamicObject], original: &DynamicObject, mutation: &Mutation) -> Vec<DynamicObject> {
    let others = objects.iter().filter(|object| mutation.beside || *object != original).cloned();
    others.chain(mutation.object.clone()).collect()
}

/// The probes that a lab with these policies would turn red, as far as the rules tell: the calls that would end otherwise.
pub fn foreseen_red(objects: &[DynamicObject], app_namespace: &str) -> Vec<(&'static str, Call)> {
    let mut policies = Policies::of(objects.iter().cloned());
    let copies = policies.denying_copies(app_namespace, SEALED_NAMESPACE);
    let ways = prober::ways(app_namespace).into_iter().filter_map(|way| serde_json::from_value(way).ok());
    policies.network.extend(copies.into_iter().chain(ways));
    let tables = [("packets", cells::packets()), ("requests", cells::requests()), ("default-deny", cells::sealed())];
    let all = tables.into_iter().flat_map(|(probe, calls)| calls.into_iter().map(move |call| (probe, call)));
    all.filter(|(_, call)| foresee(&policies, app_namespace, call).fate != call.expected).collect()
}
