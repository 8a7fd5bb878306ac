//! What a cluster really asked for: every container of every pod, and the images that its node has. Written by
//! `ztlab install --record`, to be held against what was foreseen.
//!
//! It names owners, not pods: a pod's name is another one after every start, and two records of the same lab are to be
//! equal. A pod that is gone when the record is made is not in it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use crate::base::normalize_reference;

/// The schema that this version of ztlab reads and writes.
pub const SCHEMA: u32 = 1;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// The lab's name.
    pub lab: String,
    /// The lab's identity.
    pub lab_id: String,
    /// How much of the lab was installed; records from before there were profiles are of `full`.
    #[serde(default = "full")]
    pub profile: String,
    /// Whether ztlab made the cluster: then everything in it is the lab's.
    pub own_cluster: bool,
    /// Every container, sorted, each once.
    pub containers: Vec<RecordedContainer>,
    /// What the node's runtime lists: full reference → image ID.
    pub node_images: BTreeMap<String, String>,
}

/// One container as a pod asked for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedContainer {
    /// The pod's namespace.
    pub namespace: String,
    /// Who made the pod: `DaemonSet calico-node`, `Deployment istiod`, `static pod etcd`, `Pod storage-provisioner`.
    pub owner: String,
    /// `init container install-cni`, `container calico-node`, `ephemeral container debugger`.
    pub container: String,
    /// The image's full reference, as the pod asked for it.
    pub image: String,
    /// What the runtime says it started; absent for a container that was not started.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image_id: Option<String>,
}

/// The profile of every lab, by the word that the intent has for it.
fn full() -> String {
    "full".to_owned()
}

/// The containers of these pods.
pub fn containers(pods: &[Pod]) -> Vec<RecordedContainer> {
    let mut containers: Vec<RecordedContainer> = pods.iter().flat_map(of_pod).collect();
    containers.sort();
    containers.dedup();
    containers
}

fn of_pod(pod: &Pod) -> Vec<RecordedContainer> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let owner = owner(pod);
    let status = pod.status.iter();
    let statuses = status.flat_map(|status| {
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses]
    });
    let ids: BTreeMap<&str, &str> = statuses
        .flatten()
        .flatten()
        .filter(|one| !one.image_id.is_empty())
        .map(|one| (one.name.as_str(), one.image_id.as_str()))
        .collect();
    let Some(spec) = &pod.spec else { return Vec::new() };
    let init = spec.init_containers.iter().flatten().map(|one| ("init container", &one.name, &one.image));
    let main = spec.containers.iter().map(|one| ("container", &one.name, &one.image));
    let late = spec.ephemeral_containers.iter().flatten().map(|one| ("ephemeral container", &one.name, &one.image));
    init.chain(main)
        .chain(late)
        .filter_map(|(kind, name, image)| {
            Some(RecordedContainer {
                namespace: namespace.clone(),
                owner: owner.clone(),
                container: format!("{kind} {name}"),
                image: normalize_reference(image.as_deref()?),
                image_id: ids.get(name.as_str()).map(|id| (*id).to_owned()),
            })
        })
        .collect()
}

