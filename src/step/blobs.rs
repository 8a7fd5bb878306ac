//! Hashes what an install is made of: first what the cluster starts from, the rest while it starts. Then reads what the
//! archives for the node follow from, so that only the node's own list is missing when it is there.

use std::collections::BTreeSet;

use super::{
    graph::Step,
    images::{self, Role},
    preflight::PreflightError,
    report::Done,
    run::{Install, InstallError},
};
use crate::{
    base::{Descriptor, Digest, human_bytes},
    plan::hurt_artifacts,
};

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let (count, bytes) = check(install, Step::Blobs, late(install)).await?;
    let images = install.drafts().await?.count();
    let bytes = human_bytes(bytes);
    Ok(Done::unchanged(format!(
        "{count} more blobs ({bytes}) are the locked ones, the archives of {images} images are drafted"
    )))
}

/// Hashes everything but what only the lab's pods need; number and bytes of the blobs.
pub(super) async fn check_early(install: &Install) -> Result<(usize, u64), InstallError> {
    let late: BTreeSet<Digest> = late(install).into_iter().map(|blob| blob.digest).collect();
    let early = install.complete.descriptors().filter(|blob| !late.contains(&blob.digest)).collect();
    check(install, Step::Preflight, early).await
}

/// Blobs that are parts of the lab's pods' images and of nothing else.
fn late(install: &Install) -> Vec<Descriptor> {
    let lock = install.complete.lock();
    let mut late = BTreeSet::new();
    let mut early = BTreeSet::new();
    for image in images::of_lock(lock, install.node) {
        let set = if image.role == Role::Workload { &mut late } else { &mut early };
        set.extend(image.image.layers.iter().chain([&image.image.config, &image.image.manifest]).copied());
    }
    late.difference(&early).copied().collect()
}

async fn check(install: &Install, step: Step, blobs: Vec<Descriptor>) -> Result<(usize, u64), InstallError> {
    let sum = (blobs.len(), blobs.iter().map(|blob| blob.size).sum());
    install.waiting(step)(format!("{} blobs ({}) to be hashed again", sum.0, human_bytes(sum.1)));
    let (store, reporter) = (install.complete.store().clone(), install.reporter.clone());
    let damaged = tokio::task::spawn_blocking(move || store.verify(blobs, reporter.as_ref()))
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    let hurt = hurt_artifacts(install.complete.lock(), &damaged);
    if hurt.is_empty() { Ok(sum) } else { Err(PreflightError::Damaged(hurt).into()) }
}
