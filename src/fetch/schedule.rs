//! One scheduler over all blobs of all artifacts.

use futures::{StreamExt, stream};

use crate::{
    base::Digest,
    lockfile::Origin,
    plan::PlannedBlob,
    store::{Store, StoreError},
};

use super::{Client, FetchError, blob::Wanted, source::Location};

/// A blob that could not be had.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub blob: PlannedBlob,
    /// Why.
    pub error: BlobError,
}

/// Why a blob could not be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BlobError {
    /// From the network.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// Its archive did not come.
    #[error("archive {archive} is not in the store")]
    #[diagnostic(code(fetch::archive), help("run `ztlab fetch` again: the member is read when its archive is there"))]
    ArchiveAbsent {
        /// The archive.
        archive: Digest,
    },
    /// Its archive cannot be read.
    #[error("{0}")]
    #[diagnostic(code(integrity::archive), help("write the lock anew with `ztlab lock --upgrade`"))]
    Archive(String),
    /// There is no space for what its archive has.
    #[error("the disk of the store is full")]
    #[diagnostic(code(store::full), help("make space on it, then run `ztlab fetch` again"))]
    DiskFull,
    /// Its archive has other bytes under that name than the lock says.
    #[error("member `{path}` has other bytes than the locked ones: expected {expected}, found {found}")]
    #[diagnostic(
        code(integrity::member),
        help("the lock contradicts itself: write it anew with `ztlab lock --upgrade`")
    )]
    MemberDiffers {
        /// Path in the archive.
        path: String,
        /// The locked digest.
        expected: Digest,
        /// What the archive has.
        found: Digest,
    },
}

impl BlobError {
    /// Whether this machine has no space left: every other blob fails for the same reason.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull | Self::Fetch(FetchError::Store(StoreError::Full(_))))
    }

    /// Whether bytes were not the locked ones: exit code 21 instead of 20.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_integrity(),
            Self::Archive(_) | Self::MemberDiffers { .. } => true,
            Self::ArchiveAbsent { .. } | Self::DiskFull => false,
        }
    }
}

/// Downloads every blob that somebody publishes, `jobs` at once, in the order given (a plan's is largest
/// first). The first failure does not stop the others: what came is kept for the next run.
///
/// Archive members and built images are not downloads; they are left alone here.
pub async fn fetch_all(client: &Client, store: &Store, missing: Vec<PlannedBlob>, jobs: usize) -> Vec<Failure> {
    let downloads = missing.into_iter().filter(|blob| blob.origins.iter().any(is_published));
    stream::iter(downloads)
        .map(|blob| async move {
            let result = fetch_one(client, store, &blob).await;
            result.err().map(|error| Failure { blob, error: error.into() })
        })
        .buffer_unordered(jobs.max(1))
        .filter_map(std::future::ready)
        .collect()
        .await
}

async fn fetch_one(client: &Client, store: &Store, blob: &PlannedBlob) -> Result<(), FetchError> {
    let mut locations = Vec::new();
    for origin in &blob.origins {
        locations.extend(locate(client, origin, &blob.descriptor.digest)?);
    }
    let wanted = Wanted { expected: blob.descriptor.into(), label: blob.label.clone() };
    client.blob(store, &wanted, &locations).await.map(|_| ())
}

fn locate(client: &Client, origin: &Origin, digest: &Digest) -> Result<Vec<Location>, FetchError> {
    match origin {
        Origin::Url(url) => client.file_locations(url),
        Origin::RegistryManifest(reference) => client.manifest_locations(reference, &digest.to_string()),
        Origin::RegistryBlob(reference) => client.blob_locations(reference, &digest.to_string()),
        Origin::Member { .. } | Origin::Built { .. } => Ok(Vec::new()),
    }
}

/// Whether a blob comes over the network, and is not read out of an archive or built.
pub fn is_download(blob: &PlannedBlob) -> bool {
    blob.origins.iter().any(is_published)
}

fn is_published(origin: &Origin) -> bool {
    matches!(origin, Origin::Url(_) | Origin::RegistryManifest(_) | Origin::RegistryBlob(_))
}
