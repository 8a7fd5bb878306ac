//! What is there and what is missing. Pure: a lock and the list of present blobs in, a value out.
//!
//! [`Complete`] is the end of every way in (fetch, bundle, another machine's store) and the start of every
//! install: whoever holds one need not ask again whether a blob is there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::{Descriptor, Digest, Reporter, human_bytes},
    lockfile::{Artifact, CheckedLock, Incomplete, Lock, Origin, Profile},
    store::{Damage, DamagedBlob, Store, StoreError, StoredBlob},
};

/// One blob, however many artifacts need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBlob {
    /// Name and length.
    pub descriptor: Descriptor,
    /// Every place that has it: two images may share a layer.
    pub origins: Vec<Origin>,
    /// The artifacts that need it, by name.
    pub needed_by: BTreeSet<String>,
    /// What it is to the first of them, for people.
    pub label: String,
}

/// A lock against the blobs that are present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Blobs that are there with the right length.
    pub present: Vec<PlannedBlob>,
    /// Blobs that are not; largest first, for a scheduler that wants to end everywhere at once.
    pub missing: Vec<PlannedBlob>,
}

impl Plan {
    /// Plans every known blob of a lock. `only` limits it to artifacts of these names (empty: all of them).
    pub fn new(lock: &Lock, present: &BTreeMap<Digest, u64>, only: &[String]) -> Self {
        let mut blobs: BTreeMap<Descriptor, PlannedBlob> = BTreeMap::new();
        let selected = lock.artifacts().into_iter().filter(|artifact| is_selected(&artifact.name, only));
        for Artifact { name, blobs: needed } in selected {
            for blob in needed {
                let planned = blobs.entry(blob.descriptor).or_insert_with(|| PlannedBlob {
                    descriptor: blob.descriptor,
                    origins: Vec::new(),
                    needed_by: BTreeSet::new(),
                    label: format!("{name} {}", blob.role),
                });
                if !planned.origins.contains(&blob.origin) {
                    planned.origins.push(blob.origin);
                }
                planned.needed_by.insert(name.clone());
            }
        }
        let is_present = |blob: &PlannedBlob| present.get(&blob.descriptor.digest) == Some(&blob.descriptor.size);
        let (present, mut missing): (Vec<_>, Vec<_>) = blobs.into_values().partition(is_present);
        missing.sort_by_key(|blob| (std::cmp::Reverse(blob.descriptor.size), blob.descriptor.digest));
        Self { present, missing }
    }

    /// How many bytes are missing.
    pub fn missing_bytes(&self) -> u64 {
        self.missing.iter().map(|blob| blob.descriptor.size).sum()
    }

    /// How many bytes are there.
    pub fn present_bytes(&self) -> u64 {
        self.present.iter().map(|blob| blob.descriptor.size).sum()
    }
}

/// Whether a name given by a person means this artifact: `image.calico-node`, or `calico-node` for short.
pub fn is_selected(artifact: &str, only: &[String]) -> bool {
    let short = artifact.split_once('.').map_or(artifact, |(_, name)| name);
    only.is_empty() || only.iter().any(|name| name == artifact || name == short)
}

/// A lock whose every blob is in the store; of a lab with less, every blob of that.
#[derive(Debug, Clone)]
pub struct Complete {
    lock: CheckedLock,
    whole: Lock,
    lab_id: Digest,
    profile: Profile,
    store: Store,
    blobs: BTreeMap<Digest, Descriptor>,
}

/// Why there is no [`Complete`].
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PlanError {
    /// Blobs are not there.
    #[error("the store lacks {} of this lab ({})\n{}", counted(.missing), human_bytes(.missing.iter().map(|blob| blob.descriptor.size).sum()), listed(.missing))]
    #[diagnostic(
        code(fetch::incomplete),
        help(
            "with a network, `ztlab fetch{0}` brings them; without one, take them from another machine: `ztlab fetch{0} --from DIR`",
            argument(.profile)
        )
    )]
    Missing {
        /// Which.
        missing: Vec<PlannedBlob>,
        /// The profile that needs them.
        profile: Profile,
    },
    /// Blobs are there with other bytes: a failing disk, or somebody's hand. Not the same as never fetched.
    #[error("the store holds {} of this lab with other bytes than the lock says\n{}", counted(.damaged), listed(.damaged))]
    #[diagnostic(
        code("integrity::damaged"),
        help(
            "with a network, `ztlab store repair` fetches them again; without one, `ztlab fetch --from DIR` takes them from another store"
        )
    )]
    Damaged {
        /// Which.
        damaged: Vec<PlannedBlob>,
    },
    /// A digest that the lock does not name.
    #[error("blob {0} is not part of this lab")]
    #[diagnostic(
        code(plan::foreign),
        help("only locked blobs are used: add the artifact to lock/ztlab.toml and run `ztlab lock`")
    )]
    Foreign(Digest),
    /// The blob was there when the lab was opened.
    #[error("blob {0} has gone from the store")]
    #[diagnostic(code(integrity::gone), help("something removed it meanwhile: `ztlab fetch` brings it back"))]
    Gone(Digest),
    /// The store cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// How a person asks for a profile; `full` is what one gets without asking.
