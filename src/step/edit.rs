//! An image of the app that is not the locked one, into a lab that runs: the changed layer to the node, then a
//! rollout of what uses the image.
//!
//! The tag stays, so the pods would not notice: an annotation with the image's digest in the pod template makes it a
//! rollout. Whoever installs the lab again takes the annotation away, because the manifests do not have it, and with
//! it goes the image.

use std::{sync::Arc, time::Duration};

use kube::api::DynamicObject;
use serde_json::json;

use super::{
    app::gates,
    delivery::{Delivery, holds},
    draft::Drafts,
    graph::Step,
    preload::{self, PreloadError},
    run::{Install, InstallError},
};
use crate::{
    base::{Digest, normalize_reference},
    cluster::manifest::containers_of,
    image::archive::ArchiveImage,
    node::Node,
};

/// The annotation of a pod template that runs an image which is not locked.
const ANNOTATION: &str = "ztlab.dev/unlocked-image";
/// A few kilobytes, or after a node was emptied one whole image.
const LOAD: Duration = Duration::from_secs(300);

/// An image and how it stands to the lock.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The image.
    pub image: ArchiveImage,
    /// Whether it is the lock's own: then the objects are the manifests' own, too.
    pub locked: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rolled {
    /// Bytes that went to the node.
    pub sent: u64,
    /// Kind and name of what was rolled out anew.
    pub changed: Vec<String>,
}

/// Brings the image into the node, rolls out what runs it, and waits until it is ready.
///
/// # Errors
/// When the node does not take the image, the cluster refuses, or the pods do not become ready.
pub async fn roll_out(install: &Install, edited: &Edited) -> Result<Rolled, InstallError> {
    let node = preload::connect(install).await?;
    let present = node.images(install.node).await?;
    let sent = if holds(&present, &edited.image) { 0 } else { load(install, &node, &edited.image).await? };
    let mut objects: Vec<DynamicObject> = install.objects().await?.app.clone();
    objects.retain(|object| uses(object, &edited.image.reference));
    if !edited.locked {
        for object in &mut objects {
            annotate(object, &edited.image.config.digest);
        }
    }
    let counts = install.apply(Step::App, &objects).await?;
    install.wait(Step::App, &gates(&objects)).await?;
    Ok(Rolled { sent, changed: counts.changed })
}

/// Only what the node lacks of it.
async fn load(install: &Install, node: &Node, image: &ArchiveImage) -> Result<u64, InstallError> {
    let blobs = install.complete.store().clone();
    let reporter = Arc::clone(&install.reporter);
    let delivery =
        Delivery { node, blobs, platform: install.node, deadline: LOAD, reporter, drafts: Drafts::default() };
    let moved = delivery.bring(vec![image.clone()], &install.waiting(Step::App)).await?;
    let present = node.images(install.node).await?;
    if holds(&present, image) { Ok(moved.sent) } else { Err(PreloadError::of([image], &present).into()) }
}

fn uses(object: &DynamicObject, reference: &str) -> bool {
    containers_of(object).iter().any(|container| container.image == normalize_reference(reference))
}

fn annotate(object: &mut DynamicObject, digest: &Digest) {
    object.data["spec"]["template"]["metadata"]["annotations"][ANNOTATION] = json!(digest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifest;

    fn deployment() -> DynamicObject {
        let yaml = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: webapp}\n\
                    spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: \"web:v1\"}]}}}\n";
        manifest::parse("test.yaml", yaml).unwrap().remove(0)
    }

    #[test]
    fn another_digest_is_another_pod_template_and_the_rest_stays() {
        let (mut one, mut other) = (deployment(), deployment());
        annotate(&mut one, &Digest::of(b"1"));
        annotate(&mut other, &Digest::of(b"2"));
        assert_ne!(one.data, other.data);
        one.data["spec"]["template"]["metadata"]["annotations"] = serde_json::Value::Null;
        assert_eq!(one.data["spec"]["template"]["metadata"]["labels"], json!({ "app": "web" }));
    }

    #[test]
    fn only_what_runs_the_image_is_rolled_out() {
        assert!(uses(&deployment(), "docker.io/library/web:v1"));
        assert!(!uses(&deployment(), "docker.io/library/web:v2"));
    }
}
