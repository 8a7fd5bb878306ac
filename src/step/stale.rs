//! Pods of the lab that still run what was locked before.
//!
//! A tag stays when its bytes move, and an app keeps its name when its files change. The node then has the new image
//! under the old name, and every pod template is as it was: no controller has a reason to start a pod anew. Who installs
//! a newer lock over a running lab would keep the older lab. So the pods are deleted, and their controllers make them
//! again from what the node has under that name now. Sidecars are the same a step further: what injected them has
//! another image by now, and only a new pod is injected again.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde::Deserialize;

use super::{
    delivery::holds,
    graph::Step,
    images, preload,
    run::{Install, InstallError},
};
use crate::{
    base::reference::{normalize_reference, split_reference},
    cluster::{apply, manifest::describe, ownership::is_foreign},
    image::archive::ArchiveImage,
    proof::images::{Started, digest_of, started},
};

/// What the injector writes on a pod: which containers it added (istio 1.20.0, `pkg/kube/inject/inject.go`).
const INJECTED: &str = "sidecar.istio.io/status";

/// Starts the lab's pods of these namespaces again that run an image which is not the locked one under its name, where
/// the node has the locked one by now. `Pod NAMESPACE/NAME` of each.
///
/// # Errors
/// When the cluster or the node does not answer, or a pod does not go.
pub(super) async fn replace(install: &Install, step: Step, namespaces: &[&str]) -> Result<Vec<String>, InstallError> {
    let client = &install.cluster().await?.client;
    let images = images::of_lock(install.complete.lock(), install.node);
    let locked: BTreeMap<String, ArchiveImage> =
        images.into_iter().map(|image| (image.image.reference.clone(), image.image)).collect();
    let mut found = Vec::new();
    for namespace in namespaces {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default()).await;
        let pods = pods.map_err(|source| apply::unlisted(&format!("the pods of {namespace}"), source))?;
        found
            .extend(pods.items.into_iter().filter(|pod| is_stale(pod, &locked, |_| true)).map(|pod| (*namespace, pod)));
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // A run of this step alone may come before the images: a pod would start again with what it has.
    let on_node = preload::connect(install).await?.images(install.node).await?;
    let arrived = |image: &ArchiveImage| holds(&on_node, image);
    let mut leaving = Vec::new();
    for (namespace, pod) in found {
        if is_stale(&pod, &locked, arrived) && is_the_labs(client, namespace, &pod).await? {
            let name = pod.metadata.name.unwrap_or_default();
            leaving.push(DynamicObject::new(&name, &ApiResource::erase::<Pod>(&())).within(namespace));
        }
    }
    // Gone, not only told to go: a controller counts a pod until then, and a gate would open too early.
    apply::delete(client, &leaving, install.options.timeout, &install.waiting(step)).await?;
    Ok(leaving.iter().map(describe).collect())
}

/// Whether a pod that stays runs anything else than the lock has under the same name, or was injected with another tag of
/// it. Only images count that `arrived` on the node.
fn is_stale(pod: &Pod, locked: &BTreeMap<String, ArchiveImage>, arrived: impl Fn(&ArchiveImage) -> bool) -> bool {
    let injected = injected(pod);
    pod.metadata.deletion_timestamp.is_none()
        && started(pod).iter().any(|Started { container, image, id }| {
            let Some(runs) = digest_of(id) else { return false };
            let reference = normalize_reference(image);
            match locked.get(&reference) {
                Some(image) => !image.is(&runs) && arrived(image),
                None if injected.contains(container) && !locked.values().any(|image| image.is(&runs)) => {
                    let repository = split_reference(&reference);
                    let another_tag = |known: &&ArchiveImage| split_reference(&known.reference) == repository;
                    locked.values().filter(another_tag).any(&arrived)
                }
                None => false,
            }
        })
}

/// Names of the containers that the injector added.
fn injected(pod: &Pod) -> Vec<String> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Status {
        init_containers: Option<Vec<String>>,
        containers: Option<Vec<String>>,
    }
    let annotation = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(INJECTED));
    let status: Status = annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    status.init_containers.into_iter().chain(status.containers).flatten().collect()
}

