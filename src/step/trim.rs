//! What a profile leaves out of the lab's objects. Upstream's texts are never edited: what is asked of Calico's operator
//! is, and that object is the lab's own.

use kube::api::DynamicObject;
use serde_json::json;

use crate::{
    intent::profile::{CSI_DRIVER, FLEXVOL_DRIVER},
    lockfile::Profile,
};

/// Fields of an Installation that leave a part out when they say `None` (tigera/operator v1.32.3,
/// `pkg/render/csi.go:404` and `pkg/render/node.go:889`).
const FIELDS: [(&str, &str); 2] = [(CSI_DRIVER, "kubeletVolumePluginPath"), (FLEXVOL_DRIVER, "flexVolumePath")];

/// The objects that a profile applies of these, as it applies them.
pub fn trimmed(objects: Vec<DynamicObject>, profile: &Profile) -> Vec<DynamicObject> {
    let stays = |object: &DynamicObject| deployment(object).is_none_or(|name| !profile.leaves_out(&name));
    objects
        .into_iter()
        .filter(stays)
        .map(|mut object| {
            if is_installation(&object) {
                for (_, field) in FIELDS.iter().filter(|(part, _)| profile.leaves_out(part)) {
                    object.data["spec"][*field] = json!("None");
                }
            }
            object
        })
        .collect()
}

/// What a profile leaves out of the lab's own objects, and they do not have: a Deployment that was renamed would be
/// installed everywhere.
pub(super) fn unknown<'lab>(objects: impl Iterator<Item = &'lab DynamicObject>, profile: &Profile) -> Vec<String> {
    let deployments: Vec<String> = objects.filter_map(deployment).collect();
    // A folder with a lock and a store, and nothing that would be applied.
    if deployments.is_empty() {
        return Vec::new();
    }
    let named = profile.without.iter().filter(|name| name.starts_with("deployment."));
    named.filter(|name| !deployments.contains(name)).cloned().collect()
}

/// A Deployment's name as a profile has it.
fn deployment(object: &DynamicObject) -> Option<String> {
    let types = object.types.as_ref()?;
    let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
    let name = object.metadata.name.as_deref()?;
    (types.kind == "Deployment").then(|| format!("deployment.{namespace}.{name}"))
}

fn is_installation(object: &DynamicObject) -> bool {
    let types = object.types.as_ref();
    types.is_some_and(|types| types.kind == "Installation" && types.api_version.starts_with("operator.tigera.io/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifest;

    fn objects() -> Vec<DynamicObject> {
        let text = "apiVersion: operator.tigera.io/v1\nkind: Installation\nmetadata: {name: default}\n\
                    spec: {flexVolumePath: /x/, calicoNetwork: {bgp: Enabled}}\n---\n\
                    apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: loadtest, namespace: webapp}\n---\n\
                    apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: loadtest, namespace: webapp}\n";
        manifest::parse("test.yaml", text).unwrap()
    }

    fn profile(without: &[&str]) -> Profile {
        Profile { without: without.iter().map(|name| (*name).to_owned()).collect(), ..Profile::default() }
    }

    #[test]
    fn full_changes_nothing() {
        assert_eq!(trimmed(objects(), &Profile::default()), objects());
    }

    #[test]
    fn a_part_is_left_out_by_its_field_and_a_deployment_alone() {
        let left = trimmed(objects(), &profile(&[CSI_DRIVER, FLEXVOL_DRIVER, "deployment.webapp.loadtest"]));
        let kinds: Vec<_> = left.iter().map(|object| object.types.as_ref().unwrap().kind.as_str()).collect();
        assert_eq!(kinds, ["Installation", "ServiceAccount"]);
        assert_eq!(
            left[0].data["spec"],
            json!({"flexVolumePath": "None", "kubeletVolumePluginPath": "None", "calicoNetwork": {"bgp": "Enabled"}})
        );
    }

    #[test]
    fn a_deployment_that_is_not_there_is_told() {
        let profile = profile(&["deployment.webapp.loadtest", "deployment.webapp.stress", "image.kiali"]);
        assert_eq!(unknown(objects().iter(), &profile), ["deployment.webapp.stress"]);
    }
}
