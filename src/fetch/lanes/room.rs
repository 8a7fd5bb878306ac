//! What all transfers of a run share: the blobs that nobody brings yet, and what is known of each source. Decisions
//! are made in `policy`, here is the state they are made of. No I/O.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    base::Digest,
    fetch::{Failure, FetchError, is_download},
    plan::PlannedBlob,
};

use super::{
    DroppedReport, LanePolicy, SourceReport,
    job::{Assignment, Job, NEVER, TRIES},
    judge::{Blame, judge},
    lane::Lane,
    parts::Who,
    policy::{self, LaneView, Move, Stand, Step, Underway},
};

/// How an assignment ended, short of a whole blob.
#[derive(Debug)]
pub(super) enum Ended {
    /// It should go on elsewhere.
    Moved(Move),
    Failed(FetchError),
}

/// A source that is not asked any more: for an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) source: String,
    pub(super) what: String,
    pub(super) lied: bool,
}

/// What to do now.
pub(super) enum Next {
    Bring(Box<Assignment>),
    /// No source is left for this blob, which people have heard of or should.
    GivenUp {
        id: u64,
        told: bool,
        label: String,
        size: u64,
        error: String,
    },
    /// Nothing before this time, or before something else ends.
    Wait(Option<Instant>),
    /// Everything is done.
    Done,
}

/// See the top of this file.
pub(super) struct Room {
    state: Mutex<State>,
    /// Rings when a transfer ended.
    pub(super) changed: Notify,
    pub(super) limits: LanePolicy,
}

pub(super) struct State {
    pub(super) lanes: Vec<Lane>,
    pub(super) waiting: Vec<Job>,
    /// Of all of them.
    waiting_bytes: u64,
    pub(super) under_way: usize,
    failures: Vec<Failure>,
    /// The room's server, where there is one that says who takes what from whom.
    pub(super) leader: Option<usize>,
}

impl State {
    fn views(&self, now: Instant) -> Vec<LaneView> {
        self.lanes.iter().map(|lane| lane.view(now)).collect()
    }

    fn take(&mut self, index: usize) -> Job {
        let job = self.waiting.remove(index);
        self.waiting_bytes -= job.blob.descriptor.size;
        job
    }

    /// Blames a source for wrong bytes. Upstream is named and stays: it is many servers.
    fn blame(&mut self, lane: usize, what: &str) -> Option<Farewell> {
        let lane = &mut self.lanes[lane];
        let new = lane.health.lied(what);
        let farewell = new.then(|| Farewell { source: lane.name.clone(), what: what.to_owned(), lied: true });
        // A laptop that lies could go on under other ports.
        if let Some(liar) = lane.peer() {
            let same = |lane: &&mut Lane| lane.peer().is_some_and(|peer| peer != liar && peer.ip() == liar.ip());
            self.lanes.iter_mut().filter(same).for_each(|lane| lane.health.distrust());
        }
        farewell
    }
}

