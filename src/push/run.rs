//! Asks what is there, and brings the rest.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    base::{Event, human_bytes},
    fetch::{Client, FetchError, Pushed, RegistryAddress},
};

use super::{PlacedBlob, PlacedManifest, PushError, PushPlan};

/// Questions cost the registry less than blobs: so many more of them at once.
const QUESTIONS: usize = 2;

/// What a push did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushReport {
    /// Blobs whose bytes were sent.
    pub sent_blobs: usize,
    /// Their bytes, and those of manifests.
    pub sent_bytes: u64,
    /// Blobs that the registry took from another of its repositories, once for each.
    pub mounted_blobs: usize,
    /// Manifests and indexes that were sent.
    pub sent_manifests: usize,
}

impl PushReport {
    fn add(self, other: Self) -> Self {
        Self {
            sent_blobs: self.sent_blobs + other.sent_blobs,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            mounted_blobs: self.mounted_blobs + other.mounted_blobs,
            sent_manifests: self.sent_manifests + other.sent_manifests,
        }
    }
}

/// A blob and what the registry says of it.
struct Asked {
    placed: PlacedBlob,
    /// A repository that has it.
    has: Option<String>,
    /// Those that lack it.
    lack: Vec<String>,
}

/// Brings a lab into a registry, `jobs` blobs at once. The first failure ends it: what arrived stays, and the next run
/// does not send it again.
///
/// # Errors
/// The first part that did not arrive, after retries.
pub async fn push(client: &Arc<Client>, plan: PushPlan, jobs: usize) -> Result<PushReport, PushError> {
    let PushPlan { address, blobs, manifests, indexes, artifact, .. } = plan;
    let (address, jobs) = (Arc::new(address), jobs.max(1));
    let asked = ask(client, &address, blobs, jobs).await?;
    announce(client, &asked);
    let work = asked.into_iter().map(|asked| {
        let (client, address) = (Arc::clone(client), Arc::clone(&address));
        async move { bring(&client, &address, asked).await }
    });
    let mut report = gathered(work, jobs).await?;
    // Whoever finds a manifest finds everything that it names, so each kind waits for the one before.
    for manifests in [manifests, indexes, vec![artifact]] {
        let work = manifests.into_iter().map(|manifest| {
            let (client, address) = (Arc::clone(client), Arc::clone(&address));
            async move { name(&client, &address, &manifest).await }
        });
        report = report.add(gathered(work, jobs).await?);
    }
    Ok(report)
}

async fn gathered(
    work: impl Iterator<Item = impl Future<Output = Result<PushReport, PushError>>>,
    jobs: usize,
) -> Result<PushReport, PushError> {
    let done = stream::iter(work).buffer_unordered(jobs);
    done.try_fold(PushReport::default(), |sum, one| async move { Ok(sum.add(one)) }).await
}

/// One question for each blob and repository.
async fn ask(
    client: &Arc<Client>,
    address: &Arc<RegistryAddress>,
    blobs: Vec<PlacedBlob>,
    jobs: usize,
) -> Result<Vec<Asked>, PushError> {
    let text = format!("asking {address} which of {} blobs it has", blobs.len());
    client.reporter().report(Event::Note { text });
    let work = blobs.into_iter().map(|placed| {
        let (client, address) = (Arc::clone(client), Arc::clone(address));
        async move {
            let mut asked = Asked { placed, has: None, lack: Vec::new() };
            for repository in &asked.placed.repositories {
                let blob = &asked.placed.blob;
                let there = client.has_blob(&address, repository, blob.descriptor).await;
                match there.map_err(|error| PushError::of(&blob.label, repository, error))? {
                    true => asked.has = asked.has.or_else(|| Some(repository.clone())),
                    false => asked.lack.push(repository.clone()),
                }
            }
            Ok::<_, PushError>(asked)
        }
    });
    // In order: the largest first.
    stream::iter(work).buffered(jobs * QUESTIONS).try_collect().await
}

/// Says how much there is to send: an ETA needs the end before the beginning.
fn announce(client: &Client, asked: &[Asked]) {
    let to_send = || asked.iter().filter(|asked| asked.has.is_none()).map(|asked| asked.placed.blob.descriptor.size);
    let (transfers, bytes) = (to_send().count(), to_send().sum());
    if transfers > 0 {
        let text = format!("sending {transfers} blobs, {}", human_bytes(bytes));
        client.reporter().report(Event::Note { text });
        client.reporter().report(Event::TransfersPlanned { transfers, bytes });
    }
}

/// Brings one blob into every repository that lacks it: sent once, mounted from there into the others.
async fn bring(client: &Client, address: &RegistryAddress, asked: Asked) -> Result<PushReport, PushError> {
    let Asked { placed: PlacedBlob { blob, .. }, mut has, lack } = asked;
    let mut report = PushReport::default();
    for repository in lack {
        let pushed = client.push_blob(address, &repository, &blob, has.as_deref()).await;
        match pushed.map_err(|error| PushError::of(&blob.label, &repository, error))? {
            Pushed::Mounted => report.mounted_blobs += 1,
            Pushed::Sent => {
                report.sent_blobs += 1;
                report.sent_bytes += blob.descriptor.size;
            }
            Pushed::Present => {}
        }
        has = has.or(Some(repository));
    }
    Ok(report)
}

/// Puts a manifest under its name, unless it is there.
async fn name(client: &Client, address: &RegistryAddress, manifest: &PlacedManifest) -> Result<PushReport, PushError> {
    let PlacedManifest { label, repository, name, media_type, bytes } = manifest;
    let failed = |error: FetchError| PushError::of(label, repository, error);
    let there = client.manifest_digest(address, repository, name).await.map_err(failed)?;
    if there == Some(manifest.digest()) {
        return Ok(PushReport::default());
    }
    client.push_manifest(address, repository, name, media_type, bytes).await.map_err(failed)?;
    Ok(PushReport { sent_manifests: 1, sent_bytes: bytes.len() as u64, ..PushReport::default() })
}
