//! Policies as their manifest says them, and nothing beside. Pure.
//!
//! Server-side apply merges: a field that the manifest does not have stays as somebody else set it. In most objects that
//! is meant so, in a policy it is a hole. `deny-all` has an empty spec, so it has no field that could be taken from us,
//! and one rule more in it allows everything; `default-deny` with one `ingress` more is no denial. Therefore a policy in
//! the cluster is compared with what the server itself makes of the manifest.
//!
//! Roles and bindings need none of this: their lists are replaced as a whole, so whoever adds to one conflicts.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde_json::{Map, Value};

use super::FIELD_MANAGER;

/// Kinds that say who may talk to whom, and as whom, by their group. Not all of a group: Calico's own programs write
/// into its settings (`FelixConfiguration`), and may.
const POLICIES: [(&str, &[&str]); 4] = [
    ("networking.k8s.io", &["NetworkPolicy"]),
    ("security.istio.io", &["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"]),
    ("projectcalico.org", &["NetworkPolicy", "GlobalNetworkPolicy"]),
    ("crd.projectcalico.org", &["NetworkPolicy", "GlobalNetworkPolicy"]),
];
/// Labels and annotations below this name change what a policy does: `istio.io/dry-run` makes an AuthorizationPolicy
/// one that only writes lines, `istio.io/rev` one that another control plane reads.
const STEERING: &str = "istio.io";

/// Whether an object of the manifest is to be in the cluster exactly so.
pub(super) fn is_meant_exactly(object: &DynamicObject) -> bool {
    let Some(types) = &object.types else { return false };
    let group = types.api_version.split_once('/').map_or("", |(group, _)| group);
    POLICIES.iter().any(|(of, kinds)| *of == group && kinds.contains(&types.kind.as_str()))
}

/// A copy that the server would give a name of its own: it can be made beside the one that is there, in a dry run.
pub(super) fn nameless(object: &DynamicObject) -> DynamicObject {
    let mut copy = object.clone();
    copy.metadata.name = None;
    copy.metadata.generate_name = Some(format!("{FIELD_MANAGER}-"));
    copy
}

