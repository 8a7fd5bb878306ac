//! Re-hashing what is in the store, on all cores. Reports typed findings and repairs nothing.

use std::{
    io::Read,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Serialize;

use crate::base::{Descriptor, Digest, Hasher, Reporter, report::Event};

use super::{Store, StoreError};

/// Read size: large enough that system calls do not show beside the hashing.
const PIECE: usize = 256 * 1024;
/// Progress is told in pieces of this many bytes.
const PROGRESS_STEP: u64 = 4 * 1024 * 1024;

/// What is wrong with a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum Damage {
    /// It is not there.
    Missing,
    /// It has another length.
    WrongSize {
        /// The length on disk.
        found: u64,
    },
    /// It has the right length and other bytes.
    WrongDigest {
        /// The digest of the bytes on disk.
        found: Digest,
    },
    /// It cannot be read.
    Unreadable {
        /// Why.
        error: String,
    },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => write!(formatter, "missing"),
            Self::WrongSize { found } => write!(formatter, "wrong length: {found} bytes on disk"),
            Self::WrongDigest { found } => write!(formatter, "wrong bytes: they are {found}"),
            Self::Unreadable { error } => write!(formatter, "unreadable: {error}"),
        }
    }
}

/// A blob that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedBlob {
    /// What should be there.
    pub descriptor: Descriptor,
    /// What is the matter.
    #[serde(flatten)]
    pub damage: Damage,
}

impl Store {
    /// Re-hashes these blobs, largest first, one thread per core. Blocks until all are read.
    pub fn verify(&self, mut blobs: Vec<Descriptor>, reporter: &dyn Reporter) -> Vec<DamagedBlob> {
        blobs.sort_by_key(|blob| (std::cmp::Reverse(blob.size), blob.digest));
        blobs.dedup();
        let total = blobs.iter().map(|blob| blob.size).sum();
        let id = crate::base::report::next_transfer_id();
        reporter.report(Event::TransferStarted { id, name: "verify".to_owned(), total: Some(total) });
        let next = AtomicUsize::new(0);
        let damaged = Mutex::new(Vec::new());
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(blobs.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let damage = self.damage(*blob, |bytes| reporter.report(Event::TransferProgress { id, bytes }));
                        if let (Some(damage), Ok(mut damaged)) = (damage, damaged.lock()) {
                            damaged.push(DamagedBlob { descriptor: *blob, damage });
                        }
                    }
                });
            }
        });
        reporter.report(Event::TransferFinished { id });
        let mut damaged = damaged.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        damaged.sort_by_key(|found| found.descriptor);
        damaged
    }

    /// Every blob there is, with its present length: what to verify when no lock is at hand.
    ///
    /// # Errors
    /// Any I/O error while listing the store.
    pub fn everything(&self) -> Result<Vec<Descriptor>, StoreError> {
        Ok(self.present()?.into_iter().map(|(digest, size)| Descriptor { digest, size }).collect())
    }

    fn damage(&self, blob: Descriptor, progress: impl Fn(u64)) -> Option<Damage> {
        let path = self.path_of(&blob.digest);
        let length = match fs_err::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(Damage::Missing),
            Err(error) => return Some(Damage::Unreadable { error: error.to_string() }),
        };
        if length != blob.size {
            return Some(Damage::WrongSize { found: length });
        }
        match hash(&path, progress) {
            Ok(found) if found == blob.digest => None,
            Ok(found) => Some(Damage::WrongDigest { found }),
            Err(error) => Some(Damage::Unreadable { error: error.to_string() }),
        }
    }
}

fn hash(path: &std::path::Path, progress: impl Fn(u64)) -> std::io::Result<Digest> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE];
    let mut untold = 0;
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            progress(untold);
            return Ok(hasher.finish());
        }
        hasher.update(&piece[..count]);
        untold += count as u64;
        if untold >= PROGRESS_STEP {
            progress(untold);
            untold = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::report::Silent;

    #[test]
    fn each_kind_of_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let good = store.put(b"good", &Silent).unwrap().descriptor();
        let flipped = store.put(b"flipped", &Silent).unwrap();
        let cut = store.put(b"cut short", &Silent).unwrap();
        fs_err::write(flipped.path(), b"flippEd").unwrap();
        fs_err::write(cut.path(), b"cut").unwrap();
        let lost = Descriptor::of(b"lost");
        let damaged = store.verify(vec![good, flipped.descriptor(), cut.descriptor(), lost], &Silent);
        let found = |descriptor| damaged.iter().find(|found| found.descriptor == descriptor).map(|found| &found.damage);
        assert_eq!(damaged.len(), 3);
        assert_eq!(found(good), None);
        assert_eq!(found(flipped.descriptor()), Some(&Damage::WrongDigest { found: Digest::of(b"flippEd") }));
        assert_eq!(found(cut.descriptor()), Some(&Damage::WrongSize { found: 3 }));
        assert_eq!(found(lost), Some(&Damage::Missing));
    }
}
