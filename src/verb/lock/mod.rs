//! `ztlab lock`: intent → lock. Entries whose request did not change keep their pins and cost no request.

mod audit;
mod check;
mod dates;
mod diff;
mod git;
mod lint;
mod merge;
mod show;
mod yaml;

use std::path::PathBuf;

use miette::Diagnostic;
use serde::Serialize;

use crate::{
    base::Digest,
    intent::Intent,
    lockfile::{self, Lock, ReadError},
    plan::is_selected,
    resolve::{self, Unresolved},
};

pub use audit::{AuditFailed, AuditOutcome, Unseen, audit};
pub(super) use check::refuse_stale;
pub use check::{CheckOutcome, Stale, check};
pub use diff::{DiffError, DiffOutcome, diff, refuse_alarms};
pub use git::GitError;
pub use lint::{LintOutcome, PolicyBroken, lint, policy};
pub use merge::{InstallOutcome, MergeError, MergeOutcome, MergeRequest, install_driver, merge_files};
pub use show::{ShowOutcome, Shown, ShownBlob, show};

use super::{
    Context,
    supply::{ArtifactFailure, Incomplete},
};

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Forget the pins of these entries and ask upstream again; an empty list means every entry.
    pub upgrade: Option<Vec<String>>,
    /// Resolve, and write nothing.
    pub dry_run: bool,
}

/// An entry with gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// `app.backend`
    pub artifact: String,
    /// What it lacks.
    pub lacks: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The lock file.
    pub lock: PathBuf,
    /// The lab's identity, as it is (or, in a dry run, would be).
    pub lab_id: Digest,
    /// Whether the lock differs from what was there.
    pub changed: bool,
    /// Whether it was written.
    pub written: bool,
    /// Entries whose text changed.
    pub resolved: Vec<String>,
    /// Entries that are gone.
    pub removed: Vec<String>,
    /// Entries that stayed as they were.
    pub kept: usize,
    /// Entries that `fetch` completes: app images are built there.
    pub pending: Vec<Pending>,
    /// Requests that went out.
    pub requests: u64,
}

/// A name that `--upgrade` or `--only` does not find.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{name}` is no entry of this lab")]
#[diagnostic(
    code(usage::name),
    help("names are those of lock/ztlab.toml: `image.calico-node`, or `calico-node` for short")
)]
pub struct UnknownName {
    name: String,
}

/// Resolves the intent and writes the lock.
///
/// What could be resolved is written even when something else could not: the rest stays pending, says so in
/// the lock, and is asked for again next time.
///
/// # Errors
/// When intent or old lock cannot be read, and (after writing) when an entry could not be resolved.
pub async fn run(context: &Context, request: &Request) -> miette::Result<Outcome> {
    let intent = Intent::read(&context.intent_path())?;
    let old = read_if_there(context)?;
    let mut lock = lockfile::request(&intent)?;
    let sources = resolve::source_digests(&context.lab, &intent)?;
    if let Some(names) = &request.upgrade {
        refuse_unknown(&lock, names)?;
    }
    let reusable = reusable(&old, request.upgrade.as_deref());
    lockfile::carry_over(&mut lock, &reusable);

    let client = context.client(None)?;
    let store = context.open_store()?;
    let unresolved = resolve::resolve(&client, &store, &mut lock, &[]).await;
    let kept = Lock { app: reusable.app, ..old.clone() };
    lockfile::carry_over_apps(&mut lock, &kept, &sources);

    let changed = !context.lock_path().exists() || lockfile::write(&lock) != lockfile::write(&old);
    let written = changed && !request.dry_run;
    if written {
        lockfile::save(&context.lock_path(), &lock).map_err(SaveError)?;
    }
    Incomplete::unless_empty(unresolved.iter().map(failure).collect())?;
    Ok(outcome(context, &old, &lock, (changed, written), client.requests()))
}

/// The lock file could not be written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the lock cannot be written; the old one is untouched")]
#[diagnostic(
    code(lock::write),
    help("look at the free space and the rights of the lab's lock/ folder, then run the same command again")
)]
pub(super) struct SaveError(#[source] pub(super) std::io::Error);

pub(super) fn refuse_unknown(lock: &Lock, names: &[String]) -> Result<(), UnknownName> {
    let artifacts = lock.artifacts();
    let known =
        |name: &String| artifacts.iter().any(|artifact| is_selected(&artifact.name, std::slice::from_ref(name)));
    match names.iter().find(|name| !known(name)) {
        Some(name) => Err(UnknownName { name: name.clone() }),
        None => Ok(()),
    }
}

pub(super) fn failure(unresolved: &Unresolved) -> ArtifactFailure {
    ArtifactFailure::new(&unresolved.artifact, None, &unresolved.error, unresolved.error.is_integrity())
}

/// The old lock; an empty one where there is none yet.
fn read_if_there(context: &Context) -> miette::Result<Lock> {
    match lockfile::read(&context.lock_path()) {
        Ok(lock) => Ok(lock),
        Err(ReadError::Absent { .. }) => Ok(Lock::default()),
        Err(error) => Err(error.into()),
    }
}

/// What of the old lock may be reused.
fn reusable(old: &Lock, upgrade: Option<&[String]>) -> Lock {
    let mut lock = old.clone();
    let Some(names) = upgrade else { return lock };
    let stays = |section: &str, name: &String| !is_selected(&format!("{section}.{name}"), names);
    lock.tool.retain(|name, _| stays("tool", name));
    lock.file.retain(|name, _| stays("file", name));
    lock.manifest.retain(|name, _| stays("manifest", name));
    lock.image.retain(|name, _| stays("image", name));
    lock.wheel.retain(|name, _| stays("wheel", name));
    // An app is built anew when it is named, or when a part of it changed: the same parts give the same image.
    if !names.is_empty() {
        lock.app.retain(|name, _| stays("app", name));
    }
    lock
}

fn outcome(context: &Context, old: &Lock, new: &Lock, (changed, written): (bool, bool), requests: u64) -> Outcome {
    let names = |lock: &Lock| lock.artifacts().into_iter().map(|artifact| artifact.name).collect::<Vec<_>>();
    let (before, after) = (names(old), names(new));
    let moved = |name: &&String| !before.contains(*name) || entry_text(old, name) != entry_text(new, name);
    let resolved: Vec<String> = after.iter().filter(moved).cloned().collect();
    Outcome {
        lock: context.lock_path(),
        lab_id: new.lab_id(),
        changed,
        written,
        kept: after.len() - resolved.len(),
        resolved,
        removed: before.into_iter().filter(|name| !after.contains(name)).collect(),
        pending: new.pending().into_iter().map(|(artifact, lacks)| Pending { artifact, lacks }).collect(),
        requests,
    }
}

/// One block of the canonical text: what a reviewer sees change.
fn entry_text(lock: &Lock, artifact: &str) -> Option<String> {
    let text = lockfile::write(lock);
    let block = text.split("\n\n").find(|block| block.starts_with(&format!("[{artifact}]\n")))?;
    Some(block.trim_end().to_owned())
}
