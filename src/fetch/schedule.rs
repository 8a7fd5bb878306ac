//! One scheduler over all blobs of all artifacts.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use crate::{
    base::{Digest, Event, human_bytes},
    plan::PlannedBlob,
    store::{Store, StoreError, Whole},
};

use super::{Client, FetchError, Lanes, blob::blocking};

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

/// Blobs that are given their names together, at most. Each holds two files open until then: macOS lets a
/// process have 256 unless its user asks for more.
const GROUP: usize = 32;
/// How long a whole blob waits for others, to share the wait for the disk with them: short enough that another
/// process which needs the blob does not notice.
const GATHER: Duration = Duration::from_millis(250);
/// A wait for the disk that lasts longer is said: the downloads are over, and a stick is slow.
const PATIENCE: Duration = Duration::from_secs(3);

/// Brings every blob that one of the sources may have, `jobs` at once, in the order given (a plan's is largest
/// first). The first failure does not stop the others: what came is kept for the next run.
///
/// While the next ones come, those that are whole are synced and named in groups. A blob that is only built or read
/// out of an archive is no failure when no source has it.
pub async fn fetch_all(
    client: &Arc<Client>,
    store: &Store,
    missing: Vec<PlannedBlob>,
    jobs: usize,
    lanes: &Lanes,
) -> Vec<Failure> {
    let (hand_over, whole) = mpsc::channel(GROUP);
    let downloads = lanes.bring_all(client, store, missing, jobs, hand_over);
    let (mut failures, not_named) = futures::join!(downloads, publish(client, store, whole));
    failures.extend(not_named);
    failures
}

/// Gives blobs their names as they come, in groups, until nobody hands over more.
///
/// Every blob gets its turn soon, whatever else happens: two processes that each kept a blob the other waits
/// for would wait for ever.
async fn publish(client: &Client, store: &Store, mut whole: mpsc::Receiver<(PlannedBlob, Whole)>) -> Vec<Failure> {
    let mut failures = Vec::new();
    while let Some(first) = whole.recv().await {
        let mut group = vec![first];
        let deadline = tokio::time::Instant::now() + GATHER;
        while group.len() < GROUP
            && let Ok(Some(next)) = tokio::time::timeout_at(deadline, whole.recv()).await
        {
            group.push(next);
        }
        let (blobs, whole): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let store = store.clone();
        let named = blocking(move || store.publish(whole));
        let results = said_when_slow(client, &blobs, named).await;
        let failed = blobs.into_iter().zip(results).filter_map(|(blob, result)| Some((blob, result.err()?)));
        failures.extend(failed.map(|(blob, error)| Failure { blob, error: FetchError::from(error).into() }));
    }
    failures
}

/// Waits for the disk; tells people what is being waited for.
async fn said_when_slow<T>(client: &Client, blobs: &[PlannedBlob], work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    match tokio::time::timeout(PATIENCE, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            let bytes = blobs.iter().map(|blob| blob.descriptor.size).sum();
            let text = format!("waiting for the disk to keep {}", human_bytes(bytes));
            client.reporter().report(Event::Note { text });
            work.await
        }
    }
}
