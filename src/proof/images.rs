//! Images: what the node has, and what the running containers were started from.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::{Findings, KnownImage, ProofContext};
use crate::{
    base::{Digest, normalize_reference},
    node::ImageId,
};

/// Every expected image is on the node under its reference, with the locked config digest.
pub async fn present(context: &ProofContext<'_>) -> Findings {
    let Some(node) = &context.node else {
        return Findings::skipped(
            "the node's runtime cannot be asked: give `--node docker:CONTAINER` or `--node containerd:SOCKET`",
        );
    };
    match node.images(context.platform).await {
        Ok(images) => judge_present(&context.images, &images),
        Err(error) => Findings::could_not("list the node's images", &error),
    }
}

fn judge_present(locked: &BTreeMap<String, KnownImage>, on_node: &BTreeMap<String, ImageId>) -> Findings {
    let expected: Vec<_> = locked.iter().filter(|(_, image)| image.expected_on_node).collect();
    let mut wrong = Vec::new();
    for (reference, image) in &expected {
        match on_node.get(&normalize_reference(reference)) {
            None => wrong.push(format!("{reference} is not on the node")),
            Some(id) if image.is(&id.config) => {}
            Some(id) => wrong.push(format!("{reference} has the ID {}, the lock says {}", id.config, image.config)),
        }
    }
    let total = expected.len();
    if wrong.is_empty() {
        return Findings::passed(vec![format!("{total} of {total} images have their locked digest")], "");
    }
    Findings::failed(
        format!("{} of {total} images are missing or other than locked: {}", wrong.len(), wrong[0]),
        wrong,
        "",
    )
}

/// Every container of every pod runs a locked image.
pub async fn running(context: &ProofContext<'_>) -> Findings {
    match Api::<Pod>::all(context.client.clone()).list(&ListParams::default()).await {
        Ok(pods) => {
            let judged = |namespace: &str| {
                context.judge_all_namespaces
                    || namespace == context.app_namespace
                    || context.own_namespaces.iter().any(|own| own == namespace)
            };
            judge_running(&context.images, &pods.items, judged)
        }
        Err(error) => Findings::could_not("list the pods", &error),
    }
}

fn judge_running(locked: &BTreeMap<String, KnownImage>, pods: &[Pod], judged: impl Fn(&str) -> bool) -> Findings {
    let mut wrong = Vec::new();
    let mut containers = 0;
    let mut elsewhere = BTreeSet::new();
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        if !judged(namespace) {
            elsewhere.insert(namespace.to_owned());
            continue;
        }
        let place = format!("{namespace}/{}", pod.metadata.name.as_deref().unwrap_or_default());
        for Started { container, image, id } in started(pod) {
            containers += 1;
            if let Some(reason) = not_locked(locked, &image, &id) {
                wrong.push(format!("{place} {container}: {reason}"));
            }
        }
    }
    let mut evidence = vec![format!("{} of {containers} containers run locked images", containers - wrong.len())];
    if !elsewhere.is_empty() {
        let names = elsewhere.into_iter().collect::<Vec<_>>().join(", ");
        evidence.push(format!("not judged, because the lab did not make them: {names}"));
    }
    match wrong.first().cloned() {
        None if containers == 0 => Findings::failed("no container runs", evidence, ""),
        None => Findings::passed(evidence, ""),
        Some(first) => {
            evidence.extend(wrong);
            Findings::failed(first, evidence, "")
        }
    }
}

/// A container that has been started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its name in the pod.
    pub container: String,
    /// The image that the pod asked for, in its words.
    pub image: String,
    /// The image ID that the runtime told.
    pub id: String,
}

/// Every container of a pod that has been started, init containers first.
pub fn started(pod: &Pod) -> Vec<Started> {
    let spec = pod.spec.iter();
    let asked: BTreeMap<&str, &str> = spec
        .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
        .filter_map(|container| Some((container.name.as_str(), container.image.as_deref()?)))
        .collect();
    let status = pod.status.iter();
    let all =
        status.flat_map(|status| [&status.init_container_statuses, &status.container_statuses]).flatten().flatten();
    all.filter(|status| !status.image_id.is_empty())
        .map(|status| {
            let image = asked.get(status.name.as_str()).copied().unwrap_or(status.image.as_str());
            Started { container: status.name.clone(), image: image.to_owned(), id: status.image_id.clone() }
        })
        .collect()
}

