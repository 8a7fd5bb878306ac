//! Which locks are known to a store, and what each needs of it today.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    lockfile::{self, Lock, ReadError},
    store::{KnownLab, Store},
};

use super::{super::supply::named_images, Context};

/// What became of a known lab's lock since its note was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// It is as noted.
    Current,
    /// It is another one now, and that one counts.
    Changed,
    /// It cannot be read: what the note says counts.
    Kept {
        /// Why it cannot be read.
        why: String,
    },
}

/// A known lab as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabState {
    /// What it needs today.
    #[serde(skip)]
    pub lab: KnownLab,
    /// Its name.
    pub name: String,
    /// Its lock.
    pub lock: PathBuf,
    /// What became of the lock.
    #[serde(flatten)]
    pub standing: Standing,
}

impl LabState {
    fn new(lab: KnownLab, standing: Standing) -> Self {
        Self { name: lab.name.clone(), lock: lab.lock.clone(), lab, standing }
    }
}

/// Notes in the store that this context's lab uses it.
///
/// # Errors
/// When the note cannot be written.
pub fn note(context: &Context, store: &Store, lock: &Lock) -> miette::Result<()> {
    note_at(&context.lock_path(), store, lock)
}

/// As [`note`], for a lock that lies elsewhere.
///
/// # Errors
/// When the note cannot be written.
pub fn note_at(path: &Path, store: &Store, lock: &Lock) -> miette::Result<()> {
    Ok(store.note_lab(&lab_of(&real(path), lock))?)
}

/// Every known lab as it stands, this context's included, whether it has ever fetched or not.
///
/// # Errors
/// When a note is damaged, or this context's lock cannot be read and nothing says what it needs.
pub(super) fn known_labs(context: &Context, store: &Store) -> miette::Result<Vec<LabState>> {
    let mut states = noted_labs(store)?;
    let here = here(context);
    if states.iter().all(|state| state.lock != here) {
        match lockfile::read(&here) {
            Ok(lock) => states.push(LabState::new(lab_of(&here, &lock), Standing::Current)),
            Err(ReadError::Absent { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(states)
}

/// Every lab of which the store has a note, as it stands.
///
/// # Errors
/// When a note is damaged.
pub(super) fn noted_labs(store: &Store) -> miette::Result<Vec<LabState>> {
    Ok(store.labs()?.into_iter().map(as_it_stands).collect())
}

/// This context's lock, as notes have it.
pub(super) fn here(context: &Context) -> PathBuf {
    real(&context.lock_path())
}

fn as_it_stands(noted: KnownLab) -> LabState {
    match lockfile::read(&noted.lock) {
        Ok(lock) if lock.lab_id() == noted.id => LabState::new(noted, Standing::Current),
        Ok(lock) => LabState::new(lab_of(&noted.lock, &lock), Standing::Changed),
        Err(error) => LabState::new(noted, Standing::Kept { why: error.to_string() }),
    }
}

/// Writes damaged notes anew where the lock that they were about can be read.
pub(super) fn renew_damaged(store: &Store) -> miette::Result<()> {
    for path in store.damaged_labs()?.into_iter().filter_map(|(_, lock)| lock) {
        if let Ok(lock) = lockfile::read(&path) {
            store.note_lab(&lab_of(&path, &lock))?;
        }
    }
    Ok(())
}

/// Gives every image of every known lab its name again, and takes away what no lab names.
pub(super) fn name_all(context: &Context, store: &Store) -> miette::Result<()> {
    // A damaged note that nobody could renew hides a lab's names: those stay away until it fetches again.
    let labs = store.labs().unwrap_or_default();
    let images: Vec<_> = labs.into_iter().flat_map(|lab| as_it_stands(lab).lab.images).collect();
    store.keep_names(&images, context.reporter.as_ref())?;
    Ok(store.name_images(&images, context.reporter.as_ref())?)
}

fn lab_of(path: &Path, lock: &Lock) -> KnownLab {
    let artifacts = lock.artifacts().into_iter();
    KnownLab {
        lock: path.to_owned(),
        name: lock.name.clone(),
        id: lock.lab_id(),
        artifacts: artifacts
            .map(|artifact| (artifact.name, artifact.blobs.into_iter().map(|blob| blob.descriptor).collect()))
            .collect(),
        images: named_images(lock),
    }
}

/// One lab has one path, however its folder was entered.
fn real(path: &Path) -> PathBuf {
    fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