/// Who made a pod. A Deployment's pods belong to a ReplicaSet that is called after the hash of its template.
fn owner(pod: &Pod) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let owners = pod.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.max_by_key(|owner| owner.controller == Some(true)) else { return format!("Pod {name}") };
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    match (owner.kind.as_str(), hash) {
        ("ReplicaSet", Some(hash)) => match owner.name.strip_suffix(&format!("-{hash}")) {
            Some(deployment) => format!("Deployment {deployment}"),
            None => format!("ReplicaSet {}", owner.name),
        },
        // The kubelet mirrors its files as pods, each with the node's name behind its own.
        ("Node", _) => format!("static pod {}", name.strip_suffix(&format!("-{}", owner.name)).unwrap_or(name)),
        (kind, _) => format!("{kind} {}", owner.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pod(name: &str, owner: serde_json::Value, spec: serde_json::Value) -> Pod {
        from_value(json!({
            "metadata": {"name": name, "namespace": "n", "labels": {"pod-template-hash": "abc12"}, "ownerReferences": owner},
            "spec": spec,
            "status": {"containerStatuses": [{"name": "c", "image": "a:1", "imageID": "docker://sha256:00", "ready": true, "restartCount": 0}]}
        }))
        .unwrap()
    }

    fn by(kind: &str, name: &str) -> serde_json::Value {
        json!([{"apiVersion": "x/v1", "kind": kind, "name": name, "uid": "u", "controller": true}])
    }

    #[test]
    fn every_kind_of_container_is_recorded_with_its_owner() {
        let spec = json!({
            "initContainers": [{"name": "i", "image": "quay.io/a/i:1"}],
            "containers": [{"name": "c", "image": "a:1"}],
            "ephemeralContainers": [{"name": "e", "image": "busybox"}]
        });
        let one = pod("web-abc12-x1", by("ReplicaSet", "web-abc12"), spec.clone());
        let two = pod("web-abc12-x2", by("ReplicaSet", "web-abc12"), spec);
        let found: Vec<_> = containers(&[one, two])
            .into_iter()
            .map(|one| (one.owner, one.container, one.image, one.image_id))
            .collect();
        let expected = [
            ("container c", "docker.io/library/a:1", Some("docker://sha256:00")),
            ("ephemeral container e", "docker.io/library/busybox:latest", None),
            ("init container i", "quay.io/a/i:1", None),
        ];
        let expected = expected.map(|(container, image, id)| {
            ("Deployment web".to_owned(), container.to_owned(), image.to_owned(), id.map(str::to_owned))
        });
        assert_eq!(found, expected, "two pods of one Deployment are one owner");
    }

    #[test]
    fn owners_have_names_that_stay() {
        let spec = json!({"containers": []});
        for (name, owners, expected) in [
            ("calico-node-6dp6z", by("DaemonSet", "calico-node"), "DaemonSet calico-node"),
            ("etcd-ztlab", by("Node", "ztlab"), "static pod etcd"),
            ("storage-provisioner", json!([]), "Pod storage-provisioner"),
            ("odd", by("ReplicaSet", "odd"), "ReplicaSet odd"),
        ] {
            assert_eq!(owner(&pod(name, owners, spec.clone())), expected);
        }
    }

    /// Pods of a real cluster: Calico 3.27.0 by its operator, Istio 1.20.0, an app in a labelled namespace.
    fn recorded() -> Vec<RecordedContainer> {
        let list: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/recorded/pods.json")).unwrap();
        let pods: Vec<Pod> =
            list["items"].as_array().unwrap().iter().map(|pod| from_value(pod.clone()).unwrap()).collect();
        containers(&pods)
    }

    /// `Deployment calico-system/calico-typha, container calico-typha` and image, as the tables have it.
    fn in_namespace(recorded: &[RecordedContainer], namespace: &str) -> Vec<(String, String)> {
        let inside = recorded.iter().filter(|one| one.namespace == namespace);
        let mut found: Vec<_> = inside
            .map(|one| (one.owner.replace(' ', &format!(" {namespace}/")) + ", " + &one.container, one.image.clone()))
            .collect();
        found.sort();
        found
    }

    fn told(asks: Vec<crate::demand::Ask>) -> Vec<(String, String)> {
        let mut told: Vec<_> = asks
            .into_iter()
            .map(|ask| match ask.wanted {
                crate::demand::Wanted::Image(image) => (ask.place, image),
                other => panic!("{other:?}"),
            })
            .collect();
        told.sort();
        told
    }

    #[test]
    fn the_table_of_the_operator_is_what_a_real_operator_made() {
        let yaml = include_str!("../../manifests/cluster/01-installation.yaml");
        let objects = crate::cluster::manifest::parse("installation", yaml).unwrap();
        let sources = [crate::demand::Source { name: "installation", step: "calico", objects: &objects }];
        let told = told(crate::demand::calico::asks("1.32.3", &sources).unwrap());
        assert_eq!(told, in_namespace(&recorded(), "calico-system"));
    }

    #[test]
    fn the_table_of_istio_is_what_a_real_istioctl_started() {
        let charts = told(crate::demand::istio::asks("1.20.0", &[], false).unwrap());
        let mut found = in_namespace(&recorded(), "istio-system");
        found.retain(|(place, _)| !place.contains("/prometheus,"));
        assert_eq!(charts, found);
        let injected: Vec<_> = in_namespace(&recorded(), "meshtest")
            .into_iter()
            .filter(|(_, image)| image == "docker.io/istio/proxyv2:1.20.0")
            .map(|(place, _)| place.split(", ").nth(1).unwrap().to_owned())
            .collect();
        assert_eq!(injected[..2], ["container istio-proxy", "init container istio-init"]);
        assert_eq!(injected.len(), 6, "three pods");
    }
}