/// Why a container's image is not what the lock says, or `None` when it is.
fn not_locked(locked: &BTreeMap<String, KnownImage>, asked: &str, image_id: &str) -> Option<String> {
    let reference = normalize_reference(asked);
    let Some(digest) = digest_of(image_id) else { return Some(format!("its image ID `{image_id}` holds no digest")) };
    match locked.get(&reference) {
        Some(image) if image.is(&digest) => None,
        Some(image) => Some(format!("{reference} runs as {digest}, the lock says {}", image.config)),
        // A pod may ask by digest, or by another name of the same bytes.
        None if locked.values().any(|image| image.is(&digest)) => None,
        None => Some(format!("{reference} is not in the lock (it runs as {digest})")),
    }
}

/// The digest in an image ID: `sha256:…`, `docker://sha256:…`, `docker-pullable://name@sha256:…` or `name@sha256:…`.
pub fn digest_of(image_id: &str) -> Option<Digest> {
    image_id.rfind("sha256:").and_then(|start| image_id[start..].parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn known(name: &str) -> KnownImage {
        let digest = |kind: &str| Digest::of(format!("{kind} of {name}").as_bytes());
        KnownImage {
            index: Some(digest("index")),
            manifest: digest("manifest"),
            config: digest("config"),
            expected_on_node: true,
        }
    }

    fn locked() -> BTreeMap<String, KnownImage> {
        ["docker.io/library/nginx:1", "quay.io/kiali/kiali:v1.76"].map(|name| (name.to_owned(), known(name))).into()
    }

    fn pod(namespace: &str, image: &str, image_id: &str) -> Pod {
        from_value(json!({
            "metadata": {"namespace": namespace, "name": "p"},
            "spec": {"containers": [{"name": "c", "image": image}]},
            "status": {"containerStatuses": [{"name": "c", "image": image, "imageID": image_id, "ready": true, "restartCount": 0}]}
        }))
        .unwrap()
    }

    #[test]
    fn an_image_id_is_read_in_every_spelling() {
        let config = known("x").config;
        for prefix in ["", "docker://", "docker-pullable://docker.io/library/nginx@", "docker.io/library/nginx@"] {
            assert_eq!(digest_of(&format!("{prefix}{config}")), Some(config), "{prefix}");
        }
        assert_eq!(digest_of("nginx:1"), None);
    }

    #[test]
    fn a_missing_and_a_changed_image_are_named() {
        let id = |name: &str| ImageId { config: known(name).config, target: None };
        let mut on_node: BTreeMap<_, _> = locked().keys().map(|name| (name.clone(), id(name))).collect();
        assert!(matches!(judge_present(&locked(), &on_node).outcome, super::super::Outcome::Passed));

        on_node.insert("docker.io/library/nginx:1".to_owned(), id("other"));
        on_node.remove("quay.io/kiali/kiali:v1.76");
        let findings = judge_present(&locked(), &on_node);
        assert!(findings.evidence[0].contains("nginx:1 has the ID"), "{findings:?}");
        assert!(findings.evidence[1].contains("kiali:v1.76 is not on the node"), "{findings:?}");
    }

    #[test]
    fn what_runs_must_be_what_is_locked_under_that_name() {
        let nginx = known("docker.io/library/nginx:1");
        for (image, id, passes) in [
            ("nginx:1", nginx.config.to_string(), true),
            ("docker.io/library/nginx:1", format!("docker.io/library/nginx@{}", nginx.manifest), true),
            ("docker.io/library/nginx:1", format!("docker-pullable://nginx@{}", nginx.index.unwrap()), true),
            ("docker.io/library/nginx:1", known("other").config.to_string(), false),
            ("docker.io/library/nginx:1", known("quay.io/kiali/kiali:v1.76").config.to_string(), false),
            ("docker.io/library/busybox:1", known("other").config.to_string(), false),
        ] {
            let findings = judge_running(&locked(), &[pod("webapp", image, &id)], |_| true);
            assert_eq!(findings.outcome == super::super::Outcome::Passed, passes, "{image} {id}");
        }
    }

    #[test]
    fn namespaces_of_others_are_noted_and_not_judged() {
        let nginx = known("docker.io/library/nginx:1").config.to_string();
        let pods = [pod("webapp", "nginx:1", &nginx), pod("somebody", "busybox:1", "sha256:0")];
        let findings = judge_running(&locked(), &pods, |namespace| namespace == "webapp");
        assert_eq!(findings.outcome, super::super::Outcome::Passed);
        assert!(findings.evidence[1].contains("somebody"), "{findings:?}");
        assert!(matches!(judge_running(&locked(), &[], |_| true).outcome, super::super::Outcome::Failed { .. }));
    }
}
