//! `ztlab store`: look at what is there, verify it, mend it, collect what nobody needs.

mod check;
mod collect;
mod known;
mod usage;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    base::Digest,
    lockfile::{self, ReadError},
    plan::Plan,
};

use super::{Context, fetch};

pub use check::{Damaged, VerifyOutcome, repair, verify};
pub use collect::{Collection, Told, UnknownLab, collect, look_for_garbage};
pub use known::{LabState, Standing, note, note_at};
pub use usage::{KindUsage, LabUsage, Usage, du};

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

fn lock_if_there(context: &Context) -> miette::Result<Option<lockfile::Lock>> {
    match lockfile::read(&context.lock_path()) {
        Ok(lock) => Ok(Some(lock)),
        Err(ReadError::Absent { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
