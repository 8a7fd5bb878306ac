//! All transfers together, and one of them: how much came, how fast, how long it will take.

use std::time::Instant;

use indicatif::ProgressBar;

use super::super::pace::{Pace, span};
use crate::base::human_bytes;

/// All transfers together.
#[derive(Default)]
pub(super) struct Sums {
    /// Bytes to come, as announced or as each transfer said.
    pub(super) total: u64,
    pub(super) done: u64,
    /// A server need not say how much it will send: then there is nothing to measure an end by.
    pub(super) open_ended: bool,
    pub(super) pace: Pace,
}

impl Sums {
    pub(super) fn text(&self, now: Instant) -> String {
        let (done, rate) = (human_bytes(self.done), human_bytes(self.pace.rate(now) as u64));
        if self.open_ended {
            return format!("{done} so far, {rate}/s");
        }
        let left = self.pace.left(now, self.total.saturating_sub(self.done));
        let left = left.map_or_else(String::new, |left| format!(", about {} left", span(left.as_secs_f64())));
        format!("{done} of {}, {rate}/s{left}", human_bytes(self.total))
    }
}

/// One transfer.
pub(super) struct Transfer {
    pub(super) name: String,
    pub(super) bar: Option<ProgressBar>,
    pub(super) total: Option<u64>,
    pub(super) done: u64,
    /// The last failure that was shown.
    pub(super) told: String,
    pub(super) unreported: u64,
    pub(super) reported: Instant,
}

impl Transfer {
    pub(super) fn new(name: &str, total: Option<u64>, bar: Option<ProgressBar>) -> Self {
        Self {
            name: name.to_owned(),
            bar,
            total,
            done: 0,
            told: String::new(),
            unreported: 0,
            reported: Instant::now(),
        }
    }

    /// What these bytes add to the sum: those that come a second time, after a wrong first half, add nothing.
    pub(super) fn advance(&mut self, bytes: u64) -> u64 {
        let before = self.done;
        self.done = self.done.saturating_add(bytes).min(self.total.unwrap_or(u64::MAX));
        self.done - before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_text_of_the_sums_has_rate_and_end() {
        let start = Instant::now();
        let mut sums = Sums { total: 100_000_000, ..Sums::default() };
        sums.pace.begin(start);
        let mut now = start;
        for _ in 0..20 {
            now += Duration::from_secs(1);
            sums.done += 1_000_000;
            sums.pace.take(now, 1_000_000);
        }
        assert_eq!(sums.text(now), "20.0 MB of 100.0 MB, 1.0 MB/s, about 1 min 20 s left");
    }
}
