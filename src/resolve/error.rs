//! Everything that can go wrong between a name and its bytes, told apart.

use jiff::Timestamp;

use crate::{
    base::{Descriptor, Digest, Expected, Platform},
    fetch::FetchError,
    store::{ArchiveError, StoreError},
};

/// Why an entry could not be resolved.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ResolveError {
    /// From the network.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// From an archive.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Archive(#[from] ArchiveError),
    /// From the store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The image is not made for this node.
    #[error("{reference} has no image for {platform}; it has {}", if .present.is_empty() { "none at all".to_owned() } else { .present.join(", ") })]
    #[diagnostic(
        code(resolve::platform),
        help("choose a tag that is published for this platform, or change `node` in lock/ztlab.toml")
    )]
    Platform {
        /// The image.
        reference: String,
        /// What was looked for.
        platform: Platform,
        /// What there is.
        present: Vec<String>,
    },
    /// The registry's answer is not what a registry answers.
    #[error("the registry's answer for {name} is no image document: {problem}")]
    #[diagnostic(
        code(resolve::document),
        help("look at the reference in lock/ztlab.toml, and whether a mirror stands in between")
    )]
    Document {
        /// Reference or digest.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Upstream has other bytes than the lock expects.
    #[error("{what} is not what the lock expects: {}, found {} with {} bytes", told(.expected), .found.digest, .found.size)]
    #[diagnostic(
        code(integrity::digest),
        help("upstream changed what it had published: find out why before you accept it with `ztlab lock --upgrade`")
    )]
    Differs {
        /// Which bytes.
        what: String,
        /// What the lock knows.
        expected: Expected,
        /// What upstream has.
        found: Descriptor,
    },
    /// Upstream contradicts itself, or the lock.
    #[error("{what}: {checksum} says {published}, and {other} has {found}")]
    #[diagnostic(
        code(integrity::checksum),
        help(
            "do not use it before you know which of the two is right: look at upstream's release notes. If upstream made the release anew, accept it with `ztlab lock --upgrade NAME`"
        )
    )]
    Checksum {
        /// Which file.
        what: Box<str>,
        /// The checksum file's address.
        checksum: Box<str>,
        /// What it says.
        published: Digest,
        /// Who says otherwise: the lock, or the file's address.
        other: Box<str>,
        /// What that has.
        found: Digest,
    },
    /// The checksum file has nothing for this file.
    #[error("{what}: {checksum} gives no SHA-256 for {file}: {problem}")]
    #[diagnostic(
        code(resolve::checksum),
        help(
            "correct `checksum` in lock/ztlab.toml: it is the address of a file with the bare SHA-256, or of a list with `SHA256  {file}` in it"
        )
    )]
    NoChecksum {
        /// Which file.
        what: String,
        /// The checksum file's address.
        checksum: String,
        /// The name that was looked for.
        file: String,
        /// What is there instead.
        problem: String,
    },
    /// Newer than somebody wants.
    #[error("{what} is {age} (published {published}), and {asked_by} asks for more")]
    #[diagnostic(
        code(resolve::too_young),
        help("old enough at {ripe}: until then stay at the version before, or leave that limit out of `ztlab lock`")
    )]
    TooYoung {
        /// Which entry.
        what: String,
        /// The limit, as it was given.
        asked_by: String,
        /// How old it is.
        age: String,
        /// When it was published.
        published: Timestamp,
        /// When it is old enough.
        ripe: Timestamp,
    },
    /// Nobody says when it was published.
    #[error("{what}: its age is unknown, and {asked_by} asks for one")]
    #[diagnostic(
        code(resolve::age_unknown),
        help(
            "upstream does not say when it was published: look yourself, then take it with `ztlab lock --allow-unknown-age`"
        )
    )]
    AgeUnknown {
        /// Which entry.
        what: String,
        /// The limit, as it was given.
        asked_by: String,
    },
    /// The package index answered something else.
    #[error("the package index' answer for {name} cannot be used: {problem}")]
    #[diagnostic(
        code(resolve::index),
        help("look at the name in lock/ztlab.toml, and whether a mirror or a login page stands in between")
    )]
    Page {
        /// The request.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Its authors took it back.
    #[error("{want}: its authors withdrew {filename}{}", if .reason.is_empty() { " without saying why".to_owned() } else { format!(": {}", .reason) })]
    #[diagnostic(code(resolve::yanked), help("choose another version in lock/ztlab.toml, usually the next one"))]
    Yanked {
        /// The request.
        want: String,
        /// The file.
        filename: String,
        /// Their words.
        reason: String,
    },
    /// Made for another interpreter.
    #[error("{want}: {filename} wants Python {requires}, and the lab has {python}")]
    #[diagnostic(
        code(resolve::python),
        help("choose a version for that Python in lock/ztlab.toml, or another `python` with its base image")
    )]
    Python {
        /// The request.
        want: String,
        /// The file.
        filename: String,
        /// What it declares.
        requires: String,
        /// The lab's interpreter.
        python: String,
    },
    /// No file of the package fits.
    #[error("{want}: no wheel fits {platform}; the index has {}", if .present.is_empty() { "no wheel of that version".to_owned() } else { .present.join(", ") })]
    #[diagnostic(
        code(resolve::wheel),
        help("choose a version with a wheel for this platform in lock/ztlab.toml: nothing is compiled here")
    )]
    Wheel {
        /// The request.
        want: String,
        /// The platform.
        platform: Platform,
        /// Files of that version.
        present: Vec<String>,
    },
}

impl ResolveError {
    /// Whether bytes came that are not the expected ones: exit code 21 instead of 20.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Differs { .. } | Self::Checksum { .. } => true,
            Self::Fetch(error) => error.is_integrity(),
            Self::Archive(ArchiveError::NotAFile { .. }) => true,
            _ => false,
        }
    }

    /// Whether nothing is wrong but the time: exit code 11.
    pub fn is_about_age(&self) -> bool {
        matches!(self, Self::TooYoung { .. } | Self::AgeUnknown { .. })
    }
}

fn told(expected: &Expected) -> String {
    let digest = expected.digest.map(|digest| digest.to_string());
    let size = expected.size.map(|size| format!("{size} bytes"));
    let parts: Vec<String> = digest.into_iter().chain(size).collect();
    format!("expected {}", parts.join(" with "))
}
