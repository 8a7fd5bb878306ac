//! Everything that can go wrong on the way here, told apart.

use miette::Diagnostic;

use crate::{base::Digest, store::StoreError};

/// One attempt's failure.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum FetchError {
    /// The switch is on.
    #[error("offline: {url} was not asked for")]
    #[diagnostic(
        code(fetch::offline),
        help("run the same command without `--offline`, or bring the blobs with `ztlab fetch --from DIR`")
    )]
    Offline {
        /// What would have been asked for.
        url: String,
    },
    /// Anyone on the way could answer.
    #[error("{url} is plain HTTP to another machine")]
    #[diagnostic(
        code(fetch::plain_http),
        help(
            "use an https address; plain HTTP is for loopback, and for a mirror that you name yourself with `--mirror`"
        )
    )]
    PlainHttp {
        /// The address.
        url: String,
    },
    /// Not an address.
    #[error("`{text}` is no address that can be fetched: {problem}")]
    #[diagnostic(code(fetch::address), help("correct it in lock/ztlab.toml, then run `ztlab lock`"))]
    Address {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No connection.
    #[error("cannot reach {url}")]
    #[diagnostic(
        code(fetch::connect),
        help(
            "look at the network (a proxy? a school's firewall? then `--mirror`), and run `ztlab fetch` again: it resumes"
        )
    )]
    Connect {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// Connected, and then silence.
    #[error("{url} sent nothing for {seconds} s (after {received} bytes)")]
    #[diagnostic(code(fetch::stalled), help("run `ztlab fetch` again: it resumes where this stopped"))]
    Stalled {
        /// The address.
        url: String,
        /// How long it was waited.
        seconds: u64,
        /// Bytes until then.
        received: u64,
    },
    /// An answer that is no success.
    #[error("{url} answered {status}")]
    #[diagnostic(code(fetch::status), help("{}", advice(*status)))]
    Status {
        /// The address.
        url: String,
        /// The status code.
        status: reqwest::StatusCode,
        /// What `Retry-After` said, in seconds.
        retry_after: Option<u64>,
    },
    /// So many images an hour, and they are used up.
    #[error("{registry} lets this network pull no more images for now{}", limit.as_ref().map(|limit| format!(" (limit: {limit})")).unwrap_or_default())]
    #[diagnostic(code(fetch::quota), help("{}", more_quota(*signed_in)))]
    Quota {
        /// The registry.
        registry: String,
        /// The address.
        url: String,
        /// The limit in its own words, as `100 pulls in 6 h`.
        limit: Option<String>,
        /// Whether the request carried credentials.
        signed_in: bool,
        /// What `Retry-After` said, in seconds.
        retry_after: Option<u64>,
    },
    /// An address of the environment.
    #[error("{variable} is no address of an HTTP proxy")]
    #[diagnostic(code(usage::proxy), help("it should look like `http://proxy.school.example:3128`, or be unset"))]
    Proxy {
        /// The variable.
        variable: String,
    },
    /// The registry's token service.
    #[error("{registry} gave no token for {repository}: {reason}")]
    #[diagnostic(
        code(fetch::token),
        help(
            "look at the image's name in lock/ztlab.toml; if it is private, sign in with `docker login` first: ztlab uses the same credentials"
        )
    )]
    Token {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// What it said.
        reason: String,
    },
    /// A login page of a hotel's network, usually.
    #[error("{url} sent an HTML page where {expected} was expected")]
    #[diagnostic(
        code(fetch::html),
        help(
            "a network that wants you to log in first answers like that: open any page in a browser, then run `ztlab fetch` again"
        )
    )]
    Html {
        /// The address.
        url: String,
        /// What was expected.
        expected: String,
    },
    /// The connection broke.
    #[error("the connection to {url} broke after {received} bytes")]
    #[diagnostic(code(fetch::interrupted), help("run `ztlab fetch` again: it resumes where this stopped"))]
    Interrupted {
        /// The address.
        url: String,
        /// Bytes until then.
        received: u64,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The answer ended early, and called that its end.
    #[error("{url} ended after {received} of {expected} bytes")]
    #[diagnostic(code(fetch::truncated), help("run `ztlab fetch` again: it resumes where this stopped"))]
    Truncated {
        /// The address.
        url: String,
        /// The locked length.
        expected: u64,
        /// What came.
        received: u64,
    },
    /// Asked for a part, got another.
    #[error("{url} answered the range from byte {asked} with {answer}")]
    #[diagnostic(code(fetch::range), help("run `ztlab fetch` again: it starts this blob over"))]
    Range {
        /// The address.
        url: String,
        /// First byte asked for.
        asked: u64,
        /// What came.
        answer: String,
    },
    /// More than the lock allows.
    #[error("{url} has more than the locked {limit} bytes")]
    #[diagnostic(
        code(integrity::too_long),
        help("upstream's bytes changed: review them with `ztlab lock --upgrade`, or try another source")
    )]
    TooLong {
        /// The address.
        url: String,
        /// The locked length, or the limit for a document.
        limit: u64,
    },
    /// Right length, or unknown length, and other bytes.
    #[error("{url} has other bytes than the locked ones: expected {expected}, found {found}")]
    #[diagnostic(
        code(integrity::digest),
        help("do not use them: try another source, or review the change with `ztlab lock --upgrade`")
    )]
    WrongDigest {
        /// The address.
        url: String,
        /// The locked digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A registry that does not take what it was sent; its own words are in it.
    #[error("{url} answered {status}{}", said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    #[diagnostic(
        code(push::refused),
        help("look at what it says; `docker login` signs in, and ztlab uses the same credentials")
    )]
    Refused {
        /// The address.
        url: String,
        /// The status code.
        status: reqwest::StatusCode,
        /// The registry's own words, cleaned.
        said: Option<String>,
    },
    /// A registry that says that it kept something else than what it was sent.
    #[error("{url} was sent {expected}, and says that it keeps {found}")]
    #[diagnostic(
        code(integrity::registry),
        help("the registry, or something before it, changes what it is sent: do not use what it serves")
    )]
    Changed {
        /// The address.
        url: String,
        /// What was sent.
        expected: Digest,
        /// What it names.
        found: String,
    },
    /// A registry that sends an upload to a place where it must not go.
    #[error("{url} wants the upload at {place}, {why}")]
    #[diagnostic(
        code(push::place),
        help("this is for whoever runs the registry: its address as others see it is set wrong")
    )]
    Elsewhere {
        /// The address.
        url: String,
        /// Where it should go.
        place: String,
        /// Why it does not.
        why: &'static str,
    },
    /// A blob of our own store that is not what its name says.
    #[error("{label} is damaged in the store, and was not pushed: expected {expected}, found {found}")]
    #[diagnostic(
        code(integrity::push),
        help(
            "`ztlab store repair` brings it anew; then run the same command again: what was pushed is not sent again"
        )
    )]
    Damaged {
        /// What it is.
        label: String,
        /// What its name says.
        expected: Digest,
        /// What was read.
        found: String,
    },
    /// The store refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl FetchError {
    /// Whether bytes came that are not the locked ones: exit code 21 instead of 20.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            Self::TooLong { .. }
                | Self::WrongDigest { .. }
                | Self::Store(StoreError::WrongDigest { .. } | StoreError::TooLong { .. })
        )
    }
}

/// What to do when a quota is used up; also of the error that gathers all of them.
pub(crate) const MORE_QUOTA: &str = "what came is kept. Wait (Docker Hub counts by six hours), ask a mirror (`--mirror docker.io=TO`), or take the images from another place (`--from SOURCE`)";

fn more_quota(signed_in: bool) -> String {
    let sign_in = if signed_in { "" } else { "; `docker login` raises the limit: ztlab uses the same credentials" };
    format!("{MORE_QUOTA}{sign_in}")
}

fn advice(status: reqwest::StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => {
            "this needs an account or is not public: look at the address in lock/ztlab.toml, or sign in with `docker login`"
        }
        404 | 410 => {
            "it is not there (any more): look at the version in lock/ztlab.toml, or name a mirror with `--mirror FROM=TO`"
        }
        429 => {
            "too many requests from this network: wait, or fetch from a mirror with `--mirror FROM=TO`; what came is kept"
        }
        _ => "the server has a problem of its own: run `ztlab fetch` again later, it resumes",
    }
}
