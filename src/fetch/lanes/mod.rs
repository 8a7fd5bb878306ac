//! Several sources at once. Each is a lane with its own speed and health; a blob goes to the lane that is expected to
//! be done with it first, and from one lane to the next when the first dies, falls silent, crawls or lies.
//!
//! ```text
//! bring_all  tasks that ask the room for work until there is none
//!   ├─ room      shared state: waiting blobs (job), sources (lane: meter, health)
//!   │    ├─ policy   which blob from which lane next; when to move      pure
//!   │    ├─ health   rests, benched, gone                               pure
//!   │    ├─ judge    whose fault a failure is                           pure
//!   │    ├─ offers   what the room's server says who may be asked for     only with `--share`
//!   │    └─ parts    who sent which part; whose part was wrong          pure
//!   └─ carry     one blob from one lane: the only code here with I/O
//! ```
//!
//! What always holds: nothing is believed of a source, its bytes get a name only when the digest of the whole is the
//! locked one. A part of a blob is kept for the next source. When a whole of several sources' parts is wrong, one
//! source alone brings it anew, and its right bytes show who lied. A source that lied is not asked again in this run.

mod carry;
mod health;
mod job;
mod judge;
mod lane;
mod meter;
mod offers;
mod parts;
mod policy;
mod room;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    base::Event,
    lockfile::Lock,
    plan::PlannedBlob,
    store::{Store, Whole},
};

use super::{
    Client, Failure, FetchError, RegistryLayout, Source,
    blob::{Brought, joined},
};

use self::{
    carry::Carrier,
    lane::{Kind, Lane, is_published},
    policy::Rank,
    room::{Next, Room},
};

/// What `--from` and messages call everybody whom the lock names.
pub(super) const UPSTREAM: &str = "upstream";
/// Every transfer of one run may go upstream: `per_host` and `jobs` are the limits there.
const NO_LIMIT: usize = usize::MAX;

/// When to give up on a source, where there is another.
#[derive(Debug, Clone)]
pub struct LanePolicy {
    /// Failures in a row after which a source is passed over.
    pub strikes: u32,
    /// How long a source is left alone after its first failure; it doubles.
    pub first_rest: Duration,
    /// The longest rest.
    pub longest_rest: Duration,
    /// How long a transfer may bring nothing.
    pub silence: Duration,
    /// How long a transfer is watched before it may be called slow.
    pub watch: Duration,
    /// Bytes per second below which a source is as good as dead, and upstream is asked instead.
    pub floor: u64,
}

impl Default for LanePolicy {
    fn default() -> Self {
        Self {
            strikes: 4,
            first_rest: Duration::from_millis(500),
            longest_rest: Duration::from_secs(8),
            // A laptop that was closed says nothing; one whose disk has to wake up does after two or three seconds.
            silence: Duration::from_secs(6),
            watch: Duration::from_secs(4),
            // Thirty clients on one old access point get more than that each.
            floor: 16 * 1024,
        }
    }
}

/// What came from one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// As `--from` named it; `upstream` for everybody whom the lock names.
    pub source: String,
    /// Blobs that it brought to their end.
    pub blobs: usize,
    /// Bytes that it sent, those that were of no use included.
    pub bytes: u64,
    /// Why it was not asked any more, if so.
    pub dropped: Option<DroppedReport>,
}

/// Why a source was not asked any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DroppedReport {
    /// Whether it sent bytes that are not the locked ones; otherwise it only failed.
    pub lied: bool,
    /// What it sent, or how it failed.
    pub what: String,
}

/// The sources of a run that are reached over the network, with what is known of each.
pub struct Lanes {
    room: Arc<Room>,
}

impl Lanes {
    /// Upstream alone.
    pub fn upstream(client: &Client) -> Self {
        Self::new(client, &[], &Lock::default())
    }

