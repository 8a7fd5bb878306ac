//! How blobs get their names: sync, rename, sync of the folder, note in the ledger. Many share one wait for the disk.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use crate::base::{Descriptor, Digest, Hasher, file};

use super::{Store, StoreError, StoredBlob};

/// Read size.
const PIECE: usize = 256 * 1024;

/// A blob whose bytes are here and are the right ones, and that has no name yet: [`Store::publish`] gives it
/// one. Dropping it leaves the partial file; the next run finds it whole.
#[derive(Debug)]
pub struct Whole {
    pub(super) partial: PathBuf,
    pub(super) file: File,
    pub(super) descriptor: Descriptor,
    /// Held until it has its name.
    pub(super) _lock: File,
}

impl Whole {
    /// What it is.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// The digests of its beginnings, up to each of these lengths (ascending). Reads the file; blocks.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn beginnings(&self, ends: &[u64]) -> Result<Vec<Digest>, StoreError> {
        let mut file = fs_err::File::open(&self.partial)?;
        let (mut hasher, mut read, mut digests) = (Hasher::default(), 0, Vec::new());
        let mut piece = vec![0; PIECE];
        for end in ends {
            while read < *end {
                let most = (*end - read).min(PIECE as u64) as usize;
                match file.read(&mut piece[..most])? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    count => {
                        hasher.update(&piece[..count]);
                        read += count as u64;
                    }
                }
            }
            digests.push(hasher.clone().finish());
        }
        Ok(digests)
    }
}

impl Store {
    /// Syncs checked blobs and gives them their names: one wait for the disk for all of them. Blocks. One
    /// result for each, in order.
    ///
    /// No blob has its name before its bytes are on the disk: a name that came first would, after a power
    /// cut, be the name of half a file. A blob whose sync fails stays partial.
    pub fn publish(&self, blobs: Vec<Whole>) -> Vec<Result<StoredBlob, StoreError>> {
        let synced = file::sync_together(&blobs.iter().map(|blob| &blob.file).collect::<Vec<_>>());
        let named = blobs.iter().zip(synced).map(|(blob, synced)| {
            synced?;
            let path = self.path_of(&blob.descriptor.digest);
            fs_err::rename(&blob.partial, &path)?;
            Ok(StoredBlob { path, descriptor: blob.descriptor })
        });
        let mut named: Vec<Result<StoredBlob, StoreError>> = named.collect();
        let in_folder = file::sync_folder(&self.blobs());
        for (blob, named) in blobs.iter().zip(&mut named).filter(|(_, named)| named.is_ok()) {
            // The ledger notes what the file looks like with its name: renaming changes a time.
            match (&in_folder, blob.file.metadata()) {
                (Ok(()), Ok(metadata)) => self.vouch(&blob.descriptor.digest, &metadata),
                (Err(error), _) => *named = Err(io::Error::new(error.kind(), error.to_string()).into()),
                (Ok(()), Err(error)) => *named = Err(error.into()),
            }
        }
        named
    }

    /// [`Store::publish`] for one blob.
    ///
    /// # Errors
    /// Any I/O error; the blob stays partial.
    pub fn publish_one(&self, blob: Whole) -> Result<StoredBlob, StoreError> {
        self.publish(vec![blob]).swap_remove(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{Expected, report::Silent},
        store::Slot,
    };

    fn whole(store: &Store, bytes: &[u8]) -> Whole {
        let descriptor = Descriptor::of(bytes);
        match store.begin(descriptor.into(), &descriptor.digest.hex(), &Silent).unwrap() {
            Slot::Empty(mut ingest) => {
                ingest.append(&bytes[usize::try_from(ingest.written()).unwrap()..]).unwrap();
                ingest.check().unwrap()
            }
            Slot::Present(_) => panic!("the blob is already there"),
        }
    }

    #[test]
    fn checked_blobs_have_no_name_until_they_are_published_together() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blobs = vec![whole(&store, b"one"), whole(&store, b"two")];
        assert!(store.present().unwrap().is_empty());
        let named = store.publish(blobs);
        let named: Vec<Vec<u8>> = named.into_iter().map(|blob| blob.unwrap().read().unwrap()).collect();
        assert_eq!(named, [b"one", b"two"]);
        assert_eq!(store.present().unwrap().len(), 2);
    }

    #[test]
    fn the_beginnings_of_a_whole_blob_have_digests() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(PIECE + 1000).collect();
        let whole = whole(&store, &bytes);
        let ends = [3, PIECE + 1, bytes.len()];
        let expected = ends.map(|end| Descriptor::of(&bytes[..end]).digest);
        assert_eq!(whole.beginnings(&ends.map(|end| end as u64)).unwrap(), expected);
        assert!(whole.beginnings(&[bytes.len() as u64 + 1]).is_err());
    }

    #[test]
    fn a_whole_blob_that_was_not_published_is_found_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let descriptor = whole(&store, b"dropped").descriptor();
        let Slot::Empty(ingest) = store.begin(descriptor.into(), &descriptor.digest.hex(), &Silent).unwrap() else {
            panic!("it has its name already")
        };
        assert_eq!(ingest.written(), 7);
        assert_eq!(ingest.finish().unwrap().descriptor(), descriptor);
    }

    #[test]
    fn one_blob_that_cannot_be_named_does_not_keep_the_others_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blobs = vec![whole(&store, b"one"), whole(&store, b"lost"), whole(&store, b"two")];
        fs_err::remove_file(&blobs[1].partial).unwrap();
        let named: Vec<bool> = store.publish(blobs).iter().map(Result::is_ok).collect();
        assert_eq!(named, [true, false, true]);
        let expected = Expected::from(Descriptor::of(b"lost"));
        assert!(matches!(store.begin(expected, "lost", &Silent).unwrap(), Slot::Empty(_)));
    }
}
