//! Whether a source is fit to be asked. Pure: time comes in as a value.
//!
//! ```text
//! untested ──a blob──▶ proven        untested: one transfer at a time
//!     │  a failure       │ a failure
//!     └──────▶ rests ◀───┘           longer with each failure in a row
//!                │ too many in a row
//!                ▼
//!             benched ──▶ gone       asked once more for a blob that nobody else has, and then no more
//! any ──a lie──▶ gone
//! ```

use std::time::{Duration, Instant};

use super::LanePolicy;

/// So many bytes from a source are a success for its account: a long download over a bad line breaks often.
const ENOUGH_PROGRESS: u64 = 1024 * 1024;
/// A server that asks for patience (503 with `Retry-After`) is obeyed this often in a row.
const MOST_WAITS: u32 = 20;

/// Why a source is not used any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Whether it sent what is not the blob, or only failed.
    pub(super) lied: bool,
    /// What it sent, or how it failed.
    pub(super) what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untested,
    Proven,
    Benched,
    Gone,
}

/// See the top of this file.
#[derive(Debug, Clone)]
pub(super) struct Health {
    state: State,
    strikes: u32,
    waits: u32,
    progress: u64,
    rests_until: Option<Instant>,
    dropped: Option<Dropped>,
    /// Many servers behind one name: one that fails does not speak for the others, so it rests at most.
    endures: bool,
}

impl Health {
    /// `endures`: the source is upstream, many servers behind one name.
    pub(super) fn new(endures: bool) -> Self {
        let state = if endures { State::Proven } else { State::Untested };
        Self { state, strikes: 0, waits: 0, progress: 0, rests_until: None, dropped: None, endures }
    }

    pub(super) fn is_untested(&self) -> bool {
        self.state == State::Untested
    }

    pub(super) fn is_benched(&self) -> bool {
        self.state == State::Benched
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    pub(super) fn has_lied(&self) -> bool {
        self.dropped.as_ref().is_some_and(|dropped| dropped.lied)
    }

    pub(super) fn dropped(&self) -> Option<&Dropped> {
        self.dropped.as_ref()
    }

    /// When its rest ends, if it rests.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| *until > now)
    }

    /// It answered a question of ours: somebody is there.
    pub(super) fn answered(&mut self) {
        if self.state == State::Untested {
            self.state = State::Proven;
        }
    }

    /// It brought a blob that is the locked one, or honestly said that it does not have it.
    pub(super) fn did_well(&mut self) {
        if self.state == State::Untested || self.state == State::Benched {
            self.state = State::Proven;
        }
        if self.dropped.as_ref().is_some_and(|dropped| !dropped.lied) {
            self.dropped = None;
        }
        (self.strikes, self.waits, self.progress) = (0, 0, 0);
    }

    /// Bytes came.
    pub(super) fn progressed(&mut self, bytes: u64) {
        self.progress += bytes;
        if self.progress >= ENOUGH_PROGRESS && self.state == State::Proven {
            (self.strikes, self.waits, self.progress) = (0, 0, 0);
        }
    }

    /// It asks to be left alone for a while. Whether that was once too often.
    pub(super) fn asked_for_patience(&mut self, now: Instant, pause: Duration, what: &str) -> bool {
        if self.rests_until(now).is_none() {
            self.waits += 1;
        }
        self.rests_until = Some(now + pause);
        self.waits > MOST_WAITS && self.bench(what)
    }

    /// It failed. Whether that was once too often: then it is not asked any more, and people should know.
    pub(super) fn failed(&mut self, now: Instant, what: &str, limits: &LanePolicy) -> bool {
        match self.state {
            State::Gone => return false,
            // That was its last chance.
            State::Benched => {
                self.state = State::Gone;
                return false;
            }
            State::Untested | State::Proven => {}
        }
        // Eight transfers that break in one moment are one failure.
        if self.rests_until(now).is_some() {
            return false;
        }
        self.strikes += 1;
        self.progress = 0;
        if self.strikes >= limits.strikes && !self.endures {
            return self.bench(what);
        }
        let rest = limits.first_rest.saturating_mul(1 << (self.strikes - 1).min(16)).min(limits.longest_rest);
        self.rests_until = Some(now + rest);
        false
    }

