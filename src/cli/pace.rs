//! How fast it goes and how long it will take: an average that forgets slowly, so that neither settles late nor
//! jumps with every packet.

use std::time::{Duration, Instant};

/// What happened this long ago weighs a third: one slow blob does not turn the estimate over, and a line that became
/// slow for good shows within half a minute.
const MEMORY: f64 = 15.0;
/// Before that, any number would be a guess.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// Bytes over time. The caller says what time it is.
#[derive(Debug, Default, Clone)]
pub(super) struct Pace {
    begun: Option<Instant>,
    seen: Option<Instant>,
    /// Weighted bytes and weighted seconds; their quotient is the rate.
    bytes: f64,
    seconds: f64,
}

impl Pace {
    /// The clock starts; later calls change nothing.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
        self.seen.get_or_insert(now);
    }

    /// So many bytes came.
    pub(super) fn take(&mut self, now: Instant, bytes: u64) {
        self.begin(now);
        (self.bytes, self.seconds) = self.at(now);
        self.bytes += bytes as f64;
        self.seen = Some(now);
    }

    /// Bytes per second; zero before the first.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let (bytes, seconds) = self.at(now);
        if seconds > 0.0 { bytes / seconds } else { 0.0 }
    }

    /// How long so many bytes will take; `None` while nobody can know.
    pub(super) fn left(&self, now: Instant, bytes: u64) -> Option<Duration> {
        let known = self.begun.is_some_and(|begun| now.saturating_duration_since(begun) >= FIRST_WORD);
        let rate = self.rate(now);
        // A day: a line that stands still has no end, and a number would only pretend one.
        (known && rate > bytes as f64 / 86_400.0).then(|| Duration::from_secs_f64(bytes as f64 / rate))
    }

    fn at(&self, now: Instant) -> (f64, f64) {
        let age = self.seen.map_or(0.0, |seen| now.saturating_duration_since(seen).as_secs_f64());
        let weight = (-age / MEMORY).exp();
        (self.bytes * weight, self.seconds * weight + MEMORY * (1.0 - weight))
    }
}

/// Seconds for people, no finer than anybody can know: `8 s`, `40 s`, `3 min 20 s`, `12 min`, `1 h 20 min`.
pub(super) fn span(seconds: f64) -> String {
    let round = |step: f64| (seconds / step).ceil() * step;
    match seconds {
        ..20.0 => format!("{} s", round(1.0)),
        ..55.0 => format!("{} s", round(5.0)),
        ..600.0 => {
            let rounded = round(10.0) as u64;
            match rounded % 60 {
                0 => format!("{} min", rounded / 60),
                rest => format!("{} min {rest} s", rounded / 60),
            }
        }
        ..3600.0 => format!("{} min", round(60.0) / 60.0),
        _ => {
            let minutes = (round(600.0) / 60.0) as u64;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of 1 MB/s whose packets come in bursts: nothing for a moment, then twice as much.
    fn bursts(pace: &mut Pace, from: Instant, seconds: u64) -> Instant {
        let step = Duration::from_millis(250);
        let mut now = from;
        for turn in 0..seconds * 4 {
            now += step;
            pace.take(now, if turn % 2 == 0 { 0 } else { 500_000 });
        }
        now
    }

    #[test]
    fn the_estimate_settles_and_then_counts_down() {
        const TOTAL: u64 = 120_000_000;
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.begin(start);
        assert_eq!(pace.left(start, TOTAL), None, "nobody knows yet");
        let mut now = start;
        let mut ends = Vec::new();
        for second in 1..=110 {
            now = bursts(&mut pace, now, 1);
            if second >= 10 {
                let left = pace.left(now, TOTAL - second * 1_000_000).unwrap();
                ends.push((now + left - start).as_secs_f64());
            }
        }
        // The end that is told stays where it is, to within three seconds of two minutes.
        assert!(ends.iter().all(|end| (117.0..123.0).contains(end)), "{ends:?}");
    }

    #[test]
    fn a_line_that_became_slow_shows_and_one_that_died_has_no_end() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.begin(start);
        let mut now = bursts(&mut pace, start, 60);
        assert!((pace.rate(now) - 1e6).abs() < 5e4);
        for _ in 0..30 {
            now += Duration::from_secs(1);
            pace.take(now, 100_000);
        }
        assert!((1e5..3e5).contains(&pace.rate(now)), "{}", pace.rate(now));
        assert_eq!(pace.left(now + Duration::from_secs(600), 50_000_000), None);
    }

    #[test]
    fn time_is_told_no_finer_than_it_is_known() {
        for (seconds, text) in [
            (0.2, "1 s"),
            (8.0, "8 s"),
            (36.0, "40 s"),
            (56.0, "1 min"),
            (194.0, "3 min 20 s"),
            (700.0, "12 min"),
            (4_300.0, "1 h 20 min"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
