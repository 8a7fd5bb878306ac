//! What a failure says about the source. Pure.

use std::time::Duration;

use crate::fetch::{FetchError, retry};

/// Whose fault a failure is, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// This machine's: no source would help.
    Ours,
    /// It does not have the blob, and says so.
    Lacks,
    /// This blob will not come from there, and asking again would not help; others may.
    Never,
    /// It is busy and says for how long.
    Busy(Duration),
    /// It failed; it may do better later.
    Failed,
    /// Nobody is there: others need not find that out one by one.
    Absent,
    /// What it sent is not the blob.
    Lied,
}

/// Reads a failure. `upstream`: whether the source is upstream, which is many servers: what one of them does with one
/// file says nothing about the others.
pub(super) fn judge(error: &FetchError, upstream: bool) -> Blame {
    let lied = if upstream { Blame::Never } else { Blame::Lied };
    match error {
        FetchError::Store(error) if error.is_local() => Blame::Ours,
        FetchError::Offline { .. } => Blame::Ours,
        FetchError::WrongDigest { .. } | FetchError::TooLong { .. } | FetchError::Html { .. } => lied,
        FetchError::Range { .. } if !upstream => Blame::Lied,
        FetchError::Store(_) => lied,
        FetchError::Status { status, .. } if matches!(status.as_u16(), 403 | 404 | 410) => Blame::Lacks,
        FetchError::Status { status, retry_after: Some(seconds), .. } if matches!(status.as_u16(), 429 | 503) => {
            Blame::Busy(Duration::from_secs(*seconds))
        }
        FetchError::Connect { source, .. } if !upstream && source.is_connect() => Blame::Absent,
        error if retry::is_transient(error) => Blame::Failed,
        _ if upstream => Blame::Never,
        _ => Blame::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::Digest, store::StoreError};

    fn status(code: u16, retry_after: Option<u64>) -> FetchError {
        let status = reqwest::StatusCode::from_u16(code).unwrap();
        FetchError::Status { url: "http://10.0.0.5/".to_owned(), status, retry_after }
    }

    #[test]
    fn a_failure_is_blamed_on_who_is_to_blame() {
        let url = || "http://10.0.0.5/".to_owned();
        let digest = Digest::of(b"");
        let full = || StoreError::Full(std::io::Error::other("no space"));
        for (error, peer, upstream) in [
            (status(404, None), Blame::Lacks, Blame::Lacks),
            (status(503, Some(3)), Blame::Busy(Duration::from_secs(3)), Blame::Busy(Duration::from_secs(3))),
            (status(503, None), Blame::Failed, Blame::Failed),
            (status(400, None), Blame::Failed, Blame::Never),
            (FetchError::WrongDigest { url: url(), expected: digest, found: digest }, Blame::Lied, Blame::Never),
            (FetchError::TooLong { url: url(), limit: 1 }, Blame::Lied, Blame::Never),
            (FetchError::Html { url: url(), expected: url() }, Blame::Lied, Blame::Never),
            (FetchError::Range { url: url(), asked: 3, answer: url() }, Blame::Lied, Blame::Failed),
            (FetchError::Truncated { url: url(), expected: 3, received: 2 }, Blame::Failed, Blame::Failed),
            (FetchError::Stalled { url: url(), seconds: 3, received: 2 }, Blame::Failed, Blame::Failed),
            (FetchError::Offline { url: url() }, Blame::Ours, Blame::Ours),
            (FetchError::Store(full()), Blame::Ours, Blame::Ours),
        ] {
            assert_eq!((judge(&error, false), judge(&error, true)), (peer, upstream), "{error}");
        }
    }
}
