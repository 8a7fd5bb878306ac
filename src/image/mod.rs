//! Container images as documents and bytes: what a manifest says, the archive that a runtime loads,
//! and the app's images as a pure function of locked parts.
//!
//! Nothing here knows a cluster or a network. Bytes come from [`Blobs`], which the store implements.

pub mod archive;
pub mod build;
pub mod document;

use std::io;

use crate::{base::Digest, plan::Complete, store::Store};

/// Verified blobs by digest.
pub trait Blobs: Send + Sync {
    /// Opens one blob for reading from its start.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn open(&self, digest: &Digest) -> io::Result<fs_err::File>;
}

impl Blobs for Complete {
    fn open(&self, digest: &Digest) -> io::Result<fs_err::File> {
        self.blob(digest).map_err(io::Error::other)?.open()
    }
}

impl Blobs for Store {
    fn open(&self, digest: &Digest) -> io::Result<fs_err::File> {
        fs_err::File::open(self.path_of(digest))
    }
}

impl<B: Blobs + ?Sized> Blobs for std::sync::Arc<B> {
    fn open(&self, digest: &Digest) -> io::Result<fs_err::File> {
        (**self).open(digest)
    }
}

/// Reads a small blob (a manifest, an index, a config) whole.
///
/// # Errors
/// When it cannot be read, or is longer than the 4 MiB that registries accept for a manifest
/// (OCI distribution-spec v1.1, "Pushing Manifests").
pub fn read_document(blobs: &dyn Blobs, digest: &Digest) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    const LIMIT: u64 = 4 << 20;
    let mut bytes = Vec::new();
    blobs.open(digest)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("document {digest} is longer than {LIMIT} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod test_blobs {
    use super::*;

    /// A folder of blobs that lasts as long as the test.
    pub(crate) struct Folder(tempfile::TempDir);

    impl Folder {
        pub(crate) fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        pub(crate) fn add(&self, bytes: &[u8]) -> crate::base::Descriptor {
            fs_err::write(self.0.path().join(Digest::of(bytes).hex()), bytes).unwrap();
            crate::base::Descriptor::of(bytes)
        }
    }

    impl Blobs for Folder {
        fn open(&self, digest: &Digest) -> io::Result<fs_err::File> {
            fs_err::File::open(self.0.path().join(digest.hex()))
        }
    }
}
