//! `ztlab fetch`: every locked byte into the store.
//!
//! ```text
//! pending entries are resolved (and the lock written) → blobs of other folders are copied → downloads
//! → archive members are read out → app images are built → index.json names the images
//! ```
//!
//! No failure stops the others. A run that finds everything in the store asks the network nothing.

mod apps;
mod end;
mod share;

use std::sync::Arc;

use serde::Serialize;

use crate::{
    base::{Digest, Event, digest},
    fetch::{self, Client, Lanes, Source, SourceReport, blocking},
    intent::{Intent, profile::FULL},
    lockfile::{self, CheckedLock, Lock, UnknownProfile},
    plan::{Plan, PlannedBlob, is_selected},
    resolve::{self, Question},
    store::Store,
};

use super::{
    Context,
    lock::{SaveError, failure, refuse_stale, refuse_unknown},
    signature,
    supply::{ArtifactFailure, DiskFull, named_images},
};

pub use apps::AppBuilder;
pub use share::{Share, Shared, Sharing};

/// Downloads at a time, unless the command line says otherwise.
pub const DEFAULT_JOBS: usize = 8;

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Artifacts to fetch; empty means all.
    pub only: Vec<String>,
    /// Fetch what this profile needs; everything when absent. Not together with `only`.
    pub profile: Option<String>,
    /// Downloads at a time.
    pub jobs: Option<usize>,
    /// Requests to one host at a time.
    pub per_host: Option<usize>,
    /// Refuse to complete or change the lock.
    pub locked: bool,
    /// Places to look in before upstream, in this order.
    pub from: Vec<Source>,
    /// Bytes per second over all connections; `None` is no limit.
    pub max_rate: Option<u64>,
    /// Serve what is here to others of the room, and take from them.
    pub share: Option<Share>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The lab's identity.
    pub lab_id: Digest,
    /// How much of it: `full`, or another of its profiles.
    pub profile: String,
    /// Artifacts asked for.
    pub artifacts: usize,
    /// Their blobs.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that this run brought.
    pub fetched_blobs: usize,
    /// Bytes that this run brought.
    pub fetched_bytes: u64,
    /// Entries that this run completed in the lock.
    pub completed: Vec<String>,
    /// App images that this run built.
    pub built: Vec<String>,
    /// Requests that went out; none when all was there.
    pub requests: u64,
    /// What came from where, and which sources were dropped. Sources that were not needed are listed too.
    pub sources: Vec<SourceReport>,
    /// What was given to others of the room, and what came from them.
    pub shared: Option<Shared>,
}

/// Brings every locked byte into the store.
///
/// # Errors
/// [`Incomplete`], with each artifact's own cause, after everything else was brought; before anything is
/// asked for, when the lock cannot be used.
pub async fn run(
    context: &Context,
    request: &Request,
    builder: Option<Arc<dyn AppBuilder>>,
) -> miette::Result<Outcome> {
    Ok(run_sharing(context, request, builder).await?.0)
}

