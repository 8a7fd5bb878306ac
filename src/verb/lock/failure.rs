//! Entries that `ztlab lock` could not resolve.

use miette::Diagnostic;

use crate::{
    resolve::Unresolved,
    verb::supply::{ArtifactFailure, counted, listed},
};

/// Some entries could not be resolved.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum NotResolved {
    /// Upstream does not have them, or does not answer.
    #[error("{} could not be resolved\n{}", counted(.failures), listed(.failures))]
    #[diagnostic(
        code(lock::unresolved),
        help("everything else is in the lock, and these are as before: run `ztlab lock` again when the cause is gone")
    )]
    Missing {
        /// Each with its own cause.
        failures: Vec<ArtifactFailure>,
    },
    /// Upstream has other bytes than the lock or than itself says: somebody should look before going on.
    #[error("{} could not be resolved, and bytes are not what they should be\n{}", counted(.failures), listed(.failures))]
    #[diagnostic(
        code(integrity::lock),
        help(
            "everything else is in the lock, and these are as before: review what upstream changed before `ztlab lock --upgrade NAME`"
        )
    )]
    Wrong {
        /// Each with its own cause.
        failures: Vec<ArtifactFailure>,
    },
    /// Too young, or of unknown age.
    #[error("{} not resolved because of the minimum age; the lock is untouched\n{}", counted(.failures), listed(.failures))]
    #[diagnostic(code(lock::age), help("wait, ask for older versions, or run `ztlab lock` with a shorter `--min-age`"))]
    Age {
        /// Each with its own cause.
        failures: Vec<ArtifactFailure>,
    },
}

impl NotResolved {
    /// `Ok` when nothing failed.
    pub(super) fn unless_empty(unresolved: &[Unresolved]) -> Result<(), Self> {
        let mut failures: Vec<ArtifactFailure> = unresolved.iter().map(failure).collect();
        failures.sort();
        if failures.is_empty() {
            Ok(())
        } else if failures.iter().any(|failure| failure.integrity) {
            Err(Self::Wrong { failures })
        } else if unresolved.iter().any(|unresolved| unresolved.error.is_about_age()) {
            Err(Self::Age { failures })
        } else {
            Err(Self::Missing { failures })
        }
    }
}

/// Takes an entry's error apart.
pub(in crate::verb) fn failure(unresolved: &Unresolved) -> ArtifactFailure {
    ArtifactFailure::new(&unresolved.artifact, None, &unresolved.error, unresolved.error.is_integrity())
}
