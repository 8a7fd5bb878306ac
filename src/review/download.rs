//! What a change costs: bytes that whoever has the old lab still has to download.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::Digest,
    lockfile::{Artifact, Lock, NeededBlob, Origin},
};

/// Bytes to download. A blob that several entries share is counted once, at the first of them in the lock's order:
/// so the entries' numbers add up to the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Download {
    /// Bytes for whoever has every blob of the old lock.
    pub update: u64,
    /// Bytes for whoever has nothing.
    pub full: u64,
    /// Entries of the new lock whose bytes are not all known yet: with them it is more.
    pub unknown: usize,
    /// The part of `update` that each entry adds, by artifact; entries that add nothing are left out.
    #[serde(skip)]
    pub entries: BTreeMap<String, u64>,
}

impl Download {
    /// Compares the blobs of two locks.
    pub fn between(old: Option<&Lock>, new: &Lock) -> Self {
        let there: BTreeSet<Digest> = old.map(Lock::artifacts).iter().flatten().flat_map(digests).collect();
        let (mut counted, mut download) = (BTreeSet::new(), Self { unknown: unknown(new), ..Self::default() });
        for Artifact { name, blobs } in new.artifacts() {
            for blob in blobs.iter().filter(|blob| is_downloaded(blob)) {
                let (digest, size) = (blob.descriptor.digest, blob.descriptor.size);
                if !counted.insert(digest) {
                    continue;
                }
                download.full += size;
                if !there.contains(&digest) {
                    download.update += size;
                    *download.entries.entry(name.clone()).or_default() += size;
                }
            }
        }
        download
    }
}

fn digests(artifact: &Artifact) -> impl Iterator<Item = Digest> + use<> {
    artifact.blobs.iter().map(|blob| blob.descriptor.digest).collect::<Vec<_>>().into_iter()
}

/// Members are unpacked from their archive, and an app's own layers are built: neither goes over the network.
fn is_downloaded(blob: &NeededBlob) -> bool {
    match blob.origin {
        Origin::Url(_) | Origin::RegistryManifest(_) | Origin::RegistryBlob(_) => true,
        Origin::Member { .. } | Origin::Built { .. } => false,
    }
}

/// Pending entries, apps aside: what an app still lacks is built.
fn unknown(lock: &Lock) -> usize {
    lock.pending().iter().filter(|(name, _)| !name.starts_with("app.")).count()
}