    /// These sources, and upstream: in its own place where it is named, else for what none of them has. Local sources
    /// are not for here, see [`super::take_from`]. `lock` says what is where in a registry.
    pub fn new(client: &Client, sources: &[Source], lock: &Lock) -> Self {
        let network = client.network();
        let mut lanes: Vec<Lane> = Vec::new();
        for source in sources {
            let (kind, places) = match source {
                Source::Store(url) => (Kind::Store(url.clone()), network.per_host.max(1)),
                Source::Registry(address) => {
                    let homes = Arc::new(RegistryLayout::of(lock).homes());
                    (Kind::Registry { address: address.clone(), homes }, network.per_host.max(1))
                }
                Source::Upstream => (Kind::Upstream, NO_LIMIT),
                Source::Folder(_) | Source::Archive(_) | Source::Docker => continue,
            };
            if lanes.iter().all(|lane| lane.kind != kind) {
                lanes.push(Lane::new(kind, Rank::Named, places));
            }
        }
        if !lanes.iter().any(Lane::is_upstream) {
            lanes.push(Lane::new(Kind::Upstream, Rank::Reserve, NO_LIMIT));
        }
        Self { room: Arc::new(Room::new(lanes, network.lanes.clone())) }
    }

    /// What came from each source so far.
    pub fn report(&self) -> Vec<SourceReport> {
        self.room.report()
    }

    /// Brings these blobs, `jobs` at once, in the order given, and hands each over that is whole and has no name yet.
    pub(super) async fn bring_all(
        &self,
        client: &Arc<Client>,
        store: &Store,
        blobs: Vec<PlannedBlob>,
        jobs: usize,
        hand_over: mpsc::Sender<(PlannedBlob, Whole)>,
    ) -> Vec<Failure> {
        let tasks = jobs.clamp(1, blobs.len().max(1));
        self.room.fill(blobs);
        // A task each: one task for all of them would hash on one core.
        let work = (0..tasks).map(|_| {
            let (client, store, room) = (Arc::clone(client), store.clone(), Arc::clone(&self.room));
            let hand_over = hand_over.clone();
            let work = async move { work(&client, &store, &room, &hand_over).await };
            joined(AbortOnDropHandle::new(tokio::spawn(work)))
        });
        futures::future::join_all(work).await;
        self.room.take_failures()
    }
}

/// Brings one blob after the other until there is none.
async fn work(client: &Client, store: &Store, room: &Room, hand_over: &mpsc::Sender<(PlannedBlob, Whole)>) {
    let carrier = Carrier { client, store, room };
    loop {
        // Before the question: what changes after it is not missed.
        let mut changed = std::pin::pin!(room.changed.notified());
        changed.as_mut().enable();
        match room.next(Instant::now()) {
            Next::Bring(assignment) => {
                let blob = assignment.job.blob.clone();
                if let Some(Brought::Whole(whole)) = carrier.run(*assignment).await {
                    // The other end is gone only when this future is.
                    let _ = hand_over.send((blob, whole)).await;
                }
            }
            Next::GivenUp { id, told, label, size, error } => {
                if !told {
                    client.reporter().report(Event::TransferStarted { id, name: label, total: Some(size) });
                }
                client.reporter().report(Event::TransferFailed { id, error, retrying: false });
            }
            Next::Wait(until) => {
                let now = Instant::now();
                let pause = until.map_or(room::LOOK_AGAIN, |until| until.saturating_duration_since(now));
                // The timer is coarse: without a minimum, the last moment of a rest would be spent asking.
                let pause = pause.clamp(Duration::from_millis(2), room::LOOK_AGAIN);
                let _ = tokio::time::timeout(pause, changed).await;
            }
            Next::Done => {
                room.changed.notify_waiters();
                return;
            }
        }
    }
}

/// Whether a blob comes over the network, and is not read out of an archive or built.
pub fn is_download(blob: &PlannedBlob) -> bool {
    blob.origins.iter().any(is_published)
}

/// The error and what is at the bottom of it: `reqwest` wraps "connection refused" four times.
fn chain(error: &FetchError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    match causes.last() {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}
