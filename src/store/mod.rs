//! The store: every blob of every lab on this machine, under its SHA-256.
//!
//! ```text
//! STORE/                       an OCI image layout (image-spec v1.1, image-layout.md):
//! ├── oci-layout               skopeo, crane, oras and ctr read it in place
//! ├── index.json               the fetched images, each with its full reference as annotation
//! ├── blobs/sha256/<hex>       verified bytes, never changed, never half there
//! └── ztlab/                   ours alone; other tools ignore it
//!     ├── version              layout of this folder; a newer one is refused
//!     ├── verified             what each blob looked like from outside when it was last read and found right
//!     ├── labs/<name>          one note per lab that fetched into this store: what must not be collected
//!     ├── partial/<name>       downloads that are not whole yet; the next run resumes them
//!     ├── tools/<hex>/<name>   pinned programs as files that run
//!     └── locks/<name>         lock files: one per blob being written, `index` for index.json, `in-use`
//! ```
//!
//! What always holds: a file under `blobs/sha256` had exactly the digest that is its name when it was
//! renamed there, and was synced before. Manifests and indexes are kept byte for byte. A blob that was touched
//! since is read again before it counts as present, and one whose bytes differ does not count.
//!
//! Who may run at the same time: any number of processes. A writer holds the blob's lock from the first
//! byte to the rename; who comes second waits, says so, and then finds the blob there. Whoever has the store
//! open shares the lock `in-use`; `gc` removes while it has that lock alone. Other than by `gc`, lock files
//! stay: removing one while another process waits on it would let two writers in.

mod archive;
mod collect;
mod error;
mod faults;
mod index;
mod ingest;
mod labs;
mod ledger;
mod listing;
mod open;
mod publish;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::base::{Descriptor, Digest, Reporter, file, report::Silent};

pub use archive::ArchiveError;
pub use collect::{Garbage, Leftover, Roots};
pub use error::StoreError;
pub use faults::Fault;
pub use index::{NamedImage, REF_NAME, media_type};
pub(crate) use ingest::waiting_for;
pub use ingest::{FillError, Ingest, Slot};
pub use labs::KnownLab;
pub use open::{OpenBlob, Opened};
pub use publish::Whole;
pub use verify::{Damage, DamagedBlob};

use ledger::{Ledger, Stamp};

/// Layout of the private folder.
const VERSION: &str = "1\n";
/// OCI image-spec v1.1, image-layout.md.
const OCI_LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// A folder of blobs. Cheap to clone; opening is what checks and prepares it.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    ledger: Arc<Ledger>,
    /// Shared while the store is open, so that nothing is collected under anybody's feet. `None` where the store
    /// cannot be written: then nobody can collect either.
    in_use: Arc<Option<File>>,
}

