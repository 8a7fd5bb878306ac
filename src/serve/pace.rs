//! A transfer has to move: so many bytes in each span of time, or it is over.

use std::{io, time::Duration};

use tokio::time::Instant;

use super::admission::{Admitted, Limits};

/// The speed of one answer.
#[derive(Debug)]
pub(super) struct Pace {
    span: Duration,
    progress: u64,
    end: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { span: limits.span, progress: limits.progress, end: Instant::now() + limits.span, bytes: 0 }
    }

    /// Waits for the next bytes to leave, no longer than the span allows.
    ///
    /// # Errors
    /// The write's own, or `TimedOut`.
    pub(super) async fn next(
        &mut self,
        guest: &Admitted,
        write: impl Future<Output = io::Result<usize>>,
    ) -> io::Result<usize> {
        let count = tokio::time::timeout_at(self.end, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.bytes += count as u64;
        if self.bytes >= self.progress {
            self.bytes = 0;
            self.end = Instant::now() + self.span;
            guest.moved();
        }
        Ok(count)
    }
}