/// The same, and what goes on after it where [`Request::share`] asks for that: others are served until the second value
/// is dropped, or for as long as [`Sharing::stay`] says.
///
/// # Errors
/// As [`run`]; and when there is no room to share in, or nobody can listen on the address.
pub async fn run_sharing(
    context: &Context,
    request: &Request,
    builder: Option<Arc<dyn AppBuilder>>,
) -> miette::Result<(Outcome, Option<Sharing>)> {
    let lock = lockfile::read(&context.lock_path())?;
    refuse_unknown(&lock, &request.only)?;
    let request = &of_profile(&lock, request)?;
    look_at_intent(context, request, &lock)?;
    if request.locked {
        CheckedLock::new(lock.narrowed(&lock.profile(request.profile_name())?))?;
    }
    if request.share.is_some() {
        // Laptops of one room have one lab id from the beginning, whatever their profiles.
        CheckedLock::new(lock.clone())?;
    }
    let standing = signature::judge(context, &lock)?;
    let store = context.open_store()?;
    let before = store.present()?;
    let client = Arc::new(client(context, request)?);
    signature::say(context, &lock, &standing);
    let request = &Request { only: with_parts(&lock, &request.only), ..request.clone() };
    let mut run = Run {
        context,
        request,
        client,
        store,
        lock,
        failures: Vec::new(),
        built: Vec::new(),
        sources: Vec::new(),
        sharing: None,
    };
    let as_it_was = lockfile::write(&run.lock);
    let pending_before = run.pending();
    signature::refuse_pending(&standing, &pending_before)?;

    run.complete_pending().await?;
    run.save_when_changed(&as_it_was)?;
    run.bring_missing().await?;
    run.build_apps(builder).await?;
    run.save_when_changed(&as_it_was)?;
    run.store.name_images(&named_images(&run.lock), run.client.reporter())?;
    let sharing = run.sharing.take();
    let mut outcome = run.finish(&before, &pending_before)?;
    outcome.shared = sharing.as_ref().map(|sharing| sharing.so_far());
    Ok((outcome, sharing))
}

/// The way out of this run.
fn client(context: &Context, request: &Request) -> miette::Result<Client> {
    let mut network = context.network(request.per_host)?;
    network.max_rate = request.max_rate;
    for source in &request.from {
        match source {
            Source::Store(url) => network.mirrors.name(url.clone()),
            Source::Registry(address) => network.mirrors.name(address.base().clone()),
            _ => {}
        }
    }
    Ok(Client::new(network, Arc::clone(&context.reporter))?)
}

impl Request {
    /// The profile's name.
    pub(super) fn profile_name(&self) -> &str {
        self.profile.as_deref().unwrap_or(FULL)
    }
}

/// A request for a profile as one for the entries that it needs.
pub(super) fn of_profile(lock: &Lock, request: &Request) -> Result<Request, UnknownProfile> {
    let profile = lock.profile(request.profile_name())?;
    if profile.is_full() {
        return Ok(request.clone());
    }
    let needed = lock.narrowed(&profile).artifacts().into_iter().map(|artifact| artifact.name);
    Ok(Request { only: needed.collect(), ..request.clone() })
}

/// Whoever asks for an app asks for what it is made of.
pub(super) fn with_parts(lock: &Lock, only: &[String]) -> Vec<String> {
    let apps = lock.app.iter().filter(|(name, _)| !only.is_empty() && is_selected(&format!("app.{name}"), only));
    let parts = apps.flat_map(|(_, entry)| {
        let wheels = entry.request.wheels.iter().map(|wheel| format!("wheel.{wheel}"));
        std::iter::once(entry.request.base.clone()).chain(wheels)
    });
    only.iter().cloned().chain(parts).collect()
}