impl Store {
    /// Opens a store, and makes it when there is none. Waits while another process collects garbage.
    ///
    /// # Errors
    /// When the folder cannot be made or written, or a newer ztlab owns it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        let private = root.join("ztlab");
        for folder in [root.join("blobs/sha256"), private.join("partial"), private.join("locks")] {
            fs_err::create_dir_all(folder)?;
        }
        let ledger = Ledger::new(private.join("verified"), private.join("locks/verified"));
        let in_use = share(&private.join("locks/in-use"))?;
        let store = Self { root, ledger: Arc::new(ledger), in_use: Arc::new(in_use) };
        store.check_version()?;
        Ok(store)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob is, or would be.
    pub fn path_of(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Digest and length of every blob there is. Blobs that nobody touched since they were verified cost one `stat`;
    /// others are read again, on all cores, and left out when their bytes are not those of their names. Blocks.
    ///
    /// # Errors
    /// Any I/O error while listing the store.
    pub fn present(&self) -> Result<BTreeMap<Digest, u64>, StoreError> {
        let mut present = BTreeMap::new();
        let mut unknown = Vec::new();
        for (digest, stamp) in self.listing()?.blobs {
            match self.ledger.verdict(&digest, &stamp) {
                Some(true) => _ = present.insert(digest, stamp.size),
                Some(false) => {}
                None => unknown.push(Descriptor { digest, size: stamp.size }),
            }
        }
        let wrong: BTreeSet<Descriptor> =
            self.verify(unknown.clone(), &Silent).into_iter().map(|found| found.descriptor).collect();
        present.extend(unknown.iter().filter(|blob| !wrong.contains(blob)).map(|blob| (blob.digest, blob.size)));
        Ok(present)
    }

    /// A blob of this digest and length, when it is there with its own bytes; read again when it was touched.
    pub fn blob(&self, descriptor: Descriptor) -> Option<StoredBlob> {
        let Descriptor { digest, size } = descriptor;
        let path = self.path_of(&digest);
        let right = self.vouched(&digest, size)
            || (self.unknown(&digest, size) && self.verify_one(descriptor, |_| {}).is_none());
        right.then_some(StoredBlob { path, descriptor })
    }

    /// Whether the file of this digest is as verification left it, and has this length.
    fn vouched(&self, digest: &Digest, size: u64) -> bool {
        self.stamp(digest).is_some_and(|stamp| stamp.size == size && self.ledger.verdict(digest, &stamp) == Some(true))
    }

    fn unknown(&self, digest: &Digest, size: u64) -> bool {
        self.stamp(digest).is_some_and(|stamp| stamp.size == size && self.ledger.verdict(digest, &stamp).is_none())
    }

    fn stamp(&self, digest: &Digest) -> Option<Stamp> {
        let metadata = fs_err::symlink_metadata(self.path_of(digest)).ok()?;
        metadata.is_file().then(|| Stamp::of(&metadata))
    }

    /// Notes that a file which has just got its final name was hashed on its way in.
    ///
    /// `file` is the open file, so that whatever takes its place meanwhile is not vouched for.
    pub(super) fn vouch(&self, digest: &Digest, metadata: &Metadata) {
        self.ledger.note(digest, Stamp::of(metadata), true);
    }

    /// Takes bytes that are in memory. Already there is success.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn put(&self, bytes: &[u8], reporter: &dyn Reporter) -> Result<StoredBlob, StoreError> {
        let descriptor = Descriptor::of(bytes);
        match self.begin(descriptor.into(), &descriptor.digest.hex(), reporter)? {
            Slot::Present(blob) => Ok(blob),
            Slot::Empty(mut ingest) => {
                ingest.restart()?;
                ingest.append(bytes)?;
                ingest.finish()
            }
        }
    }

