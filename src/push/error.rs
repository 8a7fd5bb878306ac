//! Why a lab is not in the registry.

use reqwest::StatusCode;

use crate::{bundle::BundleError, fetch::FetchError, plan::PlanError, store::StoreError};

/// What went wrong.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PushError {
    /// A part that did not arrive. The rest may have.
    #[error("{what} did not get into {repository}")]
    #[diagnostic(code(push::incomplete), help("{}", advice(source)))]
    Incomplete {
        /// What people call it.
        what: String,
        /// The whole name of the repository.
        repository: String,
        /// Why.
        #[source]
        source: Box<FetchError>,
    },
    /// A name that no registry takes.
    #[error("the repository {name} would have a name of {} letters, and registries take 255", name.len())]
    #[diagnostic(code(push::name), help("push to a shorter name"))]
    Name {
        /// It.
        name: String,
    },
    /// An index that cannot be read.
    #[error("the index of {artifact} is no index")]
    #[diagnostic(code(push::index), help("write the lock anew with `ztlab lock --upgrade`"))]
    Index {
        /// `image.calico-node`
        artifact: String,
    },
    /// What has its own words: offline, plain HTTP, a damaged blob, a registry that lies.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(Box<FetchError>),
    /// The lab's folder.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BundleError),
    /// A blob that is not there.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(#[from] PlanError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl PushError {
    /// What became of a part; errors that say it best themselves stay as they are.
    pub(super) fn of(what: &str, repository: &str, source: FetchError) -> Self {
        match source {
            FetchError::Offline { .. }
            | FetchError::PlainHttp { .. }
            | FetchError::Damaged { .. }
            | FetchError::Changed { .. }
            | FetchError::Store(_)
            | FetchError::Quota { .. } => Self::Fetch(Box::new(source)),
            source => {
                let (what, repository) = (what.to_owned(), repository.to_owned());
                Self::Incomplete { what, repository, source: Box::new(source) }
            }
        }
    }
}

fn advice(error: &FetchError) -> &'static str {
    let status = match error {
        FetchError::Refused { status, .. } | FetchError::Status { status, .. } => *status,
        FetchError::Token { .. } => StatusCode::UNAUTHORIZED,
        FetchError::Elsewhere { .. } => {
            return "this is for whoever runs the registry: its address as others see it is set wrong";
        }
        _ => StatusCode::OK,
    };
    match status.as_u16() {
        401 | 403 => {
            "sign in with `docker login` as somebody who may push there, then run the same command again: ztlab uses the same credentials"
        }
        404 => {
            "is the address right? Some registries want a project (Harbor) or each repository (Amazon's) to be made before, and some have no names of more than two parts (Docker Hub)"
        }
        405 => "it takes no pushes: a mirror and `ztlab serve` are read-only",
        413 => "something before the registry limits the length of one upload: this is for whoever runs it",
        _ => "run the same command again: it goes on from here, and sends nothing twice",
    }
}