fn argument(profile: &Profile) -> String {
    if profile.is_full() { String::new() } else { format!(" --profile {}", profile.name) }
}

fn counted(missing: &[PlannedBlob]) -> String {
    if missing.len() == 1 { "1 blob".to_owned() } else { format!("{} blobs", missing.len()) }
}

/// Why a profile of a lab cannot be opened.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OpenError {
    /// The lock has gaps.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Incomplete(#[from] Incomplete),
    /// The store has.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(#[from] PlanError),
}

/// One line per artifact, not per blob: people fetch artifacts.
fn listed(missing: &[PlannedBlob]) -> String {
    let mut by_artifact: BTreeMap<&str, Vec<&PlannedBlob>> = BTreeMap::new();
    for blob in missing {
        for name in &blob.needed_by {
            by_artifact.entry(name).or_default().push(blob);
        }
    }
    let lines = by_artifact.into_iter().map(|(name, blobs)| {
        let bytes = blobs.iter().map(|blob| blob.descriptor.size).sum();
        let first = blobs.first().map(|blob| blob.descriptor.digest.to_string()).unwrap_or_default();
        let more = if blobs.len() > 1 { format!(" and {} more", blobs.len() - 1) } else { String::new() };
        format!("  {name}: {first}{more}, {}", human_bytes(bytes))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A damaged blob and whom it hurts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedArtifact {
    /// The artifact's name.
    pub artifact: String,
    /// What should be in the store.
    pub descriptor: Descriptor,
    /// What is the matter with it.
    #[serde(flatten)]
    pub damage: Damage,
}

impl Complete {
    /// Opens a lab: every blob must be in the store with its length. Its bytes were verified on the way in;
    /// [`Complete::verify`] reads them again.
    ///
    /// # Errors
    /// [`PlanError::Damaged`] or [`PlanError::Missing`], naming the artifacts.
    pub fn open(lock: CheckedLock, store: Store) -> Result<Self, PlanError> {
        let whole = lock.lock().clone();
        Self::of(lock, whole, Profile::default(), store)
    }

    /// Opens a lab as one of its profiles has it: what the profile leaves out need neither be pinned nor be there.
    ///
    /// # Errors
    /// As [`Complete::open`]; and when an entry that the profile needs has no pins yet.
    pub fn open_as(lock: &Lock, profile: Profile, store: Store) -> Result<Self, OpenError> {
        let narrowed = CheckedLock::new(lock.narrowed(&profile))?;
        Ok(Self::of(narrowed, lock.clone(), profile, store)?)
    }

    fn of(lock: CheckedLock, whole: Lock, profile: Profile, store: Store) -> Result<Self, PlanError> {
        let plan = Plan::new(&lock, &store.present()?, &[]);
        let there = |blob: &&PlannedBlob| store.path_of(&blob.descriptor.digest).exists();
        let damaged: Vec<PlannedBlob> = plan.missing.iter().filter(there).cloned().collect();
        if !damaged.is_empty() {
            return Err(PlanError::Damaged { damaged });
        }
        if !plan.missing.is_empty() {
            return Err(PlanError::Missing { missing: plan.missing, profile });
        }
        let blobs = plan.present.into_iter().map(|blob| (blob.descriptor.digest, blob.descriptor)).collect();
        Ok(Self { lab_id: whole.lab_id(), lock, whole, profile, store, blobs })
    }

    /// The lock, without what the profile leaves out.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The lock as it is in its file, whatever the profile.
    pub fn whole_lock(&self) -> &Lock {
        &self.whole
    }

    /// The lab's identity: that of the whole lock.
    pub fn lab_id(&self) -> Digest {
        self.lab_id
    }

    /// How much of the lab this is.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A blob of this lab.
    ///
    /// # Errors
    /// When the lock does not name it, or it has gone meanwhile.
    pub fn blob(&self, digest: &Digest) -> Result<StoredBlob, PlanError> {
        let descriptor = *self.blobs.get(digest).ok_or(PlanError::Foreign(*digest))?;
        self.store.blob(descriptor).ok_or(PlanError::Gone(*digest))
    }

    /// Every blob of the lab.
    pub fn descriptors(&self) -> impl Iterator<Item = Descriptor> + '_ {
        self.blobs.values().copied()
    }

    /// Re-hashes every blob of the lab on all cores. Blocks. Empty when all is well.
    pub fn verify(&self, reporter: &dyn Reporter) -> Vec<DamagedArtifact> {
        damaged_artifacts(&self.lock, &self.store, reporter)
    }
}

/// Re-hashes every known blob of a lock, missing ones included. Blocks.
pub fn damaged_artifacts(lock: &Lock, store: &Store, reporter: &dyn Reporter) -> Vec<DamagedArtifact> {
    let artifacts = lock.artifacts();
    let blobs = artifacts.iter().flat_map(|artifact| artifact.blobs.iter().map(|blob| blob.descriptor)).collect();
    hurt_artifacts(lock, &store.verify(blobs, reporter))
}

/// Whom damaged blobs hurt. A blob of no artifact of this lock hurts nobody here.
pub fn hurt_artifacts(lock: &Lock, damaged: &[DamagedBlob]) -> Vec<DamagedArtifact> {
    let mut findings = Vec::new();
    for artifact in lock.artifacts() {
        let hurt = damaged.iter().filter(|found| artifact.blobs.iter().any(|blob| blob.descriptor == found.descriptor));
        findings.extend(hurt.map(|found| DamagedArtifact {
            artifact: artifact.name.clone(),
            descriptor: found.descriptor,
            damage: found.damage.clone(),
        }));
    }
    findings.sort_by(|one, other| (&one.artifact, one.descriptor).cmp(&(&other.artifact, other.descriptor)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{Platform, report::Silent},
        lockfile::{ImageEntry, ImagePin},
    };

    fn image(name: &str, layer: &[u8]) -> ImageEntry {
        let pin = ImagePin {
            manifest: Descriptor::of(format!("manifest of {name}").as_bytes()),
            config: Descriptor::of(format!("config of {name}").as_bytes()),
            layers: vec![Descriptor::of(layer)],
        };
        ImageEntry {
            want: format!("docker.io/library/{name}:1"),
            index: None,
            platforms: BTreeMap::from([(Platform::LinuxArm64, pin)]),
            hints: BTreeMap::new(),
        }
    }

    fn lab() -> Lock {
        Lock {
            name: "two".to_owned(),
            node: vec![Platform::LinuxArm64],
            image: [
                ("a", image("a", b"shared layer, the largest of them all")),
                ("b", image("b", b"shared layer, the largest of them all")),
            ]
            .into_iter()
            .map(|(name, entry)| (name.to_owned(), entry))
            .collect(),
            ..Lock::default()
        }
    }

    #[test]
    fn a_shared_layer_is_planned_once_and_first() {
        let plan = Plan::new(&lab(), &BTreeMap::new(), &[]);
        assert_eq!(plan.missing.len(), 5);
        let first = &plan.missing[0];
        assert_eq!(first.descriptor, Descriptor::of(b"shared layer, the largest of them all"));
        assert_eq!(first.needed_by.iter().collect::<Vec<_>>(), ["image.a", "image.b"]);
        assert_eq!(first.origins.len(), 2);
        assert_eq!(Plan::new(&lab(), &BTreeMap::new(), &["b".to_owned()]).missing.len(), 3);
    }

    #[test]
    fn a_lab_opens_only_when_every_blob_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let lock = || CheckedLock::new(lab()).unwrap();
        for bytes in ["manifest of a", "config of a", "manifest of b", "config of b"] {
            store.put(bytes.as_bytes(), &Silent).unwrap();
        }
        let error = Complete::open(lock(), store.clone()).unwrap_err().to_string();
        assert!(error.contains("image.a") && error.contains("image.b") && error.contains("1 blob"), "{error}");
        let layer = store.put(b"shared layer, the largest of them all", &Silent).unwrap();
        let complete = Complete::open(lock(), store).unwrap();
        assert_eq!(complete.blob(&layer.descriptor().digest).unwrap(), layer);
        assert!(matches!(complete.blob(&Digest::of(b"else")).unwrap_err(), PlanError::Foreign(_)));
        assert_eq!(complete.verify(&Silent), []);
        fs_err::write(layer.path(), b"shared layer, the largest of them ALL").unwrap();
        let damaged: Vec<String> = complete.verify(&Silent).into_iter().map(|found| found.artifact).collect();
        assert_eq!(damaged, ["image.a", "image.b"]);
    }
}
