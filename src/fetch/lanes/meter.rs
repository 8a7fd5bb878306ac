//! How fast a source is, over the time in which something was asked of it. Pure: time comes in as a value.

use std::time::Instant;

/// Seconds after which what was measured counts for a third: a laptop that was moved to another table shows it soon,
/// and the gaps between small blobs do not.
const MEMORY: f64 = 8.0;
/// Less time says nothing yet.
const LEAST_TIME: f64 = 0.02;
/// Unless so much came in it.
const LEAST_BYTES: f64 = 256.0 * 1024.0;

/// Bytes and seconds, both fading.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    bytes: f64,
    seconds: f64,
    busy: usize,
    since: Option<Instant>,
}

impl Meter {
    /// Something is asked of it.
    pub(super) fn begin(&mut self, now: Instant) {
        self.settle(now);
        self.busy += 1;
        self.since = Some(now);
    }

    /// That is over, well or not.
    pub(super) fn end(&mut self, now: Instant) {
        self.settle(now);
        self.busy = self.busy.saturating_sub(1);
        if self.busy == 0 {
            self.since = None;
        }
    }

    /// Bytes came.
    pub(super) fn take(&mut self, now: Instant, bytes: u64) {
        self.settle(now);
        self.bytes += bytes as f64;
    }

    /// Bytes per second; nothing before there is something to say.
    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        let mut settled = self.clone();
        settled.settle(now);
        let enough = settled.seconds >= LEAST_TIME || settled.bytes >= LEAST_BYTES;
        enough.then(|| settled.bytes / settled.seconds.max(1e-6))
    }

    fn settle(&mut self, now: Instant) {
        let Some(since) = self.since else { return };
        let passed = now.saturating_duration_since(since).as_secs_f64();
        let kept = (-passed / MEMORY).exp();
        self.bytes *= kept;
        self.seconds = self.seconds * kept + passed;
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_steady_line_is_measured_through_pauses() {
        let (mut meter, mut now) = (Meter::default(), Instant::now());
        assert_eq!(meter.rate(now), None);
        for _ in 0..40 {
            meter.begin(now);
            for _ in 0..10 {
                now += Duration::from_millis(10);
                meter.take(now, 10_000);
            }
            meter.end(now);
            // Nothing was asked of it: that is not its fault.
            now += Duration::from_secs(3);
        }
        let rate = meter.rate(now).unwrap();
        assert!((900_000.0..1_100_000.0).contains(&rate), "{rate}");
    }

    #[test]
    fn silence_while_something_is_asked_counts() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        meter.begin(now);
        meter.take(now + Duration::from_secs(1), 1_000_000);
        let before = meter.rate(now + Duration::from_secs(1)).unwrap();
        let after = meter.rate(now + Duration::from_secs(31)).unwrap();
        assert!(before > 900_000.0 && after < 10_000.0, "{before} {after}");
    }

    #[test]
    fn what_was_long_ago_fades() {
        let (mut meter, mut now) = (Meter::default(), Instant::now());
        meter.begin(now);
        for bytes in [10_000, 1_000_000] {
            for _ in 0..400 {
                now += Duration::from_millis(100);
                meter.take(now, bytes / 10);
            }
        }
        let rate = meter.rate(now).unwrap();
        assert!((900_000.0..1_100_000.0).contains(&rate), "{rate}");
    }
}
