//! `ztlab store verify` and `ztlab store repair`.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::{
    base::{Descriptor, Digest},
    fetch::blocking,
    plan::{DamagedArtifact, hurt_artifacts},
    store::{DamagedBlob, Fault, Store},
};

use super::{Context, fetch, known, lock_if_there};

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

/// Re-hashes every blob on all cores: this lab's, absent ones included, and whatever else is there.
///
/// # Errors
/// [`Damaged`], naming every artifact that is hurt.
pub async fn verify(context: &Context) -> miette::Result<VerifyOutcome> {
    let store = context.open_store()?;
    let (outcome, damaged) = examine(context, store).await?;
    if damaged.is_empty() { Ok(outcome) } else { Err(damaged.into()) }
}

/// Removes damaged blobs, fetches this lab's anew, and puts the store's other files right. Blobs that were never
/// there are fetched too.
///
/// # Errors
/// As `fetch`; and [`Damaged`] when something is left that only another lab's fetch can mend.
pub async fn repair(
    context: &Context,
    request: &fetch::Request,
    builder: Option<Arc<dyn fetch::AppBuilder>>,
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
    if !damaged.faults.is_empty() {
        store.mend()?;
        known::renew_damaged(&store)?;
        if damaged.faults.iter().any(|fault| fault.path.ends_with("index.json")) {
            known::name_all(context, &store)?;
        }
    }
    if !damaged.is_empty() && context.lock_path().exists() {
        fetch::run(context, request, builder).await?;
    }
    let faults = store.faults()?;
    if !faults.is_empty() {
        return Err(Damaged { artifacts: Vec::new(), others: Vec::new(), faults }.into());
    }
    outcome.mended = damaged.faults;
    outcome.repaired = bad;
    Ok(outcome)
}

async fn examine(context: &Context, store: Store) -> miette::Result<(VerifyOutcome, Damaged)> {
    let lock = lock_if_there(context)?.unwrap_or_default();
    let reporter = Arc::clone(&context.reporter);
    blocking(move || {
        // This lab's blobs with their locked lengths, absent ones included; everything else as it lies there.
        let ours: BTreeMap<Digest, Descriptor> = lock
            .artifacts()
            .iter()
            .flat_map(|artifact| artifact.blobs.iter().map(|blob| (blob.descriptor.digest, blob.descriptor)))
            .collect();
        let others = store.everything()?.into_iter().filter(|blob| !ours.contains_key(&blob.digest));
        let blobs: Vec<Descriptor> = ours.values().copied().chain(others).collect();
        // First: re-hashing writes to the ledger, and thereby cuts off a damaged last line.
        let faults = store.faults()?;
        let damaged = store.verify(blobs.clone(), reporter.as_ref());
        let artifacts = hurt_artifacts(&lock, &damaged);
        let others = damaged.into_iter().filter(|found| !ours.contains_key(&found.descriptor.digest)).collect();
        let bytes = blobs.iter().map(|blob| blob.size).sum();
        let outcome = VerifyOutcome { blobs: blobs.len(), bytes, repaired: Vec::new(), mended: Vec::new() };
        Ok((outcome, Damaged { artifacts, others, faults }))
    })
    .await
}
