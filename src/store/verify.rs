//! Re-hashing what is in the store, on all cores. Reports typed findings and repairs nothing.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Serialize;

use crate::base::{Descriptor, Digest, Hasher, Reporter, report::Event};

use super::{Stamp, Store, StoreError};

/// Read size: large enough that system calls do not show beside the hashing, small enough for a core's own cache.
const PIECE: usize = 256 * 1024;
/// Progress is told in pieces of this many bytes.
const PROGRESS_STEP: u64 = 4 * 1024 * 1024;

/// What is wrong with a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum Damage {
    /// The whole file is not there.
    Lost,
    /// It is too short.
    Truncated {
        /// The length on disk.
        found: u64,
    },
    /// It is too long.
    Extra {
        /// The length on disk.
        found: u64,
        /// Whether the blob is whole in front of the extra bytes.
        appended: bool,
    },
    /// It has the right length and other bytes.
    Flipped {
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
            Self::Lost => write!(formatter, "lost: there is no such file"),
            Self::Truncated { found } => write!(formatter, "truncated: only {found} bytes on disk"),
            Self::Extra { found, appended: true } => {
                write!(formatter, "extra bytes behind its end: {found} bytes on disk")
            }
            Self::Extra { found, appended: false } => {
                write!(formatter, "extra bytes: {found} bytes on disk, which do not even begin with it")
            }
            Self::Flipped { found } => write!(formatter, "flipped: the right length, and the bytes of {found}"),
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
    ///
    /// What is found goes to the ledger: a blob that rotted behind unchanged times is absent from then on.
    pub fn verify(&self, mut blobs: Vec<Descriptor>, reporter: &dyn Reporter) -> Vec<DamagedBlob> {
        if blobs.is_empty() {
            return Vec::new();
        }
        blobs.sort_by_key(|blob| (std::cmp::Reverse(blob.size), blob.digest));
        blobs.dedup();
        let total = blobs.iter().map(|blob| blob.size).sum();
        let id = crate::base::report::next_transfer_id();
        reporter.report(Event::TransferStarted { id, name: "verify".to_owned(), total: Some(total) });
        let next = AtomicUsize::new(0);
        let damaged = Mutex::new(Vec::new());
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(blobs.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let progress = |bytes| reporter.report(Event::TransferProgress { id, bytes });
                        let damage = self.verify_one(*blob, progress);
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

    /// Every blob there is or was: those on disk with the length they had when they were verified (else their
    /// present one), and those that were here and that nobody removed by way of ztlab.
    ///
    /// # Errors
    /// Any I/O error while listing the store.
    pub fn everything(&self) -> Result<Vec<Descriptor>, StoreError> {
        let expected = self.ledger.expected();
        let on_disk = self.listing()?.blobs.into_iter().map(|(digest, stamp)| (digest, stamp.size));
        let mut sizes: std::collections::BTreeMap<Digest, u64> = on_disk.collect();
        for (digest, size) in expected {
            let present = sizes.entry(digest).or_insert(size.unwrap_or(0));
            *present = size.unwrap_or(*present);
        }
        Ok(sizes.into_iter().map(|(digest, size)| Descriptor { digest, size }).collect())
    }

    /// Reads one blob.
    pub(super) fn verify_one(&self, blob: Descriptor, progress: impl Fn(u64)) -> Option<Damage> {
        let path = self.path_of(&blob.digest);
        match self.compare(&path, blob, progress) {
            Ok(damage) => damage,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Damage::Lost),
            Err(error) => Some(Damage::Unreadable { error: error.to_string() }),
        }
    }

    fn compare(&self, path: &Path, blob: Descriptor, progress: impl Fn(u64)) -> io::Result<Option<Damage>> {
        if !fs_err::symlink_metadata(path)?.is_file() {
            return Ok(Some(Damage::Unreadable { error: "it is no plain file".to_owned() }));
        }
        let mut file = fs_err::File::open(path)?.into_parts().0;
        let before = Stamp::of(&file.metadata()?);
        if before.size < blob.size {
            return Ok(Some(Damage::Truncated { found: before.size }));
        }
        let found = hash(&mut file, blob.size, progress)?;
        if before.size > blob.size {
            return Ok(Some(Damage::Extra { found: before.size, appended: found == blob.digest }));
        }
        // Written to while it was read: nothing can be said of it for the next time.
        if Stamp::of(&file.metadata()?) == before {
            self.ledger.note(&blob.digest, before, found == blob.digest);
        }
        Ok((found != blob.digest).then_some(Damage::Flipped { found }))
    }
}

/// The digest of a file's first bytes, or of all of them where there are fewer.
fn hash(file: &mut File, limit: u64, progress: impl Fn(u64)) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE];
    let mut untold = 0;
    let mut rest = file.take(limit);
    loop {
        let count = rest.read(&mut piece)?;
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
        let damage = |bytes: &[u8], changed: &[u8]| {
            let blob = store.put(bytes, &Silent).unwrap();
            fs_err::write(blob.path(), changed).unwrap();
            blob.descriptor()
        };
        let flipped = damage(b"flipped", b"flippEd");
        let cut = damage(b"cut short", b"cut");
        let appended = damage(b"appended", b"appended to");
        let inserted = damage(b"inserted", b"inseerted");
        let lost = store.put(b"lost", &Silent).unwrap();
        fs_err::remove_file(lost.path()).unwrap();
        let never = Descriptor::of(b"never there");
        let mut all = store.everything().unwrap();
        assert!(all.contains(&lost.descriptor()) && all.contains(&cut) && all.contains(&appended), "{all:?}");
        all.push(never);
        let damaged = store.verify(all, &Silent);
        let found = |descriptor| damaged.iter().find(|found| found.descriptor == descriptor).map(|found| &found.damage);
        assert_eq!(damaged.len(), 6);
        assert_eq!(found(good), None);
        assert_eq!(found(flipped), Some(&Damage::Flipped { found: Digest::of(b"flippEd") }));
        assert_eq!(found(cut), Some(&Damage::Truncated { found: 3 }));
        assert_eq!(found(appended), Some(&Damage::Extra { found: 11, appended: true }));
        assert_eq!(found(inserted), Some(&Damage::Extra { found: 9, appended: false }));
        assert_eq!(found(lost.descriptor()), Some(&Damage::Lost));
        assert_eq!(found(never), Some(&Damage::Lost));
    }

    #[test]
    fn bytes_that_rot_behind_unchanged_times_are_absent_once_they_were_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blob = store.put(b"layer", &Silent).unwrap();
        fs_err::write(blob.path(), b"LAYER").unwrap();
        // What a failing disk does: other bytes, and a ledger line that fits the file.
        store.vouch(&blob.descriptor().digest, &fs_err::metadata(blob.path()).unwrap());
        assert!(store.blob(blob.descriptor()).is_some());
        assert_eq!(store.verify(vec![blob.descriptor()], &Silent).len(), 1);
        assert_eq!(Store::open(folder.path()).unwrap().blob(blob.descriptor()), None);
    }

    #[test]
    fn what_was_discarded_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blob = store.put(b"layer", &Silent).unwrap();
        store.discard(&blob.descriptor().digest).unwrap();
        assert_eq!(store.everything().unwrap(), []);
    }
}