/// A lock that is behind its intent is fetched as it is, and said to be behind.
fn look_at_intent(context: &Context, request: &Request, lock: &Lock) -> miette::Result<()> {
    if !context.intent_path().exists() {
        return Ok(());
    }
    let intent = Intent::read(&context.intent_path())?;
    match refuse_stale(context, &intent, lock) {
        Err(error) if request.locked => Err(error),
        Err(error) => {
            let text = format!("{error}\nfetching what is locked; `ztlab lock` brings it up to date");
            context.reporter.report(Event::Warning { text });
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// One run's values.
struct Run<'a> {
    context: &'a Context,
    request: &'a Request,
    client: Arc<Client>,
    store: Store,
    lock: Lock,
    failures: Vec<ArtifactFailure>,
    built: Vec<String>,
    sources: Vec<SourceReport>,
    sharing: Option<Sharing>,
}

impl Run<'_> {
    /// Names of selected entries with gaps.
    fn pending(&self) -> Vec<String> {
        let names = self.lock.pending().into_iter().map(|(name, _)| name);
        names.filter(|name| is_selected(name, &self.request.only)).collect()
    }

    /// Asks upstream for what the lock does not know yet.
    async fn complete_pending(&mut self) -> miette::Result<()> {
        let question = Question { only: &self.request.only, ..Question::default() };
        let unresolved = resolve::resolve(&self.client, &self.store, &mut self.lock, question).await;
        self.failures.extend(unresolved.iter().map(failure));
        for (name, entry) in &mut self.lock.app {
            if entry.source.is_none() && is_selected(&format!("app.{name}"), &self.request.only) {
                entry.source = Some(resolve::source_digest(&self.context.lab, name, &entry.request)?);
            }
        }
        Ok(())
    }

    fn save_when_changed(&self, as_it_was: &str) -> miette::Result<()> {
        if lockfile::write(&self.lock) != as_it_was {
            lockfile::save(&self.context.lock_path(), &self.lock).map_err(SaveError)?;
            signature::warn_when_old(self.context);
        }
        // Before the first blob comes: a collection that runs beside this fetch leaves its blobs alone.
        super::store::note(self.context, &self.store, &self.lock)
    }

    /// Copies, downloads, and reads out of archives.
    async fn bring_missing(&mut self) -> miette::Result<()> {
        let jobs = self.request.jobs.unwrap_or(DEFAULT_JOBS);
        let mut missing = self.missing()?;
        self.announce(&missing);
        for source in self.request.from.iter().filter(|source| source.is_local()) {
            let environment = &self.context.environment;
            let before = totals(&missing);
            missing = fetch::take_from(source, &self.client, &self.store, missing, environment).await?;
            let left = totals(&missing);
            let (blobs, bytes) = (before.0 - left.0, before.1 - left.1);
            self.sources.push(SourceReport { source: source.shown(), blobs, bytes, dropped: None });
        }
        let lanes = Lanes::new(&self.client, &self.request.from, &self.lock);
        if let Some(share) = &self.request.share {
            self.sharing = share::begin(self, share, &lanes, &missing).await?;
        }
        let mut failures = fetch::fetch_all(&self.client, &self.store, missing, jobs, &lanes).await;
        self.sources.extend(lanes.report());

        let (missing, store, reporter) = (self.missing()?, self.store.clone(), self.client.shared_reporter());
        failures.extend(blocking(move || fetch::extract_members(&store, missing, reporter.as_ref())).await);
        if failures.iter().any(|failed| failed.error.is_disk_full()) {
            // Everything else failed for the same reason: one error says it better than one for each artifact.
            let missing = self.missing()?.iter().map(|blob| blob.descriptor.size).sum();
            return Err(DiskFull { store: self.store.root().to_owned(), missing }.into());
        }
        for failed in &failures {
            let integrity = failed.error.is_integrity();
            for artifact in &failed.blob.needed_by {
                let part = failed.blob.label.split_once(' ').map(|(_, part)| part.to_owned());
                self.failures.push(ArtifactFailure::new(artifact, part, &failed.error, integrity));
            }
        }
        Ok(())
    }

    /// Says how much there is to bring: an ETA needs the end before the beginning.
    fn announce(&self, missing: &[PlannedBlob]) {
        let comes = |blob: &&PlannedBlob| fetch::is_download(blob);
        let bytes = missing.iter().filter(comes).map(|blob| blob.descriptor.size).sum();
        let transfers = missing.iter().filter(comes).count();
        if transfers > 0 {
            self.client.reporter().report(Event::TransfersPlanned { transfers, bytes });
        }
        if let Some(warning) = digest::warning_when_slow(digest::has_instructions(), bytes) {
            self.client.reporter().report(warning);
        }
    }

    fn missing(&self) -> miette::Result<Vec<PlannedBlob>> {
        Ok(Plan::new(&self.lock, &self.store.present()?, &self.request.only).missing)
    }
}

/// How many blobs, and their bytes.
fn totals(blobs: &[PlannedBlob]) -> (usize, u64) {
    (blobs.len(), blobs.iter().map(|blob| blob.descriptor.size).sum())
}
