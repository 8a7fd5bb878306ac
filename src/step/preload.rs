//! Every image into the node's runtime, then read back: the proof is the runtime's own answer, not our exit code.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    delivery::{Delivered, Delivery, configs, holds_all},
    draft::Drafts,
    graph::{Step, Target},
    images::{self, LabImage, Role},
    report::Done,
    run::{Install, InstallError},
};
use crate::{
    base::{Platform, Reporter, human_bytes},
    cluster::wait::Gate,
    demand::calico::is_calicos,
    image::archive::ArchiveImage,
    node::{ImageId, Node, NodeAddress},
    plan::Complete,
};

/// 1.5 GiB of images took two minutes on two cores; a laptop on battery may take several times that.
pub(super) const LOAD: Duration = Duration::from_secs(1800);

/// The node's images are not the locked ones.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the node's images are not the locked ones:\n{}", .findings.join("\n"))]
#[diagnostic(
    code("preload::proof"),
    help("run the same command again: it loads what is missing; `ztlab verify --probe images-present` shows the rest")
)]
pub(super) struct PreloadError {
    pub(super) findings: Vec<String>,
}

impl PreloadError {
    /// The images that the node does not have as it should.
    pub(super) fn of<'image>(
        images: impl IntoIterator<Item = &'image ArchiveImage>,
        present: &BTreeMap<String, ImageId>,
    ) -> Self {
        let line = |image: &ArchiveImage| {
            let found = |name: &str| present.get(name).map_or("nothing".to_owned(), |id| id.config.to_string());
            let (name, expected) = (&image.reference, image.config.digest);
            match image.digest_name() {
                Some(by_digest) if present.get(name).is_some_and(|id| id.config == expected) => {
                    format!("  {by_digest}: expected {expected}, found {}", found(&by_digest))
                }
                _ => format!("  {name}: expected {expected}, found {}", found(name)),
            }
        };
        Self { findings: images.into_iter().map(line).collect() }
    }
}

/// What a preload found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preloaded {
    /// Image ID by reference, as read back.
    pub images: BTreeMap<String, String>,
    /// References of those that had to be brought.
    pub loaded: Vec<String>,
    /// Bytes that went to the node.
    pub sent: u64,
    /// Bytes of layers of these images that the node had already.
    pub left_out: u64,
    /// Streams that had to be sent again in full, because the node had thrown away what it had listed.
    pub resent: usize,
}

/// The part of the images that a step brings: the pod network first, so that it settles while the rest comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Calico's, and what the cluster itself started from.
    Network,
    /// All others.
    Rest,
}

impl Share {
    fn step(self) -> Step {
        match self {
            Self::Network => Step::Preload,
            Self::Rest => Step::Images,
        }
    }

    /// Whether an image belongs to it.
    pub(super) fn has(self, image: &LabImage) -> bool {
        let network = image.role == Role::Bootstrap || is_calicos(&image.image.reference);
        network == (self == Self::Network)
    }
}

pub(super) async fn run(install: &Install, share: Share) -> Result<Done, InstallError> {
    if share == Share::Network {
        // A Docker or a machine that was started again has its node before the node has its API server.
        install.wait(Step::Preload, &[Gate::NodeRegistered]).await?;
    }
    let node = connect(install).await?;
    let mut images = expected(install);
    images.retain(|image| share.has(image));
    let (blobs, reporter) = (&install.complete, &install.reporter);
    let drafts = install.drafts().await?.clone();
    let loaded = fill(&node, &images, blobs, install.node, reporter, drafts, &install.waiting(share.step())).await?;
    let total = loaded.images.len();
    if loaded.loaded.is_empty() {
        return Ok(Done::unchanged(format!("the node holds all {total} images under their locked digests")));
    }
    let had = if loaded.left_out == 0 {
        String::new()
    } else {
        format!(", {} of layers were there already", human_bytes(loaded.left_out))
    };
    Ok(Done::changed(format!(
        "{} images loaded ({}{had}), all {total} read back by digest",
        loaded.loaded.len(),
        human_bytes(loaded.sent),
    )))
}

/// Brings what is missing of some images into a node, and reads all of them back. `drafts` are what was read of them
/// before, none at all is fine. `said` hears what is waited for.
///
/// # Errors
/// When the node does not take an image, or lists another ID than the locked one afterwards.
pub async fn fill(
    node: &Node,
    images: &[LabImage],
    complete: &Complete,
    platform: Platform,
    reporter: &Arc<dyn Reporter>,
    drafts: Drafts,
    said: &(dyn Fn(String) + Send + Sync),
) -> Result<Preloaded, InstallError> {
    let node = node.clone().knowing(configs(images.iter().map(|image| &image.image)));
    let mut present = node.images(platform).await?;
    let lacks = |present: &BTreeMap<String, ImageId>| {
        let images = images.iter().map(|image| image.image.clone());
        images.filter(|image| !holds_all(&node, present, image)).collect::<Vec<_>>()
    };
    let missing = lacks(&present);
    let loaded: Vec<String> = missing.iter().map(|image| image.reference.clone()).collect();
    let mut moved = Delivered::default();
    if !missing.is_empty() {
        said(format!("{} images to be loaded", missing.len()));
        let (blobs, reporter) = (complete.clone(), Arc::clone(reporter));
        let delivery = Delivery { node: &node, blobs, platform, deadline: LOAD, reporter, drafts };
        moved = delivery.bring(missing, said).await?;
        present = node.images(platform).await?;
        let still = lacks(&present);
        if !still.is_empty() {
            return Err(PreloadError::of(&still, &present).into());
        }
    }
    let read_back = images.iter().filter_map(|image| {
        let reference = &image.image.reference;
        Some((reference.clone(), present.get(reference)?.config.to_string()))
    });
    let Delivered { sent, left_out, resent } = moved;
    Ok(Preloaded { images: read_back.collect(), loaded, sent, left_out, resent })
}

/// The node's runtime. Which one it is, the cluster's Node object says.
pub(super) async fn connect(install: &Install) -> Result<Node, InstallError> {
    let runtime = install.cluster().await?.runtime_version().await?;
    let address = match &install.target {
        Target::Minikube { cluster, .. } => NodeAddress::Docker { container: cluster.clone() },
        Target::Existing { node, .. } => node.clone(),
    };
    let images = images::of_lock(install.complete.lock(), install.node);
    Ok(Node::new(&address, &runtime, &install.environment)?.knowing(configs(images.iter().map(|image| &image.image))))
}

/// The images that must be in the node. A cluster that was there before brought its own control plane.
pub(super) fn expected(install: &Install) -> Vec<LabImage> {
    let ours = matches!(install.target, Target::Minikube { .. });
    images::of_lock(install.complete.lock(), install.node)
        .into_iter()
        .filter(|image| image.role == Role::Workload || (ours && image.role == Role::Bootstrap))
        .collect()
}
