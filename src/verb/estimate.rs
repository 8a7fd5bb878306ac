//! `ztlab fetch --estimate`: what a fetch would move and how long that takes, before it begins.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    base::{Digest, report::Silent},
    fetch::{self, Client, FetchError, Lanes, Location},
    lockfile::{self, Lock, Origin},
    plan::{Plan, PlannedBlob, is_selected},
};

use super::{Context, fetch::Request, lock::refuse_unknown};

/// How long a line is measured: TCP has found its speed by then, and nobody minds the wait.
pub const SAMPLE: Duration = Duration::from_secs(2);

/// What a fetch would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// The lab's identity.
    pub lab_id: Digest,
    /// Blobs to download.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Entries without a digest yet: their bytes come on top.
    pub pending: Vec<String>,
    /// Requests that Docker Hub may count as pulls. It counts manifests and indexes, not layers, and may count an
    /// index and its manifest as one: so many at most.
    pub docker_hub_pulls: usize,
    /// What is left of Docker Hub's quota for this network or account, when it says so.
    pub docker_hub_left: Option<u64>,
    /// Bytes per second: as given, or as measured.
    pub bytes_per_second: Option<u64>,
    /// Whether the rate was measured just now.
    pub measured: bool,
    /// How long the known bytes take at this rate.
    pub seconds: Option<u64>,
}

/// Plans a fetch without running it. Unless a rate is given or the client is offline, the line is measured for as
/// long as `sample` with blobs of the lab; what comes is kept, and the fetch goes on from there.
///
/// # Errors
/// When the lock or the store cannot be used.
pub async fn run(context: &Context, request: &Request, sample: Duration) -> miette::Result<Estimate> {
    let lock = lockfile::read(&context.lock_path())?;
    refuse_unknown(&lock, &request.only)?;
    let request = &super::fetch::of_profile(&lock, request)?;
    let store = context.open_store()?;
    let only = super::fetch::with_parts(&lock, &request.only);
    let plan = Plan::new(&lock, &store.present()?, &only);
    let mut network = context.network(request.per_host)?;
    network.max_rate = request.max_rate;
    let client = Arc::new(Client::new(network, Arc::new(Silent))?);
    let pending: Vec<String> =
        lock.pending().into_iter().map(|(name, _)| name).filter(|name| is_selected(name, &only)).collect();

    let downloads: Vec<PlannedBlob> = plan.missing.into_iter().filter(fetch::is_download).collect();
    let bytes = downloads.iter().map(|blob| blob.descriptor.size).sum();
    let pulls = hub_pulls(&client, &downloads)?;
    let waiting = pending.iter().map(|name| pending_pulls(&client, &lock, name)).sum::<Result<usize, FetchError>>()?;
    let docker_hub_left = match pulls.first().filter(|_| !context.offline) {
        Some(location) => left_of_quota(&client, location).await,
        None => None,
    };
    let blobs = downloads.len();
    let measured = request.max_rate.is_none() && !context.offline;
    let rate = match request.max_rate {
        Some(rate) => Some(rate),
        None if measured => measure(&client, &store, downloads, request.jobs, sample).await,
        None => None,
    };
    Ok(Estimate {
        lab_id: lock.lab_id(),
        blobs,
        bytes,
        pending,
        docker_hub_pulls: pulls.len() + waiting,
        docker_hub_left,
        bytes_per_second: rate,
        measured: measured && rate.is_some(),
        seconds: rate.map(|rate| bytes.div_ceil(rate.max(1))),
    })
}

/// The missing documents that Docker Hub would be asked for.
fn hub_pulls(client: &Client, downloads: &[PlannedBlob]) -> Result<Vec<Location>, FetchError> {
    let mut pulls = Vec::new();
    for blob in downloads {
        // The first place that has it is asked; two images may share a manifest.
        let Some(Origin::RegistryManifest(reference)) = blob.origins.first() else { continue };
        let places = client.manifest_locations(reference, &blob.descriptor.digest.to_string())?;
        pulls.extend(places.into_iter().next().filter(Location::is_docker_hub));
    }
    Ok(pulls)
}

/// An image that is not resolved yet takes its tag's document and one for each platform.
fn pending_pulls(client: &Client, lock: &Lock, artifact: &str) -> Result<usize, FetchError> {
    let Some(image) = artifact.strip_prefix("image.").and_then(|name| lock.image.get(name)) else { return Ok(0) };
    let places = client.manifest_locations(&image.want, "latest")?;
    Ok(if places.first().is_some_and(Location::is_docker_hub) { 1 + lock.node.len() } else { 0 })
}

/// Docker Hub tells it with every look at a manifest, and a look is not counted
/// (docs.docker.com/docker-hub/usage/pulls, "View pull rate and limit").
async fn left_of_quota(client: &Client, manifest: &Location) -> Option<u64> {
    let headers = client.look(manifest).await.ok()?;
    headers.get("ratelimit-remaining")?.to_str().ok()?.split(';').next()?.parse().ok()
}

/// Bytes per second over as many connections as the fetch would use. Manifests are not touched: they may cost a pull.
async fn measure(
    client: &Arc<Client>,
    store: &crate::store::Store,
    downloads: Vec<PlannedBlob>,
    jobs: Option<usize>,
    sample: Duration,
) -> Option<u64> {
    let is_manifest = |blob: &PlannedBlob| matches!(blob.origins.first(), Some(Origin::RegistryManifest(_)));
    let layers = downloads.into_iter().filter(|blob| !is_manifest(blob)).collect();
    let begun = std::time::Instant::now();
    let (jobs, upstream) = (jobs.unwrap_or(super::fetch::DEFAULT_JOBS), Lanes::upstream(client));
    let fetch = fetch::fetch_all(client, store, layers, jobs, &upstream);
    // Dropping a fetch is safe: the next one resumes.
    let _ = tokio::time::timeout(sample, fetch).await;
    let rate = client.received() as f64 / begun.elapsed().as_secs_f64();
    (rate >= 1.0).then_some(rate as u64)
}