    /// Removes a blob that verification found damaged, so that the next fetch brings it anew.
    ///
    /// # Errors
    /// Any I/O error; a blob that is not there is none.
    pub fn discard(&self, digest: &Digest) -> Result<(), StoreError> {
        self.ledger.forget(digest);
        match fs_err::remove_file(self.path_of(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn partials(&self) -> PathBuf {
        self.root.join("ztlab/partial")
    }

    fn locks(&self) -> PathBuf {
        self.root.join("ztlab/locks")
    }

    fn private(&self) -> PathBuf {
        self.root.join("ztlab")
    }

    /// A new store gets its files, the version last: without it, an interrupted `open` begins again. In an old one,
    /// what is missing is damage, which `verify` shall see.
    fn check_version(&self) -> Result<(), StoreError> {
        let path = self.private().join("version");
        if !path.exists() {
            write_when_absent(&self.root.join("oci-layout"), OCI_LAYOUT.as_bytes())?;
            write_when_absent(&self.root.join("index.json"), &index::document(&[])?)?;
            write_when_absent(&path, VERSION.as_bytes())?;
        }
        let found = fs_err::read(&path)?;
        if found == VERSION.as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(&found).into_owned();
        let newer =
            found.strip_suffix('\n').and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| number > 1);
        if newer {
            return Err(StoreError::Newer { path: path.display().to_string(), found: found.trim().to_owned() });
        }
        Err(StoreError::Layout { path: path.display().to_string(), found: found.escape_debug().to_string() })
    }
}

fn write_when_absent(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.exists() { Ok(()) } else { file::write_atomically(path, bytes) }
}

/// Takes part in the use of the store.
fn share(path: &Path) -> io::Result<Option<File>> {
    let mut options = fs_err::OpenOptions::new();
    let file = match options.read(true).write(true).create(true).truncate(false).open(path) {
        Ok(file) => file.into_parts().0,
        // A store on a medium that is mounted read-only can still be read.
        Err(error) if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    file.lock_shared()?;
    Ok(Some(file))
}

/// A blob that is in the store under its name, with its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    path: PathBuf,
    descriptor: Descriptor,
}

impl StoredBlob {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Digest and length.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Opens the file for streaming; whoever consumes the stream checks its digest.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn open(&self) -> io::Result<fs_err::File> {
        fs_err::File::open(&self.path)
    }

    /// Reads a small blob whole, and checks its digest again on the way.
    ///
    /// # Errors
    /// Any I/O error, or bytes that are no longer the blob's.
    pub fn read(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.descriptor.size).unwrap_or_default());
        self.open()?.read_to_end(&mut bytes)?;
        let found = Digest::of(&bytes);
        if found == self.descriptor.digest {
            return Ok(bytes);
        }
        Err(StoreError::WrongDigest { expected: self.descriptor.digest, found, size: bytes.len() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_store_is_an_image_layout() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let layout = fs_err::read_to_string(store.root().join("oci-layout")).unwrap();
        assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
        assert!(store.present().unwrap().is_empty());
    }

    #[test]
    fn bytes_come_back_and_changed_bytes_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blob = store.put(b"layer", &Silent).unwrap();
        assert_eq!(store.put(b"layer", &Silent).unwrap(), blob);
        assert_eq!(blob.read().unwrap(), b"layer");
        assert_eq!(store.present().unwrap().into_iter().collect::<Vec<_>>(), [(Digest::of(b"layer"), 5)]);
        fs_err::write(blob.path(), b"LAYER").unwrap();
        assert!(matches!(blob.read().unwrap_err(), StoreError::WrongDigest { .. }));
        fs_err::write(blob.path(), b"longer").unwrap();
        assert_eq!(store.blob(blob.descriptor()), None);
    }

    #[test]
    fn a_touched_blob_is_read_again_and_counts_only_with_its_own_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blob = store.put(b"layer", &Silent).unwrap();
        let descriptor = blob.descriptor();
        // The same length and the same times, as an editor that restores them leaves it.
        let before = fs_err::metadata(blob.path()).unwrap().modified().unwrap();
        let change = |bytes: &[u8]| {
            fs_err::write(blob.path(), bytes).unwrap();
            fs_err::OpenOptions::new().write(true).open(blob.path()).unwrap().set_modified(before).unwrap();
        };
        change(b"LAYER");
        assert_eq!((store.blob(descriptor), store.present().unwrap().len()), (None, 0));
        let Slot::Empty(mut ingest) = store.begin(descriptor.into(), "name", &Silent).unwrap() else {
            panic!("damaged bytes count as present")
        };
        ingest.append(b"layer").unwrap();
        ingest.finish().unwrap();
        assert!(store.blob(descriptor).is_some());
        // Touched, and still itself: another process reads it once and both believe it from then on.
        change(b"layer");
        assert_eq!(Store::open(folder.path()).unwrap().present().unwrap().len(), 1);
        assert!(store.ledger.verdict(&descriptor.digest, &store.stamp(&descriptor.digest).unwrap()).unwrap());
    }

    #[test]
    fn a_blob_that_came_in_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let descriptor = store.put(b"layer", &Silent).unwrap().descriptor();
        let stamp = store.stamp(&descriptor.digest).unwrap();
        assert_eq!(Store::open(folder.path()).unwrap().ledger.verdict(&descriptor.digest, &stamp), Some(true));
    }

    #[test]
    fn a_link_is_no_blob() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        fs_err::write(folder.path().join("elsewhere"), b"layer").unwrap();
        let descriptor = Descriptor::of(b"layer");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), store.path_of(&descriptor.digest)).unwrap();
        assert_eq!((store.blob(descriptor), store.present().unwrap().len()), (None, 0));
    }

    #[test]
    fn a_newer_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).unwrap();
        fs_err::write(folder.path().join("ztlab/version"), "2\n").unwrap();
        assert!(matches!(Store::open(folder.path()).unwrap_err(), StoreError::Newer { .. }));
        for damaged in ["", "1", "\n", "11", "0\n", "q\n", "1\n\n"] {
            fs_err::write(folder.path().join("ztlab/version"), damaged).unwrap();
            assert!(matches!(Store::open(folder.path()).unwrap_err(), StoreError::Layout { .. }), "{damaged:?}");
        }
    }
}