impl Room {
    pub(super) fn new(lanes: Vec<Lane>, limits: LanePolicy) -> Self {
        let state =
            State { lanes, waiting: Vec::new(), waiting_bytes: 0, under_way: 0, failures: Vec::new(), leader: None };
        Self { state: Mutex::new(state), changed: Notify::new(), limits }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the blobs to bring, in order of preference; those that no source can have are left out.
    pub(super) fn fill(&self, blobs: Vec<PlannedBlob>) {
        let mut state = self.state();
        let wanted = blobs.into_iter().filter(|blob| state.lanes.iter().any(|lane| lane.kind.may_have(blob)));
        let mut jobs: Vec<Job> = wanted.map(Job::new).collect();
        // Who was not tested has one transfer at a time: a small blob is over soonest. They come largest first.
        let untested = state.lanes.iter().filter(|lane| lane.health.is_untested()).count();
        let small = jobs.split_off(jobs.len().saturating_sub(untested));
        jobs.splice(0..0, small);
        state.waiting_bytes += jobs.iter().map(|job| job.blob.descriptor.size).sum::<u64>();
        state.waiting.extend(jobs);
    }

    /// Decides what to do next, and begins it.
    pub(super) fn next(&self, now: Instant) -> Next {
        let mut state = self.state();
        loop {
            let views = state.views(now);
            let blobs = state.waiting.iter().map(|job| job.view(&state.lanes));
            match policy::next(blobs, state.waiting_bytes, &views) {
                Step::Begin { blob, lane, last } => {
                    let job = state.take(blob);
                    state.under_way += 1;
                    let choice = state.lanes.len() > 1;
                    let taken = &mut state.lanes[lane];
                    taken.begin(now, job.blob.descriptor.size);
                    let (kind, name) = (taken.kind.clone(), taken.name.clone());
                    return Next::Bring(Box::new(Assignment { job, lane, kind, name, last, choice }));
                }
                Step::GiveUp { blob } => {
                    let job = state.take(blob);
                    // What is built or read out of an archive is no failure yet.
                    if job.told || is_download(&job.blob) {
                        let (id, told, label) = (job.id, job.told, job.blob.label.clone());
                        let size = job.blob.descriptor.size;
                        let failure = job.failure();
                        let error = failure.error.to_string();
                        if is_download(&failure.blob) {
                            state.failures.push(failure);
                        }
                        return Next::GivenUp { id, told, label, size, error };
                    }
                }
                Step::Wait => {
                    return Next::Wait(state.lanes.iter().filter_map(|lane| lane.health.rests_until(now)).min());
                }
                Step::Nothing if state.under_way == 0 => return Next::Done,
                Step::Nothing => return Next::Wait(None),
            }
        }
    }

    /// Bytes came; so many of them were counted as outstanding.
    pub(super) fn took(&self, lane: usize, now: Instant, bytes: u64, expected: u64) {
        self.state().lanes[lane].take(now, bytes, expected);
    }

    /// Bytes need not come: they are here already.
    pub(super) fn has_already(&self, lane: usize, bytes: u64) {
        let lane = &mut self.state().lanes[lane];
        lane.outstanding = lane.outstanding.saturating_sub(bytes);
    }

    /// Whether a part of the blob has come from somebody who has lied since.
    pub(super) fn has_lies(&self, job: &Job) -> bool {
        let state = self.state();
        let lies = |who| matches!(who, Who::Lane(lane) if state.lanes[lane].health.has_lied());
        job.parts.owners().any(lies)
    }

    /// Whether the transfer should go on from another source.
    pub(super) fn moves(&self, job: &Job, transfer: Underway, now: Instant) -> Option<Move> {
        let state = self.state();
        if state.lanes[transfer.lane].peer().is_some() && transfer.silent >= self.limits.silence {
            // The server names another one when it hears of it.
            return Some(Move::Silent);
        }
        policy::moves(transfer, &job.view(&state.lanes), &state.views(now), &self.limits)
    }

    /// The blob is whole, or was there. `left`: bytes that are still counted as outstanding.
    pub(super) fn done(&self, lane: usize, came: bool, left: u64, now: Instant) {
        let mut state = self.state();
        state.under_way -= 1;
        let lane = &mut state.lanes[lane];
        lane.end(now, left);
        if came {
            lane.blobs += 1;
            lane.health.did_well();
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Right bytes are here: whoever sent the first wrong part of an earlier try is named. `right` are the digests at
    /// the ends of its parts.
    pub(super) fn find_liar(&self, job: &Job, right: &[Digest]) -> Option<Farewell> {
        let (who, begin, end) = job.suspects.as_ref()?.first_wrong(right)?;
        let Who::Lane(lane) = who else { return None };
        let what = format!("bytes {begin} to {} of {} are not the locked ones", end - 1, job.blob.label);
        self.state().blame(lane, &what)
    }

    /// It did not become whole: decides who is to blame and puts the blob back, or gives it up. Returns whether it
    /// will be tried again, and whom not to ask any more.
    pub(super) fn put_back(
        &self,
        assignment: Assignment,
        ended: Ended,
        left: u64,
        now: Instant,
    ) -> (bool, Option<Farewell>) {
        let Assignment { mut job, lane: index, last, .. } = assignment;
        let mut state = self.state();
        state.under_way -= 1;
        state.lanes[index].end(now, left);
        let lane = &mut state.lanes[index];
        let mut farewell = None;
        let mut bench = |new: bool, lane: &Lane, what: &str| {
            // A laptop that goes home is no news.
            if new && lane.peer().is_none() {
                farewell = Some(Farewell { source: lane.name.clone(), what: what.to_owned(), lied: false });
            }
        };
        let mut ours = false;
        match ended {
            Ended::Moved(why) => {
                if why == Move::Silent {
                    let new = lane.health.failed(now, "it sends nothing any more", &self.limits);
                    bench(new, lane, "it sends nothing any more");
                }
                // Others first, from now on; it is asked again when they fail.
                job.tries.insert(index, TRIES);
            }
            Ended::Failed(error) => {
                let what = super::chain(&error);
                let mixed = job.is_mixed(index, &error);
                let tries = job.tries.entry(index).or_insert(0);
                // A source that was the last one has had all its attempts.
                *tries = if last { NEVER } else { tries.saturating_add(1) };
                match judge(&error, lane.is_upstream()) {
                    _ if mixed => job.bring_alone(index, &error),
                    Blame::Ours => ours = true,
                    Blame::Lacks => {
                        *tries = NEVER;
                        lane.health.did_well();
                    }
                    Blame::Never => *tries = NEVER,
                    Blame::Busy(pause) => {
                        *tries = tries.saturating_sub(u32::from(!last));
                        let pause = pause.clamp(self.limits.first_rest, self.limits.longest_rest);
                        let new = lane.health.asked_for_patience(now, pause, &what);
                        bench(new, lane, &what);
                    }
                    Blame::Failed => {
                        let new = lane.health.failed(now, &what, &self.limits);
                        bench(new, lane, &what);
                    }
                    Blame::Absent => {
                        let new = if lane.health.is_untested() {
                            lane.health.bench(&what)
                        } else {
                            lane.health.failed(now, &what, &self.limits)
                        };
                        bench(new, lane, &what);
                    }
                    Blame::Lied => {
                        *tries = NEVER;
                        farewell = state.blame(index, &format!("{}: {error}", job.blob.label));
                    }
                }
                job.remember(error);
            }
        }
        let again = !ours && job.view(&state.lanes).stands.iter().any(|stand| *stand != Stand::Never);
        if ours {
            state.failures.push(job.failure());
        } else {
            // It has begun; what is here of it should not wait behind everything else.
            state.waiting_bytes += job.blob.descriptor.size;
            state.waiting.insert(0, job);
        }
        drop(state);
        self.changed.notify_waiters();
        (again, farewell)
    }

    /// Blobs that could not be had.
    pub(super) fn take_failures(&self) -> Vec<Failure> {
        std::mem::take(&mut self.state().failures)
    }

    /// What came from where.
    pub(super) fn report(&self) -> Vec<SourceReport> {
        let report = |lane: &Lane| SourceReport {
            source: lane.name.clone(),
            blobs: lane.blobs,
            bytes: lane.bytes,
            dropped: lane
                .health
                .dropped()
                .map(|dropped| DroppedReport { lied: dropped.lied, what: dropped.what.clone() }),
        };
        let state = self.state();
        // Laptops that were named and not needed are left out.
        let told = |lane: &&Lane| lane.peer().is_none() || lane.bytes > 0 || lane.health.has_lied();
        state.lanes.iter().filter(told).map(report).collect()
    }
}

/// The longest time that a waiting task sleeps without looking again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