/// Whether a controller of the lab, or of what the lab installs, makes such a pod anew. A StatefulSet would give it the
/// same name; the lab has none.
async fn is_the_labs(client: &Client, namespace: &str, pod: &Pod) -> Result<bool, InstallError> {
    let mut above = controller(&pod.metadata);
    while let Some(owner) = above {
        let mut types = ApiResource::erase::<ReplicaSet>(&());
        (types.api_version, types.kind) = (owner.api_version.clone(), owner.kind.clone());
        let Some(found) = apply::find(client, &DynamicObject::new(&owner.name, &types).within(namespace)).await? else {
            return Ok(false);
        };
        above = controller(&found.metadata);
        match owner.kind.as_str() {
            "ReplicaSet" if above.is_some() => {}
            kind @ ("ReplicaSet" | "Deployment" | "DaemonSet") => return Ok(!is_foreign(kind, &found.metadata)),
            _ => return Ok(false),
        }
    }
    Ok(false)
}

fn controller(metadata: &ObjectMeta) -> Option<OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::base::Descriptor;

    fn image(reference: &str, bytes: &str) -> (String, ArchiveImage) {
        let part = |kind: &str| Descriptor::of(format!("{kind} of {bytes}").as_bytes());
        let image = ArchiveImage {
            reference: reference.to_owned(),
            manifest: part("manifest"),
            config: part("config"),
            layers: Vec::new(),
            pinned: Some(part("index")),
        };
        (reference.to_owned(), image)
    }

    fn locked() -> BTreeMap<String, ArchiveImage> {
        [image("docker.io/library/web:v1", "new"), image("docker.io/istio/proxyv2:1.20.1", "proxy")].into()
    }

    fn pod(container: &str, asks: &str, runs: &str) -> Pod {
        let id = Descriptor::of(runs.as_bytes()).digest;
        from_value(json!({
            "metadata": {"name": "p", "annotations": {INJECTED: "{\"initContainers\":null,\"containers\":[\"istio-proxy\"]}"}},
            "spec": {"containers": [{"name": container, "image": asks}]},
            "status": {"containerStatuses": [{"name": container, "image": asks, "imageID": format!("docker://{id}"),
                "ready": true, "restartCount": 0}]}
        }))
        .unwrap()
    }

    #[test]
    fn what_runs_other_bytes_under_a_locked_name_is_stale() {
        for (container, asks, runs, stale) in [
            ("c", "web:v1", "config of old", true),
            ("c", "docker.io/library/web:v1", "config of new", false),
            ("c", "web:v1", "manifest of new", false),
            ("c", "web:v1", "index of new", false),
            // Somebody's own image in the lab's namespace is nobody's older image.
            ("c", "docker.io/library/other:v1", "config of old", false),
            // The injector has another image by now; a pod that asks for an older one by itself would never change.
            ("istio-proxy", "docker.io/istio/proxyv2:1.20.0", "config of old", true),
            ("c", "docker.io/istio/proxyv2:1.20.0", "config of old", false),
            ("istio-proxy", "docker.io/istio/proxyv2@sha256:abc", "config of proxy", false),
            // Injected, and nothing that the lock would have another tag of.
            ("istio-proxy", "localhost:5000/my/proxy:1", "config of old", false),
        ] {
            let pod = pod(container, asks, runs);
            assert_eq!(is_stale(&pod, &locked(), |_| true), stale, "{container} {asks} {runs}");
            assert!(!is_stale(&pod, &locked(), |_| false), "it would start again with what it has");
        }
    }

    #[test]
    fn what_goes_anyway_and_what_has_not_started_is_left_alone() {
        let mut going = pod("c", "web:v1", "config of old");
        going.metadata.deletion_timestamp = from_value(json!("2026-11-29T10:00:00Z")).unwrap();
        assert!(!is_stale(&going, &locked(), |_| true));
        let mut waiting = pod("c", "web:v1", "config of old");
        waiting.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0].image_id = String::new();
        assert!(!is_stale(&waiting, &locked(), |_| true));
    }
}
