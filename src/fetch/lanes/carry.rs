//! One blob from one source: opens its place in the store, asks, watches how it comes, and says how it ended.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    base::Event,
    fetch::{
        Client, FetchError, RetryPolicy, Wanted,
        attempt::restart,
        blob::{Brought, Transfer, blocking, is_final_everywhere},
        source::Location,
    },
    store::{Ingest, Slot, Store, Whole},
};

use super::{
    job::Assignment,
    meter::Meter,
    parts::Parts,
    policy::{Move, Underway},
    room::{Ended, Farewell, Room},
};

/// How often a transfer is looked at.
const TICK: Duration = Duration::from_millis(250);

/// A source with its transfer under way.
pub(super) struct Carrier<'a> {
    pub(super) client: &'a Client,
    pub(super) store: &'a Store,
    pub(super) room: &'a Room,
}

/// What is known of the transfer while it runs.
struct Progress {
    meter: Mutex<(Meter, Option<Instant>)>,
    /// Bytes that the lane still counts as outstanding.
    left: AtomicU64,
    told: AtomicBool,
}

impl Carrier<'_> {
    /// Brings it, or puts it back. Returns what came, to be given its name.
    pub(super) async fn run(&self, mut assignment: Assignment) -> Option<Brought> {
        let size = assignment.job.blob.descriptor.size;
        let progress = Progress {
            meter: Mutex::default(),
            left: AtomicU64::new(size),
            told: AtomicBool::new(assignment.job.told),
        };
        let ended = self.bring(&mut assignment, &progress).await;
        assignment.job.told = progress.told.into_inner();
        let (id, lane, left) = (assignment.job.id, assignment.lane, progress.left.into_inner());
        let told = assignment.job.told;
        match ended {
            Ok(brought) => {
                let brought = match brought {
                    Brought::Whole(whole) => Brought::Whole(self.tell_liar(&assignment, whole).await),
                    present @ Brought::Present(_) => present,
                };
                if told {
                    self.client.reporter().report(Event::TransferFinished { id });
                }
                let came = matches!(brought, Brought::Whole(_));
                self.room.done(lane, came, left, Instant::now());
                Some(brought)
            }
            Err(ended) => {
                let error = match &ended {
                    Ended::Moved(Move::Silent) => format!("{} sends nothing any more", assignment.name),
                    Ended::Moved(Move::Slow) => format!("{} is slow", assignment.name),
                    Ended::Failed(error) => error.to_string(),
                };
                let (again, farewell) = self.room.put_back(assignment, ended, left, Instant::now());
                if told && again {
                    self.client.reporter().report(Event::TransferFailed { id, error, retrying: true });
                }
                self.tell(farewell);
                None
            }
        }
    }

    async fn bring(&self, assignment: &mut Assignment, progress: &Progress) -> Result<Brought, Ended> {
        let blob = &assignment.job.blob;
        let wanted = Wanted { expected: blob.descriptor.into(), label: blob.label.clone() };
        let name = blob.descriptor.digest.hex();
        let slot = self.client.open(self.store, &wanted, &name).await.map_err(Ended::Failed)?;
        let mut slot = match slot {
            Slot::Present(blob) => return Ok(Brought::Present(blob)),
            Slot::Empty(ingest) => Some(ingest),
        };
        self.forget_doubtful(assignment, &mut slot).await.map_err(Ended::Failed)?;
        let already = slot.as_ref().map_or(0, Ingest::written);
        if already > 0 {
            progress.left.fetch_sub(already, Ordering::Relaxed);
            self.room.has_already(assignment.lane, already);
        }
        if !assignment.choice {
            self.tell_begin(assignment, already, progress);
        }
        let ended = self.transfer(assignment, &wanted, &name, &mut slot, already, progress).await;
        if let Some(ingest) = &slot {
            assignment.job.parts.note(ingest.kept(), assignment.lane, ingest.so_far());
        }
        ended
    }

    /// A part that came from somebody who has lied since is not trusted, and neither is anybody's where one source
    /// shall bring everything.
    async fn forget_doubtful(&self, assignment: &mut Assignment, slot: &mut Option<Ingest>) -> Result<(), FetchError> {
        let Some(ingest) = slot else { return Ok(()) };
        assignment.job.parts.keep(ingest.kept());
        let alone = assignment.job.alone && !assignment.job.parts.are_all_from(assignment.lane);
        if alone || self.room.has_lies(&assignment.job) {
            restart(slot).await?;
            assignment.job.parts = Parts::default();
        }
        Ok(())
    }

    /// Asks the source's addresses in turn, and leaves when another source should go on.
    async fn transfer(
        &self,
        assignment: &mut Assignment,
        wanted: &Wanted,
        name: &str,
        slot: &mut Option<Ingest>,
        already: u64,
        progress: &Progress,
    ) -> Result<Brought, Ended> {
        let begun = Instant::now();
        let came = |bytes: u64| {
            let now = Instant::now();
            if !progress.told.load(Ordering::Relaxed) {
                self.tell_begin(assignment, already, progress);
            }
            {
                let mut seen = progress.meter.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.1.is_none() {
                    seen.0.begin(begun);
                    if assignment.choice {
                        let (id, source) = (assignment.job.id, assignment.name.clone());
                        self.client.reporter().report(Event::TransferFrom { id, source });
                    }
                }
                seen.0.take(now, bytes);
                seen.1 = Some(now);
            }
            self.client.reporter().report(Event::TransferProgress { id: assignment.job.id, bytes });
            // What comes a second time was not expected any more.
            let before = progress.left.load(Ordering::Relaxed);
            let expected = bytes.min(before);
            progress.left.store(before - expected, Ordering::Relaxed);
            self.room.took(assignment.lane, now, bytes, expected);
        };
        let locations = assignment.kind.locations(self.client, &assignment.job.blob).map_err(Ended::Failed)?;
        // Bytes of two sources that do not fit together are looked into by `Room::put_back`; upstream's own places are
        // one source, so there a first half of an earlier run or of another mirror is forgotten right here.
        let starts_over = assignment.is_upstream() && assignment.job.parts.concern_only(assignment.lane);
        let ended = {
            let ask = self.ask_in_turn(assignment, wanted, name, slot, &locations, starts_over, &came);
            if assignment.choice {
                tokio::select! {
                    biased;
                    result = ask => result.map_err(Ended::Failed),
                    why = self.watch(assignment, begun, progress) => Err(Ended::Moved(why)),
                }
            } else {
                ask.await.map_err(Ended::Failed)
            }
        };
        if starts_over && matches!(ended, Err(Ended::Failed(FetchError::WrongDigest { .. }))) {
            // It was asked for everything.
            assignment.job.parts = Parts::default();
        }
        ended
    }

    #[allow(clippy::too_many_arguments, reason = "they are one transfer's values, named")]
    async fn ask_in_turn(
        &self,
        assignment: &Assignment,
        wanted: &Wanted,
        name: &str,
        slot: &mut Option<Ingest>,
        locations: &[Location],
        starts_over: bool,
        came: &(dyn Fn(u64) + Sync),
    ) -> Result<Brought, FetchError> {
        // Who has somewhere else to go does not wait.
        let policy = &self.client.network().retry;
        let retry = RetryPolicy { retries: if assignment.last { policy.retries } else { 0 }, ..policy.clone() };
        let mut last = None;
        for location in locations {
            let (client, store, id) = (self.client, self.store, assignment.job.id);
            let transfer =
                Transfer { client, store, wanted, name, location, id, retry: &retry, starts_over, progress: came };
            match transfer.run(slot).await {
                Ok(brought) => return Ok(brought),
                Err(error) if is_final_everywhere(&error) => return Err(error),
                // What was here was wrong as a whole, and others had a part in it.
                Err(error) if slot.is_none() && !starts_over => return Err(error),
                Err(error) => last = Some(error),
            }
            if slot.is_none() {
                // It was wrong as a whole; the next place is asked for everything.
                match self.client.open(self.store, wanted, name).await? {
                    Slot::Present(blob) => return Ok(Brought::Present(blob)),
                    Slot::Empty(ingest) => *slot = Some(ingest),
                }
            }
        }
        let nobody = || FetchError::Address { text: wanted.label.clone(), problem: "nobody publishes it".to_owned() };
        Err(last.unwrap_or_else(nobody))
    }

    /// Returns when the transfer should go on from another source.
    async fn watch(&self, assignment: &Assignment, begun: Instant, progress: &Progress) -> Move {
        let limits = &self.room.limits;
        let tick = TICK.min(limits.silence / 4).min(limits.watch / 4);
        loop {
            tokio::time::sleep(tick).await;
            let now = Instant::now();
            let (rate, heard) = {
                let seen = progress.meter.lock().unwrap_or_else(PoisonError::into_inner);
                (seen.0.rate(now).unwrap_or(0.0), seen.1)
            };
            // A registry may take its time to the first byte of a cold blob; a peer has its blobs at hand.
            let Some(since) = heard.or((!assignment.is_upstream()).then_some(begun)) else { continue };
            let transfer = Underway {
                lane: assignment.lane,
                watched: now.saturating_duration_since(begun),
                silent: now.saturating_duration_since(since),
                rate,
                remaining: progress.left.load(Ordering::Relaxed),
            };
            if let Some(why) = self.room.moves(&assignment.job, transfer, now) {
                return why;
            }
        }
    }

    fn tell_begin(&self, assignment: &Assignment, already: u64, progress: &Progress) {
        let job = &assignment.job;
        let report = |event| self.client.reporter().report(event);
        if !progress.told.swap(true, Ordering::Relaxed) {
            let (name, total) = (job.blob.label.clone(), Some(job.blob.descriptor.size));
            report(Event::TransferStarted { id: job.id, name, total });
            if already > 0 {
                report(Event::TransferResumed { id: job.id, bytes: already });
            }
        }
    }

    /// Says whose part of an earlier try was wrong, now that the right bytes are here.
    async fn tell_liar(&self, assignment: &Assignment, whole: Whole) -> Whole {
        let Some(suspects) = &assignment.job.suspects else { return whole };
        let ends = suspects.ends();
        let (whole, right) = blocking(move || {
            let right = whole.beginnings(&ends);
            (whole, right)
        })
        .await;
        if let Ok(right) = right {
            self.tell(self.room.find_liar(&assignment.job, &right));
        }
        whole
    }

    fn tell(&self, farewell: Option<Farewell>) {
        if let Some(Farewell { source, what, lied }) = farewell {
            self.client.reporter().report(Event::SourceDropped { source, what, lied });
        }
    }
}
