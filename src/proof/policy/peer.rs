//! PeerAuthentications: the mode that holds for a workload, and the object that says so.

use kube::api::DynamicObject;
use serde_json::Value;

use super::{End, chooses, name, namespace};
use crate::proof::mesh::ISTIO_NAMESPACE;

/// What a workload takes from its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Mutual TLS only.
    Strict,
    /// Mutual TLS and plain text.
    Permissive,
    /// Plain text only.
    Disable,
}

/// The mode for a port of a workload: its own setting comes before its namespace's, that before the mesh's, and nothing
/// at all means PERMISSIVE. Of several on one level the oldest counts, as Istio has it.
pub fn mode(policies: &[DynamicObject], workload: &End, port: u16) -> (Mode, String) {
    let selective = |object: &DynamicObject| object.data.pointer("/spec/selector/matchLabels").is_some();
    let levels = [(workload.namespace.as_str(), true), (workload.namespace.as_str(), false), (ISTIO_NAMESPACE, false)];
    for (place, by_labels) in levels {
        let concerned = |object: &&DynamicObject| {
            namespace(object) == place
                && selective(object) == by_labels
                && chooses(&object.data["spec"]["selector"], &workload.labels)
        };
        let mut found: Vec<&DynamicObject> = policies.iter().filter(concerned).collect();
        found.sort_by_key(|object| object.metadata.creation_timestamp.clone());
        let Some(object) = found.first() else { continue };
        let spec = &object.data["spec"];
        let of_port = &spec["portLevelMtls"][port.to_string()]["mode"];
        let said = [of_port, &spec["mtls"]["mode"]].into_iter().find_map(Value::as_str);
        let mode = match said {
            Some("STRICT") => Mode::Strict,
            Some("PERMISSIVE") => Mode::Permissive,
            Some("DISABLE") => Mode::Disable,
            _ => continue,
        };
        return (mode, format!("PeerAuthentication {}", name(object)));
    }
    (Mode::Permissive, "no PeerAuthentication".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn peer(name: &str, namespace: &str, spec: Value) -> DynamicObject {
        from_value(json!({"apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}))
        .unwrap()
    }

    #[test]
    fn the_nearest_setting_counts_and_unset_asks_the_next() {
        let workload = End {
            namespace: "webapp".to_owned(),
            labels: [("app".to_owned(), "backend".to_owned())].into(),
            is_pod: true,
        };
        let mesh = peer("default", "istio-system", json!({"mtls": {"mode": "STRICT"}}));
        let of = |policies: &[DynamicObject]| mode(policies, &workload, 5000).0;
        assert_eq!(of(&[]), Mode::Permissive);
        assert_eq!(of(std::slice::from_ref(&mesh)), Mode::Strict);
        let own = |spec: Value| peer("own", "webapp", spec);
        let selector = json!({"matchLabels": {"app": "backend"}});
        let disabled = own(json!({"selector": selector, "mtls": {"mode": "DISABLE"}}));
        assert_eq!(of(&[mesh.clone(), disabled]), Mode::Disable);
        let unset = own(json!({"selector": selector, "mtls": {"mode": "UNSET"}}));
        assert_eq!(of(&[mesh.clone(), unset]), Mode::Strict);
        let port = own(json!({"selector": selector, "portLevelMtls": {"5000": {"mode": "PERMISSIVE"}}}));
        assert_eq!(of(&[mesh.clone(), port]), Mode::Permissive);
        let others = own(json!({"selector": {"matchLabels": {"app": "frontend"}}, "mtls": {"mode": "DISABLE"}}));
        assert_eq!(of(&[mesh, others]), Mode::Strict);
    }
}
