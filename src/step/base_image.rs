//! The node's own image (kicbase) in the host's Docker, loaded with the docker command line.
//!
//! Minikube is started with the tag alone, which is then a plain look-up in `docker images`: with the digest it
//! would ask two registries first (kubernetes/minikube v1.32.0, `pkg/minikube/node/cache.go:119-172`).

use std::sync::Arc;

use super::{
    delivery::{Delivery, holds},
    draft::Drafts,
    graph::Step,
    images::{self, Role},
    preload::LOAD,
    report::Done,
    run::{Install, InstallError},
    setup::MissingEntry,
};
use crate::{base::human_bytes, image::archive::ArchiveImage, node::Node};

/// Docker took the image and shows something else: its containerd store prints an error and still exits with 0.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("Docker holds {reference} as {found}, expected {expected}")]
#[diagnostic(code("preload::base_image"), help("type `docker image rm {reference}`, then `ztlab install` again"))]
pub(super) struct BaseImageError {
    reference: String,
    expected: String,
    found: String,
}

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let image = node_base(install)?;
    let docker = Node::machine_docker(&install.environment);
    if holds(&docker.images(install.node).await?, &image) {
        return Ok(Done::unchanged(format!("Docker has {} with the locked ID", image.reference)));
    }
    let delivery = Delivery {
        node: &docker,
        blobs: install.complete.clone(),
        platform: install.node,
        deadline: LOAD,
        reporter: Arc::clone(&install.reporter),
        drafts: Drafts::default(),
    };
    let moved = delivery.bring(vec![image.clone()], &install.waiting(Step::BaseImage)).await?;
    let found = docker.images(install.node).await?;
    if !holds(&found, &image) {
        return Err(BaseImageError {
            expected: format!("{} or {}", image.config.digest, image.manifest.digest),
            found: found.get(&image.reference).map_or("nothing".to_owned(), |id| id.config.to_string()),
            reference: image.reference,
        }
        .into());
    }
    Ok(Done::changed(format!("{} loaded ({}) and read back", image.reference, human_bytes(moved.sent))))
}

/// The lock's image for Minikube's node.
pub(super) fn node_base(install: &Install) -> Result<ArchiveImage, MissingEntry> {
    images::of_lock(install.complete.lock(), install.node)
        .into_iter()
        .find(|image| image.role == Role::NodeBase)
        .map(|image| image.image)
        .ok_or(MissingEntry { entry: "image", name: "kicbase" })
}
