//! `ztlab lock show`: the lock as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    base::{Descriptor, Digest},
    lockfile::{self, Artifact, Profile},
    plan::is_selected,
    verb::Context,
};

use super::refuse_unknown;

/// What the lock names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShowOutcome {
    /// The lab's identity.
    pub lab_id: Digest,
    /// The artifacts asked for, in the lock's order.
    pub artifacts: Vec<Shown>,
    /// Every profile of the lab; none when artifacts are named.
    pub profiles: Vec<ShownProfile>,
}

/// A profile and its closed list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownProfile {
    /// Name, size and what is left out.
    #[serde(flatten)]
    pub profile: Profile,
    /// The full reference of every image that it has.
    pub images: Vec<String>,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// `image.calico-node`
    pub artifact: String,
    /// The request behind it: an address, a reference, a requirement, or an app's reference.
    pub want: String,
    /// Its blobs that are known.
    pub blobs: Vec<ShownBlob>,
    /// What it lacks; empty when every byte is named.
    pub pending: Vec<String>,
}

/// One blob of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownBlob {
    /// What it is to the artifact: `linux-arm64 layer 3`.
    pub role: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// Reads the lock and lists what it names. `names` limits the list; empty means all.
///
/// # Errors
/// When the lock cannot be read, or a name is no artifact of it.
pub fn show(context: &Context, names: &[String]) -> miette::Result<ShowOutcome> {
    let lock = lockfile::read(&context.lock_path())?;
    refuse_unknown(&lock, names)?;
    let (mut wants, mut pending) = (lockfile::wants(&lock), BTreeMap::from_iter(lock.pending()));
    let selected = lock.artifacts().into_iter().filter(|artifact| is_selected(&artifact.name, names));
    let artifacts = selected.map(|Artifact { name, blobs }| Shown {
        want: wants.remove(&name).unwrap_or_default(),
        pending: pending.remove(&name).unwrap_or_default(),
        blobs: blobs.into_iter().map(|blob| ShownBlob::new(blob.role, blob.descriptor)).collect(),
        artifact: name,
    });
    let artifacts = artifacts.collect();
    let listed = |profile: Profile| ShownProfile {
        images: lock.images_of(&profile).into_iter().map(|(_, reference)| reference).collect(),
        profile,
    };
    let profiles = if names.is_empty() { lock.profiles().into_iter().map(listed).collect() } else { Vec::new() };
    Ok(ShowOutcome { lab_id: lock.lab_id(), artifacts, profiles })
}

impl ShownBlob {
    fn new(role: String, descriptor: Descriptor) -> Self {
        Self { role, digest: descriptor.digest, size: descriptor.size }
    }
}
