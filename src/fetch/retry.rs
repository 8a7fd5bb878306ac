//! Which failures are worth another attempt, and when. The retry wraps the whole attempt, body included.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use reqwest::{StatusCode, header::HeaderValue};

use crate::store::StoreError;

use super::FetchError;

/// A used-up quota comes back in hours: it is asked for again in case it was a moment's, not more.
const QUOTA_RETRIES: usize = 2;
/// An attempt that brought this much was a success for the retry budget: a long download over a bad line
/// may break more often than any fixed count.
const ENOUGH_PROGRESS: u64 = 1024 * 1024;

/// How often and how long.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: usize,
    /// The first pause; it doubles.
    pub first_pause: Duration,
    /// The longest pause of our own.
    pub longest_pause: Duration,
    /// The longest pause that a server may ask for with `Retry-After`: some ask for an hour, and a person at the
    /// terminal would rather be told.
    pub longest_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
            longest_retry_after: Duration::from_secs(60),
        }
    }
}

/// The pauses of one blob.
pub(super) struct Backoff {
    policy: RetryPolicy,
    pauses: ExponentialBackoff,
    quota_refusals: usize,
}

impl Backoff {
    pub(super) fn new(policy: &RetryPolicy) -> Self {
        Self { policy: policy.clone(), pauses: pauses(policy), quota_refusals: 0 }
    }

    /// How long to wait before the next attempt; `None` when there shall be none. `progress` is what the
    /// failed attempt brought.
    pub(super) fn next(&mut self, error: &FetchError, progress: u64) -> Option<Duration> {
        if !is_transient(error) {
            return None;
        }
        if matches!(error, FetchError::Quota { .. }) {
            self.quota_refusals += 1;
            if self.quota_refusals > QUOTA_RETRIES {
                return None;
            }
        }
        if progress >= ENOUGH_PROGRESS {
            self.pauses = pauses(&self.policy);
        }
        let pause = self.pauses.next()?;
        let asked = match error {
            FetchError::Status { retry_after: Some(seconds), .. }
            | FetchError::Quota { retry_after: Some(seconds), .. } => {
                Duration::from_secs(*seconds).min(self.policy.longest_retry_after)
            }
            _ => Duration::ZERO,
        };
        Some(pause.max(asked))
    }
}

fn pauses(policy: &RetryPolicy) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(policy.first_pause)
        .with_max_delay(policy.longest_pause)
        .with_max_times(policy.retries)
        .with_jitter()
        .build()
}

/// The one place that decides.
pub(super) fn is_transient(error: &FetchError) -> bool {
    match error {
        FetchError::Connect { source, .. } => !is_certificate(source) && !source.is_redirect(),
        FetchError::Stalled { .. }
        | FetchError::Interrupted { .. }
        | FetchError::Truncated { .. }
        | FetchError::Range { .. }
        | FetchError::Quota { .. }
        | FetchError::Store(StoreError::Truncated { .. }) => true,
        FetchError::Status { status, .. } => is_transient_status(*status),
        FetchError::Offline { .. }
        | FetchError::PlainHttp { .. }
        | FetchError::Address { .. }
        | FetchError::Proxy { .. }
        | FetchError::Token { .. }
        | FetchError::Html { .. }
        | FetchError::TooLong { .. }
        | FetchError::WrongDigest { .. }
        | FetchError::Refused { .. }
        | FetchError::Changed { .. }
        | FetchError::Elsewhere { .. }
        | FetchError::Damaged { .. }
        | FetchError::Store(_) => false,
    }
}

pub(super) fn is_transient_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// A bad certificate stays bad. `reqwest` gives no type for it, so its cause chain is read.
fn is_certificate(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// `Retry-After` in seconds from now: a number, or an HTTP date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(header: Option<&HeaderValue>) -> Option<u64> {
    let text = header?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = date.as_second() - jiff::Timestamp::now().as_second();
    Some(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, retry_after: Option<u64>) -> FetchError {
        let status = StatusCode::from_u16(code).unwrap();
        FetchError::Status { url: "https://a.example".to_owned(), status, retry_after }
    }

    #[test]
    fn statuses_are_final_or_not() {
        for (code, transient) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (425, true),
            (429, true),
            (500, true),
            (501, false),
            (503, true),
        ] {
            let mut backoff = Backoff::new(&RetryPolicy::default());
            assert_eq!(backoff.next(&status(code, None), 0).is_some(), transient, "{code}");
        }
    }

    #[test]
    fn retry_after_is_obeyed_and_capped() {
        let mut backoff = Backoff::new(&RetryPolicy::default());
        assert!(backoff.next(&status(429, Some(33)), 0).unwrap() >= Duration::from_secs(33));
        assert_eq!(backoff.next(&status(429, Some(86_400)), 0).unwrap(), Duration::from_secs(60));
    }

    #[test]
    fn the_budget_ends_and_progress_renews_it() {
        let policy = RetryPolicy { retries: 2, ..RetryPolicy::default() };
        let mut backoff = Backoff::new(&policy);
        for progress in [0, 0, ENOUGH_PROGRESS, 0] {
            assert!(backoff.next(&status(503, None), progress).is_some());
        }
        assert!(backoff.next(&status(503, None), 0).is_none());
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        assert_eq!(retry_after(Some(&value("7"))), Some(7));
        assert_eq!(retry_after(Some(&value("Wed, 21 Oct 2015 07:28:00 GMT"))), Some(0));
        assert_eq!(retry_after(Some(&value("soon"))), None);
        let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(120);
        let later = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).unwrap();
        assert!((110..=120).contains(&retry_after(Some(&value(&later))).unwrap()));
    }
}
