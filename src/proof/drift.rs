//! From the lock by the manifest to what runs: at which of the three does an image differ?

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use super::{Findings, KnownImage, ProofContext, images::digest_of};
use crate::{base::normalize_reference, cluster::manifest::containers_of};

/// One container that the lab's manifests ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// `Deployment`, `DaemonSet` or `StatefulSet`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The container.
    pub container: String,
    /// The image's full reference in the manifest.
    pub image: String,
}

/// What the cluster has of a workload.
struct Found {
    object: Option<DynamicObject>,
    pods: Vec<Pod>,
}

/// Lock, manifest, the cluster's object and the running container agree for every container of the lab's manifests.
pub async fn drift(context: &ProofContext<'_>) -> Findings {
    let found = join_all(context.workloads.iter().map(|wanted| look(context, wanted))).await;
    let mut judged = Vec::new();
    for (wanted, found) in context.workloads.iter().zip(found) {
        match found {
            Ok(found) => judged.push(judge(&context.images, wanted, &found)),
            Err(error) => return Findings::could_not("read the workloads", &error),
        }
    }
    if judged.is_empty() {
        return Findings::skipped("the lab's manifests start nothing");
    }
    let evidence: Vec<String> = judged.iter().map(|one| one.as_ref().map_or_else(Clone::clone, Clone::clone)).collect();
    match judged.into_iter().find_map(Result::err) {
        None => Findings::passed(evidence, ""),
        Some(first) => Findings::failed(first, evidence, ""),
    }
}

async fn look(context: &ProofContext<'_>, wanted: &Wanted) -> Result<Found, kube::Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", &wanted.kind));
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), &wanted.namespace, &resource);
    let object = api.get_opt(&wanted.name).await?;
    let labels =
        object.as_ref().and_then(|object| object.data.pointer("/spec/selector/matchLabels")?.as_object().cloned());
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .chain([format!("!{}", super::prober::PROBE_LABEL)])
        .collect();
    let pods = Api::<Pod>::namespaced(context.client.clone(), &wanted.namespace);
    let pods = pods.list(&ListParams::default().labels(&selector.join(","))).await?.items;
    Ok(Found { object, pods })
}

/// One line: what agrees, or the first place where it does not.
fn judge(locked: &BTreeMap<String, KnownImage>, wanted: &Wanted, found: &Found) -> Result<String, String> {
    let Wanted { kind, namespace, name, container, image } = wanted;
    let place = format!("{kind} {namespace}/{name}, container {container}");
    let Some(known) = locked.get(&normalize_reference(image)) else {
        return Err(format!("{place}: lock → manifest: the manifest asks for {image}, which the lock does not have"));
    };
    let Some(object) = &found.object else { return Err(format!("{place}: manifest → cluster: it is not there")) };
    let in_cluster = containers_of(object).into_iter().find(|one| one.container == *container);
    match in_cluster.map(|one| one.image) {
        Some(there) if there == normalize_reference(image) => {}
        Some(there) => return Err(format!("{place}: manifest → cluster: {image} became {there}")),
        None => return Err(format!("{place}: manifest → cluster: the container is gone")),
    }
    let replicas = object.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let alive = found.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let mut running = 0;
    for status in alive.filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()).flatten() {
        if status.name != *container || status.image_id.is_empty() {
            continue;
        }
        match digest_of(&status.image_id) {
            Some(digest) if known.is(&digest) => running += 1,
            _ => {
                return Err(format!(
                    "{place}: cluster → running: {} runs, the lock says {}",
                    status.image_id, known.config
                ));
            }
        }
    }
    if running == 0 && replicas > 0 {
        return Err(format!("{place}: cluster → running: {replicas} wanted, none runs"));
    }
    Ok(format!("{place}: lock = manifest = cluster = {running} running, {}", known.config.short()))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::base::Digest;

    const IMAGE: &str = "docker.io/library/simple-backend:v1";

    fn wanted() -> Wanted {
        let text = |text: &str| text.to_owned();
        Wanted {
            kind: text("Deployment"),
            namespace: text("webapp"),
            name: text("backend"),
            container: text("backend"),
            image: text(IMAGE),
        }
    }

    fn known() -> KnownImage {
        let of = |text: &str| Digest::of(text.as_bytes());
        KnownImage { index: None, manifest: of("manifest"), config: of("config"), expected_on_node: true }
    }

    fn found(image: &str, image_id: &str) -> Found {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "backend", "namespace": "webapp"},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "backend", "image": image}]}}}});
        let pod = json!({"metadata": {"name": "backend-1"}, "status": {"containerStatuses": [
            {"name": "backend", "image": image, "imageID": image_id, "ready": true, "restartCount": 0}]}});
        Found { object: Some(from_value(object).unwrap()), pods: vec![from_value(pod).unwrap()] }
    }

    #[test]
    fn each_place_where_an_image_can_drift_is_told() {
        let locked = BTreeMap::from([(IMAGE.to_owned(), known())]);
        let right = format!("docker://{}", known().config);
        assert!(judge(&locked, &wanted(), &found(IMAGE, &right)).unwrap().contains("1 running"));
        let gone = Found { object: None, pods: vec![] };
        let stopped = Found { pods: vec![], ..found(IMAGE, &right) };
        for (locked, found, says) in [
            (&BTreeMap::new(), found(IMAGE, &right), "lock → manifest"),
            (&locked, gone, "manifest → cluster: it is not there"),
            (&locked, found("docker.io/library/simple-backend:v2", &right), "manifest → cluster"),
            (&locked, found(IMAGE, &Digest::of(b"other").to_string()), "cluster → running"),
            (&locked, stopped, "none runs"),
        ] {
            let what = judge(locked, &wanted(), &found).unwrap_err();
            assert!(what.contains(says), "{what}");
        }
    }
}
