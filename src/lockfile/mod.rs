//! The lock: `lock/ztlab.lock`, which names every byte of the lab.
//!
//! What the format is for:
//!
//! - **Same content, same bytes**, on any machine: one writer, fixed order of sections, keys sorted by
//!   bytes, one line per platform. The lab's identity is the SHA-256 of these bytes.
//! - **Made for review and merge**: stable names, one block per artifact, one blank line between blocks,
//!   no timestamp, no whole-file hash that every pull request would touch.
//! - **Checked without a network**: each block repeats its `want`, so that comparing intent and lock
//!   needs nothing else.
//! - **Honest about gaps**: what is not known yet is absent, and `pending` says so. A digest that is known
//!   before its bytes were seen is an expectation that they must meet.
//!
//! ```toml
//! schema = 1
//! name = "zero-trust-2pod"
//! host = ["darwin-arm64"]
//! node = ["linux-arm64"]
//!
//! [version]
//! calico = "3.27.0"
//!
//! [tool.minikube]
//! want = "https://…/v1.32.0/minikube-{os}-{arch}"
//! darwin-arm64 = { url = "https://…", digest = "sha256:…", size = 123 }
//!
//! [file.istio]
//! want = "https://…/istio-1.20.0-osx-arm64.tar.gz"
//! digest = "sha256:…"
//! size = 123
//! member.istioctl = { path = "bin/istioctl", digest = "sha256:…", size = 123 }
//!
//! [image.calico-node]
//! want = "docker.io/calico/node:v3.27.0"
//! index = { digest = "sha256:…", size = 123 }
//! linux-arm64 = { manifest = {…}, config = {…}, layers = [{…}, {…}] }
//!
//! [profile.small]
//! memory = 3072
//! without = ["file.istio.kiali", "image.kiali"]
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `model` | the values |
//! | `parse`, `write` | text to values and back; the identity on canonical text |
//! | `spoilt` | what is wrong with a text that is no canonical lock, and where |
//! | `request` | the lock that an intent asks for, still without digests |
//! | `pending` | what an entry still lacks |
//! | `check` | intent against lock; [`CheckedLock`] |
//! | `profile` | the lock of a lab with less |
//! | `artifact` | entries as lists of blobs with the place each comes from |
//!
//! Everything here is pure, except [`read`] and [`save`].

mod artifact;
mod check;
mod model;
mod parse;
mod pending;
mod profile;
mod request;
mod spoilt;
mod wire;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;

use miette::Diagnostic;

pub use artifact::{Artifact, NeededBlob, Origin};
pub use check::{CheckedLock, Finding, Incomplete, Staleness, check, wants};
pub use model::{
    AppEntry, Download, FileEntry, ImageEntry, ImagePin, Lock, ManifestEntry, MemberPin, ToolEntry, ToolPin,
    WheelEntry, WheelRequestText,
};
pub use parse::parse;
pub use profile::{Profile, UnknownProfile};
pub use request::{carry_over, carry_over_apps, request};
pub use spoilt::LockError;
pub use write::write;

/// A lock file that cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ReadError {
    /// There is none.
    #[error("this lab has no lock yet ({path} does not exist)")]
    #[diagnostic(code(lock::absent), help("make it with `ztlab lock`"))]
    Absent {
        /// Where it was looked for.
        path: String,
    },
    /// The file system says no.
    #[error("cannot read the lock")]
    #[diagnostic(code(lock::unreadable))]
    Unreadable(#[source] std::io::Error),
    /// The text is no lock.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Text(#[from] LockError),
}

/// Reads a lock file.
///
/// # Errors
/// When there is none, or its text is no canonical lock.
pub fn read(path: &Path) -> Result<Lock, ReadError> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(parse(&spoilt::decode(bytes)?)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ReadError::Absent { path: path.display().to_string() })
        }
        Err(error) => Err(ReadError::Unreadable(error)),
    }
}

/// Writes a lock file, whole or not at all.
///
/// # Errors
/// Any I/O error; the old file is then untouched.
pub fn save(path: &Path, lock: &Lock) -> std::io::Result<()> {
    crate::base::file::write_atomically(path, write(lock).as_bytes())
}
