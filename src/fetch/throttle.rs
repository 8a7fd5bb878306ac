//! A limit on bytes per second over all connections.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What was not used in the last moment may be used now: without it, every packet would be waited for.
const SLACK: Duration = Duration::from_millis(100);

/// Hands out time: who took bytes waits until they would have come at the rate.
pub(super) struct Throttle {
    /// Bytes per second.
    rate: f64,
    /// When everything that was taken would have come.
    free_at: Mutex<Option<Instant>>,
}

impl Throttle {
    /// `rate`: bytes per second, at least one.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1) as f64, free_at: Mutex::default() }
    }

    /// Waits as long as these bytes, at the rate, are ahead of time.
    pub(super) async fn take(&self, bytes: usize) {
        let pause = self.reserve(Instant::now(), bytes);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    fn reserve(&self, now: Instant, bytes: usize) -> Duration {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let begin = free_at.unwrap_or(earliest).max(earliest);
        let end = begin + Duration::from_secs_f64(bytes as f64 / self.rate);
        *free_at = Some(end);
        end.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_connections_together_keep_to_the_rate() {
        let throttle = Throttle::new(1_000_000);
        let now = Instant::now();
        // Eight connections bring 250 kB each at the same moment: the last may go on after two seconds.
        let pauses: Vec<Duration> = (0..8).map(|_| throttle.reserve(now, 250_000)).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses[7].as_millis(), 1900, "two seconds less the slack");
        let later = now + Duration::from_secs(60);
        assert_eq!(throttle.reserve(later, 50_000), Duration::ZERO, "silence does not save up more than the slack");
        assert_eq!(throttle.reserve(later, 1_050_000).as_millis(), 1000);
    }
}
