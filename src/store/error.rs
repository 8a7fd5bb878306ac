//! What the store refuses or cannot do.

use std::io;

use crate::base::Digest;

/// Something that the store refuses or cannot do.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// The disk is full.
    #[error("the disk that holds the store is full")]
    #[diagnostic(
        code(store::full),
        help(
            "make space on it (`ztlab store gc` removes what no known lab needs), then run the same command again: it resumes, and nothing half-written has a final name"
        )
    )]
    Full(#[source] io::Error),
    /// The file system says no.
    #[error("the store cannot be used")]
    #[diagnostic(
        code(store::io),
        help(
            "look at the free space and the rights of the store's folder, then run the same command again: it resumes"
        )
    )]
    Io(#[source] io::Error),
    /// A newer ztlab made it.
    #[error("the store {path} has layout {found}, and this ztlab knows layout 1")]
    #[diagnostic(
        code(store::newer),
        help("use the newer ztlab, or give this one a folder of its own with `--store DIR`")
    )]
    Newer {
        /// The store's folder.
        path: String,
        /// The version found.
        found: String,
    },
    /// The file that says which layout this is says nothing that any ztlab writes.
    #[error("{path} says layout `{found}`, and no ztlab has such a layout: the file is damaged")]
    #[diagnostic(
        code(store::layout),
        help("write it anew (`echo 1 > FILE`), then `ztlab store verify` reads everything else again")
    )]
    Layout {
        /// The file.
        path: String,
        /// What it says.
        found: String,
    },
    /// The copy of what a lab needs is damaged, so that nobody can say what may go.
    #[error("the store's note of a lab is damaged: {path}")]
    #[diagnostic(
        code(store::lab_note),
        help(
            "`ztlab store repair` writes it anew where the lab's lock can be read, and so does `ztlab fetch` in the lab's folder; without that lab, remove the file"
        )
    )]
    LabNote {
        /// The file.
        path: String,
    },
    /// More bytes than the lock allows.
    #[error("the bytes of {digest} are longer than the locked {limit} bytes")]
    #[diagnostic(code(integrity::too_long), help("upstream's bytes changed: review them with `ztlab lock --upgrade`"))]
    TooLong {
        /// The expected digest, or what stands in for it.
        digest: String,
        /// The expected length.
        limit: u64,
    },
    /// Fewer bytes than the lock says.
    #[error("the bytes of {digest} end after {found} of {expected} bytes")]
    #[diagnostic(code(fetch::truncated), help("run `ztlab fetch` again: it resumes"))]
    Truncated {
        /// The expected digest, or what stands in for it.
        digest: String,
        /// The expected length.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// Other bytes than the lock says.
    #[error("the bytes are not the locked ones: expected {expected}, found {found} ({size} bytes)")]
    #[diagnostic(
        code(integrity::digest),
        help(
            "whoever served them has other bytes than the lock: try another source, or review the change with `ztlab lock --upgrade`"
        )
    )]
    WrongDigest {
        /// The locked digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
        /// How much came.
        size: u64,
    },
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Io(error),
        }
    }
}

impl StoreError {
    /// Whether this machine is the reason: no other source of bytes would help.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Full(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_troubles() {
        let full = io::Error::other("x");
        assert!(matches!(StoreError::from(full), StoreError::Io(_)));
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            // As fs-err wraps it: the kind stays, the number of the system goes.
            let error = StoreError::from(io::Error::new(kind, "failed to write to file"));
            assert!(matches!(error, StoreError::Full(_)) && error.is_local());
        }
    }
}
