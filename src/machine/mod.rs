//! Is this machine fit for a lab? What was seen, and what follows from it, are kept apart: [`gather`] looks and judges
//! nothing, [`judge`] is a function of what was seen. `ztlab doctor` prints every finding; an install stops at the
//! first fault. Both ask here, so that they never disagree.

mod docker;
mod facts;
mod gather;
mod judge;
mod leftover;
mod network;
#[cfg(test)]
mod planted;

pub use docker::{Docker, DockerInfo};
pub use facts::{Container, Facts, Kubeconfig, MinikubeHome, Profile, Route};
pub use gather::{Places, gather, ignored_variables};
pub use judge::judge;

use serde::Serialize;

/// What a lab needs of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The cluster's name: Minikube's profile, its node's container and its kubectl context have it.
    pub cluster: String,
    /// How much of the lab is to be there: the profile's name.
    pub profile: String,
    /// Bytes of memory for the node.
    pub memory: u64,
    /// The lab's profiles that take less memory, the one that leaves out least first.
    pub smaller: Vec<Smaller>,
    /// CPUs for the node.
    pub cpus: u32,
    /// Architecture of the node's images in Go's words, as `arm64`.
    pub architecture: String,
    /// The lock's Kubernetes with its `v`, where it names one.
    pub kubernetes: Option<String>,
    /// The range of the pods' addresses.
    pub pod_cidr: String,
    /// Bytes that are still to be fetched into the store.
    pub store_bytes: u64,
    /// Compressed bytes of all images that go into the node.
    pub node_bytes: u64,
}

/// A profile of the lab that takes less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smaller {
    /// Its name.
    pub profile: String,
    /// Bytes of memory for its node.
    pub memory: u64,
}

impl Smaller {
    /// A profile with so many MiB of memory.
    pub fn new(profile: String, memory: u32) -> Self {
        Self { profile, memory: u64::from(memory) << 20 }
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As it should be.
    Fit,
    /// Nothing on this machine tells.
    Unknown,
    /// The lab works, something else may not.
    Warning,
    /// An install would fail, now or later.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, as `memory`.
    pub check: &'static str,
    /// How much it matters.
    pub grade: Grade,
    /// What was found, and what is needed.
    pub found: String,
    /// What to type or to click; absent when nothing is to be done.
    pub fix: Option<String>,
}

impl Finding {
    fn new(check: &'static str, grade: Grade, found: impl Into<String>, fix: Option<String>) -> Self {
        Self { check, grade, found: found.into(), fix }
    }

    fn fit(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Grade::Fit, found, None)
    }

    fn unknown(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Grade::Unknown, found, None)
    }

    fn warning(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, Grade::Warning, found, Some(fix.into()))
    }

    fn fault(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, Grade::Fault, found, Some(fix.into()))
    }
}
