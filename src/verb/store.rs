//! `ztlab store`: look at what is there, verify it, mend it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::{Descriptor, Digest},
    fetch::blocking,
    lockfile::{self, ReadError},
    plan::{DamagedArtifact, Plan, hurt_artifacts},
    store::{DamagedBlob, Fault, Store},
};

use super::{Context, fetch};

/// What `store ls` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Blobs of this lab, and then those of others.
    pub blobs: Vec<ListedBlob>,
    /// All bytes.
    pub bytes: u64,
    /// How many blobs of this lab are not there.
    pub missing: usize,
}

/// One blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedBlob {
    /// Its name.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Artifacts of this lab that need it; empty for a blob of another lab.
    pub needed_by: Vec<String>,
}

/// What `store verify` and `store repair` looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyOutcome {
    /// Blobs re-hashed.
    pub blobs: usize,
    /// Bytes re-hashed.
    pub bytes: u64,
    /// Blobs that were damaged and are whole again.
    pub repaired: Vec<Digest>,
    /// Other files of the store that were put right.
    pub mended: Vec<Fault>,
}

/// The store holds bytes that are not what their names say.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the store is damaged\n{}", told(.artifacts, .others, .faults))]
#[diagnostic(
    code(integrity::store),
    help(
        "with a network, `ztlab store repair` fetches the damaged blobs again, and only those; it puts the other files right"
    )
)]
pub struct Damaged {
    /// What this lab needs.
    pub artifacts: Vec<DamagedArtifact>,
    /// What other labs may need.
    pub others: Vec<DamagedBlob>,
    /// Files of the store that are no blobs.
    pub faults: Vec<Fault>,
}

impl Damaged {
    fn is_empty(&self) -> bool {
        self.artifacts.is_empty() && self.others.is_empty() && self.faults.is_empty()
    }
}

fn told(artifacts: &[DamagedArtifact], others: &[DamagedBlob], faults: &[Fault]) -> String {
    let ours =
        artifacts.iter().map(|found| format!("  {}: {} {}", found.artifact, found.descriptor.digest, found.damage));
    let theirs =
        others.iter().map(|found| format!("  another lab's blob: {} {}", found.descriptor.digest, found.damage));
    let files = faults.iter().map(|fault| format!("  {}: {}", fault.path.display(), fault.problem));
    ours.chain(theirs).chain(files).collect::<Vec<_>>().join("\n")
}

/// Lists what is there.
///
/// # Errors
/// When store or lock cannot be read; no lock is no error.
pub fn ls(context: &Context) -> miette::Result<Listing> {
    let store = context.open_store()?;
    let present = store.present()?;
    let plan = lock_if_there(context)?.map(|lock| Plan::new(&lock, &present, &[])).unwrap_or_default();
    let mut blobs: Vec<ListedBlob> = plan
        .present
        .iter()
        .map(|blob| ListedBlob {
            digest: blob.descriptor.digest,
            size: blob.descriptor.size,
            needed_by: blob.needed_by.iter().cloned().collect(),
        })
        .collect();
    blobs.sort_by(|one, other| (&one.needed_by, one.digest).cmp(&(&other.needed_by, other.digest)));
    let ours: BTreeSet<Digest> = blobs.iter().map(|blob| blob.digest).collect();
    let others = present.iter().filter(|(digest, _)| !ours.contains(digest));
    blobs.extend(others.map(|(digest, size)| ListedBlob { digest: *digest, size: *size, needed_by: Vec::new() }));
    Ok(Listing { blobs, bytes: present.values().sum(), missing: plan.missing.len() })
}

/// Re-hashes every blob on all cores: this lab's, absent ones included, and whatever else is there.
///
/// # Errors
/// [`Damaged`], naming every artifact that is hurt.
pub async fn verify(context: &Context) -> miette::Result<VerifyOutcome> {
    let store = context.open_store()?;
    let (outcome, damaged) = examine(context, store).await?;
    if damaged.is_empty() { Ok(outcome) } else { Err(damaged.into()) }
}

/// Removes damaged blobs and fetches this lab's anew. Blobs that were never there are fetched too.
///
/// # Errors
/// As `fetch`.
pub async fn repair(
    context: &Context,
    request: &fetch::Request,
    builder: Option<std::sync::Arc<dyn fetch::AppBuilder>>,
) -> miette::Result<VerifyOutcome> {
    let store = context.open_store()?;
    let (mut outcome, damaged) = examine(context, store.clone()).await?;
    let ours = damaged.artifacts.iter().map(|found| found.descriptor.digest);
    let mut bad: Vec<Digest> = ours.chain(damaged.others.iter().map(|found| found.descriptor.digest)).collect();
    bad.sort_unstable();
    bad.dedup();
    for digest in &bad {
        store.discard(digest)?;
    }
    store.mend()?;
    if !bad.is_empty() || !damaged.faults.is_empty() {
        fetch::run(context, request, builder).await?;
    }
    outcome.mended = damaged.faults;
    outcome.repaired = bad;
    Ok(outcome)
}

async fn examine(context: &Context, store: Store) -> miette::Result<(VerifyOutcome, Damaged)> {
    let lock = lock_if_there(context)?.unwrap_or_default();
    let reporter = std::sync::Arc::clone(&context.reporter);
    blocking(move || {
        // This lab's blobs with their locked lengths, absent ones included; everything else as it lies there.
        let ours: BTreeMap<Digest, Descriptor> = lock
            .artifacts()
            .iter()
            .flat_map(|artifact| artifact.blobs.iter().map(|blob| (blob.descriptor.digest, blob.descriptor)))
            .collect();
        let others = store.everything()?.into_iter().filter(|blob| !ours.contains_key(&blob.digest));
        let blobs: Vec<Descriptor> = ours.values().copied().chain(others).collect();
        let damaged = store.verify(blobs.clone(), reporter.as_ref());
        let artifacts = hurt_artifacts(&lock, &damaged);
        let others = damaged.into_iter().filter(|found| !ours.contains_key(&found.descriptor.digest)).collect();
        let bytes = blobs.iter().map(|blob| blob.size).sum();
        let outcome = VerifyOutcome { blobs: blobs.len(), bytes, repaired: Vec::new(), mended: Vec::new() };
        Ok((outcome, Damaged { artifacts, others, faults: store.faults()? }))
    })
    .await
}

fn lock_if_there(context: &Context) -> miette::Result<Option<lockfile::Lock>> {
    match lockfile::read(&context.lock_path()) {
        Ok(lock) => Ok(Some(lock)),
        Err(ReadError::Absent { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
