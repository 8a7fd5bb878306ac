//! The store: every blob of every lab on this machine, under its SHA-256.
//!
//! ```text
//! STORE/                       an OCI image layout (image-spec v1.1, image-layout.md):
//! ├── oci-layout               skopeo, crane, oras and ctr read it in place
//! ├── index.json               the fetched images, each with its full reference as annotation
//! ├── blobs/sha256/<hex>       verified bytes, never changed, never half there
//! └── ztlab/                   ours alone; other tools ignore it
//!     ├── version              layout of this folder; a newer one is refused
//!     ├── partial/<name>       downloads that are not whole yet; the next run resumes them
//!     └── locks/<name>         lock files: one per blob being written, `index` for index.json
//! ```
//!
//! What always holds: a file under `blobs/sha256` had exactly the digest that is its name when it was
//! renamed there, and was synced before. Manifests and indexes are kept byte for byte.
//!
//! Who may run at the same time: any number of processes. A writer holds the blob's lock from the first
//! byte to the rename; who comes second waits, says so, and then finds the blob there. The lock files
//! stay: removing one while another process waits on it would let two writers in.

mod archive;
mod index;
mod ingest;
mod verify;

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::base::{Descriptor, Digest, Reporter, file};

pub use archive::ArchiveError;
pub use index::NamedImage;
pub(crate) use ingest::waiting_for;
pub use ingest::{Ingest, Slot};
pub use verify::{Damage, DamagedBlob};

/// Layout of the private folder.
const VERSION: &str = "1\n";
/// OCI image-spec v1.1, image-layout.md.
const OCI_LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// An image layout without images.
const EMPTY_INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Something that the store refuses or cannot do.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// The file system says no.
    #[error("the store cannot be used")]
    #[diagnostic(
        code(store::io),
        help(
            "look at the free space and the rights of the store's folder, then run the same command again: it resumes"
        )
    )]
    Io(#[from] io::Error),
    /// A newer ztlab made it.
    #[error("the store {path} has layout {found}, and this ztlab knows layout 1")]
    #[diagnostic(
        code(store::newer),
        help("use the newer ztlab, or give this one a folder of its own with `--store DIR`")
    )]
    Newer {
        /// The store's folder.
        path: String,
        /// The version found.
        found: String,
    },
    /// More bytes than the lock allows.
    #[error("the bytes of {digest} are longer than the locked {limit} bytes")]
    #[diagnostic(code(integrity::too_long), help("upstream's bytes changed: review them with `ztlab lock --upgrade`"))]
    TooLong {
        /// The expected digest, or what stands in for it.
        digest: String,
        /// The expected length.
        limit: u64,
    },
    /// Fewer bytes than the lock says.
    #[error("the bytes of {digest} end after {found} of {expected} bytes")]
    #[diagnostic(code(fetch::truncated), help("run `ztlab fetch` again: it resumes"))]
    Truncated {
        /// The expected digest, or what stands in for it.
        digest: String,
        /// The expected length.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// Other bytes than the lock says.
    #[error("the bytes are not the locked ones: expected {expected}, found {found} ({size} bytes)")]
    #[diagnostic(
        code(integrity::digest),
        help(
            "whoever served them has other bytes than the lock: try another source, or review the change with `ztlab lock --upgrade`"
        )
    )]
    WrongDigest {
        /// The locked digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
        /// How much came.
        size: u64,
    },
}

/// A folder of blobs. Cheap to clone; opening is what checks and prepares it.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a store, and makes it when there is none.
    ///
    /// # Errors
    /// When the folder cannot be made or written, or a newer ztlab owns it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        for folder in [store.blobs(), store.partials(), store.locks()] {
            fs_err::create_dir_all(folder)?;
        }
        store.check_version()?;
        write_when_absent(&store.root.join("oci-layout"), OCI_LAYOUT)?;
        write_when_absent(&store.root.join("index.json"), EMPTY_INDEX)?;
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

    /// Digest and length of every blob there is. Reads no blob: names and lengths only.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn present(&self) -> Result<BTreeMap<Digest, u64>, StoreError> {
        let mut present = BTreeMap::new();
        for entry in fs_err::read_dir(self.blobs())? {
            let entry = entry?;
            if let Some(digest) = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok()) {
                present.insert(digest, entry.metadata()?.len());
            }
        }
        Ok(present)
    }

    /// A blob of this digest and length, when it is there.
    pub fn blob(&self, descriptor: Descriptor) -> Option<StoredBlob> {
        let path = self.path_of(&descriptor.digest);
        let metadata = fs_err::metadata(&path).ok()?;
        (metadata.is_file() && metadata.len() == descriptor.size).then_some(StoredBlob { path, descriptor })
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

    fn check_version(&self) -> Result<(), StoreError> {
        let path = self.root.join("ztlab/version");
        write_when_absent(&path, VERSION)?;
        let found = fs_err::read_to_string(&path)?;
        if found == VERSION {
            return Ok(());
        }
        Err(StoreError::Newer { path: self.root.display().to_string(), found: found.trim().to_owned() })
    }
}

fn write_when_absent(path: &Path, text: &str) -> io::Result<()> {
    if path.exists() { Ok(()) } else { file::write_atomically(path, text.as_bytes()) }
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
    use crate::base::report::Silent;

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
    fn a_newer_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).unwrap();
        fs_err::write(folder.path().join("ztlab/version"), "2\n").unwrap();
        assert!(matches!(Store::open(folder.path()).unwrap_err(), StoreError::Newer { .. }));
    }
}
