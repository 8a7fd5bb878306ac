//! Why an image cannot be built.

use std::io;

use crate::base::Digest;

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BuildError {
    /// A document of the base is unreadable.
    #[error("the base image's {what} {digest} is not one")]
    #[diagnostic(code("build::base"), help("run `ztlab store verify`, then `ztlab fetch`"))]
    Base {
        /// `manifest` or `config`.
        what: &'static str,
        /// The document.
        digest: Digest,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A layer of the base is no tar.
    #[error("the base image's layer {digest} cannot be read as a tar, plain or in gzip")]
    #[diagnostic(code("build::base"), help("run `ztlab store verify`; a base in another form cannot be built upon"))]
    BaseLayer {
        /// The layer.
        digest: Digest,
        /// What the reader said.
        source: io::Error,
    },
    /// The base is not what the wheels or the node need.
    #[error("the base image {digest} does not fit: expected {expected}, found {found}")]
    #[diagnostic(
        code("build::base"),
        help("correct `base`, or `python` of the wheels, in lock/ztlab.toml and run `ztlab lock`")
    )]
    Misfit {
        /// Its manifest.
        digest: Digest,
        /// A platform or a Python.
        expected: String,
        /// What the base says of itself.
        found: String,
    },
    /// A wheel breaks the wheel specification.
    #[error("wheel {wheel}: {problem}")]
    #[diagnostic(code("build::wheel"), help("choose another version in lock/ztlab.toml and run `ztlab lock`"))]
    Wheel {
        /// Its file name.
        wheel: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A place in the image that is not an absolute, plain path.
    #[error("`{0}` is not a place in an image: expected an absolute path without `..`")]
    #[diagnostic(code("build::path"), help("correct `files` of the app in lock/ztlab.toml"))]
    Path(String),
    /// A place that the base, or another file, does not leave free.
    #[error("nothing can be put at {place}: {reason}")]
    #[diagnostic(code("build::path"), help("correct `files` of the app in lock/ztlab.toml"))]
    Blocked {
        /// The place.
        place: String,
        /// Why.
        reason: String,
    },
    /// Two parts of the app want the same place.
    #[error("{place} comes from {first} and from {second}")]
    #[diagnostic(code("build::path"), help("take one of them out of the app in lock/ztlab.toml"))]
    Twice {
        /// The place.
        place: String,
        /// Who was first.
        first: String,
        /// Who came then.
        second: String,
    },
    /// A blob cannot be read.
    #[error("cannot read the parts of the image")]
    #[diagnostic(code("build::read"), help("run `ztlab fetch`, then the same command again"))]
    Read(#[from] io::Error),
}
