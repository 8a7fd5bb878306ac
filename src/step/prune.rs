//! Deletes what an earlier version of the lab, or another of its profiles, applied and this one does not have.

use std::{collections::BTreeSet, time::Duration};

use kube::api::DynamicObject;

use super::{
    graph::Step,
    objects::LabObjects,
    report::Done,
    run::{Install, InstallError},
    undo,
};
use crate::{
    base::Event,
    cluster::{manifest::describe, ownership::Inventory},
    proof::role::{OUTSIDE_NAMESPACE, SEALED_NAMESPACE},
};

/// A few pods of an add-on that is gone.
const DEADLINE: Duration = Duration::from_secs(180);

/// What an object is known by: group, kind, namespace, name. Not its version: that is a way to write it.
type Key = (String, String, String, String);

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let client = &install.cluster().await?.client;
    let inventory = Inventory::of(client).await?;
    let ours = inventory.ours().await?;
    let left = superfluous(&ours, install.objects().await?);
    if left.is_empty() {
        return Ok(Done::unchanged(format!("{} objects are ztlab's, and this lab has each", ours.len())));
    }
    let names: Vec<String> = left.iter().map(describe).collect();
    let removal = inventory.remove(&left, DEADLINE, &install.waiting(Step::Prune)).await?;
    for line in &removal.kept {
        install.reporter.report(Event::Warning { text: format!("kept: {line}") });
    }
    let detail = format!("{} objects that this lab does not have any more: {}", removal.deleted, names.join(", "));
    Ok(if removal.deleted == 0 { Done::unchanged(detail) } else { Done::changed(detail) })
}

/// Objects of ztlab that a lab does not have.
pub(super) fn superfluous(ours: &[DynamicObject], lab: &LabObjects) -> Vec<DynamicObject> {
    let groups = [&lab.operator, &lab.cluster, &lab.policies, &lab.app, &lab.addons];
    let mut wanted: BTreeSet<Key> = groups.into_iter().flatten().map(key).collect();
    wanted.insert(key(&undo::receipt()));
    // The mesh's namespace carries ztlab's note of what installed it; the probes clean up after themselves.
    let kept = |object: &DynamicObject| {
        let (_, kind, namespace, name) = key(object);
        [OUTSIDE_NAMESPACE, SEALED_NAMESPACE].contains(&namespace.as_str())
            || (kind == "Namespace" && [OUTSIDE_NAMESPACE, SEALED_NAMESPACE, "istio-system"].contains(&name.as_str()))
    };
    // What a file gives no namespace goes into `default`.
    let has = |object: &DynamicObject| {
        let (group, kind, namespace, name) = key(object);
        let unsaid = (group, kind, String::new(), name);
        wanted.contains(&key(object)) || (namespace == "default" && wanted.contains(&unsaid))
    };
    ours.iter().filter(|object| !has(object) && !kept(object)).cloned().collect()
}

fn key(object: &DynamicObject) -> Key {
    let types = object.types.as_ref();
    let version = types.map_or("", |types| types.api_version.as_str());
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let kind = types.map_or("", |types| types.kind.as_str());
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    (group.to_owned(), kind.to_owned(), namespace, object.metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifest;

    fn objects(text: &str) -> Vec<DynamicObject> {
        manifest::parse("test.yaml", text).unwrap()
    }

    #[test]
    fn only_what_the_lab_does_not_have_is_superfluous() {
        let lab = LabObjects {
            app: objects(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend, namespace: webapp}\n---\n\
                 apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nowhere}\n",
            ),
            ..LabObjects::default()
        };
        let ours = objects(
            "apiVersion: apps/v1beta2\nkind: Deployment\nmetadata: {name: backend, namespace: webapp}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend-v0, namespace: webapp}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend, namespace: elsewhere}\n---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ztlab-receipt, namespace: kube-system}\n---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nowhere, namespace: default}\n---\n\
             apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ztlab-probe}\n",
        );
        let names: Vec<String> = superfluous(&ours, &lab).iter().map(describe).collect();
        assert_eq!(names, ["Deployment webapp/backend-v0", "Deployment elsewhere/backend"]);
    }
}