/// The merge patch (RFC 7386) that makes what a policy does the same as in another one; `None` when it is.
pub(super) fn mending(found: &DynamicObject, meant: &DynamicObject) -> Option<Value> {
    let patch = between(&content(found), &content(meant));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The fields that a patch touches, as the API server writes them: `.spec.rules`.
pub(super) fn fields(patch: &Value) -> Vec<String> {
    paths(patch).iter().map(|path| written(path)).collect()
}

/// Who set the fields that a patch touches, in the API server's own words for a conflict; empty when nobody but us did.
pub(super) fn strangers(found: &DynamicObject, patch: &Value) -> String {
    let paths = paths(patch);
    let mut lines = Vec::new();
    for entry in found.metadata.managed_fields.iter().flatten() {
        let (manager, fields) = (entry.manager.as_deref().unwrap_or("unknown"), entry.fields_v1.as_ref());
        let Some(fields) = fields.filter(|_| manager != FIELD_MANAGER) else { continue };
        let owned = paths.iter().filter(|path| owns(&fields.0, path)).map(|path| written(path));
        lines.extend(owned.map(|field| format!("conflict with \"{manager}\": {field}")));
    }
    lines.dedup();
    lines.join("; ")
}

/// What decides: everything but what the server and the lab's people may write beside a policy.
fn content(object: &DynamicObject) -> Map<String, Value> {
    let mut content = object.data.as_object().cloned().unwrap_or_default();
    content.remove("status");
    let steering = |names: Option<&BTreeMap<String, String>>| -> Map<String, Value> {
        let steers = |name: &str| {
            let domain = name.split_once('/').map_or("", |(domain, _)| domain);
            domain.strip_suffix(STEERING).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        names
            .into_iter()
            .flatten()
            .filter(|(name, _)| steers(name))
            .map(|(name, to)| (name.clone(), to.clone().into()))
            .collect()
    };
    let metadata = &object.metadata;
    let names =
        [("labels", steering(metadata.labels.as_ref())), ("annotations", steering(metadata.annotations.as_ref()))];
    let metadata = names.map(|(field, names)| (field.to_owned(), Value::Object(names)));
    content.insert("metadata".to_owned(), Value::Object(metadata.into_iter().collect()));
    content
}

fn between(found: &Map<String, Value>, meant: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, is) in found {
        match (is, meant.get(key)) {
            (_, None) => {
                patch.insert(key.clone(), Value::Null);
            }
            (Value::Object(is), Some(Value::Object(to))) => {
                let inner = between(is, to);
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (is, Some(to)) if is != to => {
                patch.insert(key.clone(), to.clone());
            }
            _ => {}
        }
    }
    patch.extend(meant.iter().filter(|(key, _)| !found.contains_key(*key)).map(|(key, to)| (key.clone(), to.clone())));
    patch
}

/// The ends of a patch.
fn paths(patch: &Value) -> Vec<Vec<&str>> {
    let Value::Object(fields) = patch else { return vec![Vec::new()] };
    if fields.is_empty() {
        return vec![Vec::new()];
    }
    let longer = |(key, value)| paths(value).into_iter().map(move |path| [&[key], &path[..]].concat());
    fields.iter().map(|(key, value)| (key.as_str(), value)).flat_map(longer).collect()
}

fn written(path: &[&str]) -> String {
    path.iter().map(|step| format!(".{step}")).collect()
}

/// Whether an entry of `managedFields` has a field, or the list or map as a whole that the field is in
/// (Kubernetes, `FieldsV1`: `f:NAME` is a field, an empty one is owned with all that is in it).
fn owns(fields: &Value, path: &[&str]) -> bool {
    let mut here = fields;
    for (depth, step) in path.iter().enumerate() {
        match here.get(format!("f:{step}")) {
            Some(inner) => here = inner,
            // `f:spec: {}` alone is a spec that was made empty, with nothing in it to own.
            None => return depth > 1 && here.as_object().is_some_and(Map::is_empty),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn policy(spec: Value, annotations: Value, managers: Value) -> DynamicObject {
        from_value(json!({"apiVersion": "security.istio.io/v1beta1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "deny-all", "namespace": "webapp", "annotations": annotations, "managedFields": managers},
            "spec": spec, "status": {"observedGeneration": 1}}))
        .unwrap()
    }

    fn mended(found: Value, meant: Value) -> Option<Value> {
        mending(&policy(found, json!({}), json!([])), &policy(meant, json!({}), json!([])))
    }

    #[test]
    fn what_is_added_is_taken_away_and_what_is_gone_comes_back() {
        assert_eq!(mended(json!({}), json!({})), None);
        assert_eq!(mended(json!({"rules": [{}]}), json!({})), Some(json!({"spec": {"rules": null}})));
        assert_eq!(mended(json!({"mtls": {"mode": "STRICT"}}), json!({"mtls": {"mode": "STRICT"}})), None);
        let found = json!({"mtls": {"mode": "STRICT"}, "portLevelMtls": {"80": {"mode": "DISABLE"}}});
        let patch = mended(found, json!({"mtls": {"mode": "STRICT"}, "selector": {"a": "b"}}));
        assert_eq!(patch, Some(json!({"spec": {"portLevelMtls": null, "selector": {"a": "b"}}})));
        // A list has an order and no names: it is replaced as a whole.
        assert_eq!(mended(json!({"rules": [1, 2]}), json!({"rules": [1]})), Some(json!({"spec": {"rules": [1]}})));
    }

    #[test]
    fn an_annotation_that_disarms_a_policy_is_seen_and_a_remark_is_not() {
        let bare = policy(json!({}), json!({}), json!([]));
        let remark = policy(json!({}), json!({"school.example/remark": "mine"}), json!([]));
        assert_eq!(mending(&remark, &bare), None);
        let disarmed = policy(json!({}), json!({"istio.io/dry-run": "true"}), json!([]));
        let patch = mending(&disarmed, &bare).unwrap();
        assert_eq!(patch, json!({"metadata": {"annotations": {"istio.io/dry-run": null}}}));
        assert_eq!(fields(&patch), [".metadata.annotations.istio.io/dry-run"]);
    }

    #[test]
    fn who_set_what_is_told_in_the_servers_own_words() {
        let managers = json!([
            {"manager": "ztlab", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
            {"manager": "kubectl-create", "operation": "Update", "fieldsV1": {"f:spec": {}}},
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:rules": {}, "f:action": {}}}}]);
        let found = policy(json!({"rules": [{}], "action": "ALLOW"}), json!({}), managers);
        let patch = mending(&found, &policy(json!({}), json!({}), json!([]))).unwrap();
        assert_eq!(
            strangers(&found, &patch),
            "conflict with \"kubectl-edit\": .spec.rules; conflict with \"kubectl-edit\": .spec.action"
        );
        let ours = json!([{"manager": "ztlab", "operation": "Apply", "fieldsV1": {"f:spec": {"f:rules": {}}}}]);
        let found = policy(json!({"rules": [{}]}), json!({}), ours);
        let patch = mending(&found, &policy(json!({}), json!({}), json!([]))).unwrap();
        assert_eq!(strangers(&found, &patch), "");
    }

    #[test]
    fn a_map_that_is_owned_as_a_whole_is_owned_with_all_that_is_in_it() {
        let fields = json!({"f:spec": {"f:podSelector": {}}});
        assert!(owns(&fields, &["spec", "podSelector", "matchLabels"]));
        assert!(!owns(&fields, &["spec", "ingress"]));
        assert!(!owns(&json!({"f:spec": {}}), &["spec", "rules"]));
    }

    #[test]
    fn policies_are_meant_exactly_and_workloads_are_not() {
        let of = |version: &str, kind: &str| -> DynamicObject {
            from_value(json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}})).unwrap()
        };
        assert!(is_meant_exactly(&of("security.istio.io/v1", "PeerAuthentication")));
        assert!(is_meant_exactly(&of("networking.k8s.io/v1", "NetworkPolicy")));
        assert!(is_meant_exactly(&of("projectcalico.org/v3", "GlobalNetworkPolicy")));
        assert!(!is_meant_exactly(&of("networking.k8s.io/v1", "Ingress")));
        assert!(!is_meant_exactly(&of("crd.projectcalico.org/v1", "FelixConfiguration")));
        assert!(!is_meant_exactly(&of("v1", "Namespace")));
    }
}