    /// Nothing that it might say would be worth hearing: at once, without more attempts. Whether that is new.
    pub(super) fn bench(&mut self, what: &str) -> bool {
        if self.endures || matches!(self.state, State::Benched | State::Gone) {
            return false;
        }
        self.state = State::Benched;
        self.rests_until = None;
        self.dropped = Some(Dropped { lied: false, what: what.to_owned() });
        true
    }

    /// Somebody at its address has lied: it is not asked, and not blamed.
    pub(super) fn distrust(&mut self) {
        self.state = State::Gone;
    }

    /// It sent what is not the blob. Whether that is new.
    pub(super) fn lied(&mut self, what: &str) -> bool {
        let new = !self.has_lied();
        if !self.endures {
            self.state = State::Gone;
        }
        if new {
            self.dropped = Some(Dropped { lied: true, what: what.to_owned() });
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> LanePolicy {
        LanePolicy {
            strikes: 3,
            first_rest: Duration::from_secs(1),
            longest_rest: Duration::from_secs(5),
            ..LanePolicy::default()
        }
    }

    #[test]
    fn failures_in_a_row_bench_it_and_one_more_ends_it() {
        let (mut health, mut now) = (Health::new(false), Instant::now());
        health.did_well();
        for rest in [1, 2] {
            assert!(!health.failed(now, "it broke", &limits()));
            assert_eq!(health.rests_until(now), Some(now + Duration::from_secs(rest)));
            assert!(!health.failed(now, "it broke", &limits()), "the same moment");
            now += Duration::from_secs(rest);
        }
        assert!(health.failed(now, "it broke again", &limits()) && health.is_benched());
        assert_eq!(health.dropped(), Some(&Dropped { lied: false, what: "it broke again".to_owned() }));
        assert!(!health.failed(now, "once more", &limits()) && health.is_gone());
    }

    #[test]
    fn a_blob_or_much_of_one_clears_its_account() {
        let (mut health, mut now) = (Health::new(false), Instant::now());
        health.did_well();
        for _ in 0..10 {
            assert!(!health.failed(now, "it broke", &limits()));
            now += Duration::from_secs(10);
            assert!(!health.failed(now, "it broke", &limits()));
            now += Duration::from_secs(10);
            health.progressed(ENOUGH_PROGRESS);
        }
        assert!(!health.is_benched() && health.dropped().is_none());
        let mut untested = Health::new(false);
        for _ in 0..2 {
            untested.failed(now, "it broke", &limits());
            untested.progressed(ENOUGH_PROGRESS);
            now += Duration::from_secs(10);
        }
        assert!(untested.failed(now, "it broke", &limits()), "bytes that nobody checked prove nothing");
    }

    #[test]
    fn a_last_chance_can_be_used_and_a_lie_ends_everything() {
        let (mut health, now) = (Health::new(false), Instant::now());
        assert!(health.bench("it does not answer") && !health.bench("again"));
        health.did_well();
        assert!(!health.is_benched() && health.dropped().is_none());
        assert!(health.lied("other bytes") && !health.lied("more of them"));
        health.did_well();
        assert!(health.is_gone() && !health.failed(now, "late", &limits()));
        assert_eq!(health.dropped().map(|dropped| dropped.what.as_str()), Some("other bytes"));
    }

    #[test]
    fn upstream_rests_and_is_never_left() {
        let (mut health, mut now) = (Health::new(true), Instant::now());
        for _ in 0..50 {
            assert!(!health.failed(now, "no route", &limits()) && !health.is_benched());
            assert!(health.rests_until(now).is_some_and(|until| until <= now + Duration::from_secs(5)));
            now += Duration::from_secs(5);
        }
    }

    #[test]
    fn patience_has_an_end() {
        let (mut health, mut now) = (Health::new(false), Instant::now());
        for _ in 0..MOST_WAITS {
            assert!(!health.asked_for_patience(now, Duration::from_secs(2), "busy"));
            now += Duration::from_secs(2);
        }
        assert!(health.asked_for_patience(now, Duration::from_secs(2), "busy") && health.is_benched());
    }
}
