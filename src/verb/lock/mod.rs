//! `ztlab lock`: intent → lock. Entries whose request did not change keep their pins and cost no request.

mod audit;
mod change;
mod check;
mod compatible;
mod dates;
mod diff;
mod failure;
mod git;
mod limit;
mod lint;
mod merge;
mod show;
mod why;
mod yaml;

use miette::Diagnostic;

use crate::{
    intent::Intent,
    lockfile::{self, Lock, LockError, ReadError},
    plan::is_selected,
    resolve::{self, AgeLimit, Question},
};

pub use audit::{AuditFailed, AuditOutcome, AuditedProfile, Unseen, audit};
pub(super) use check::refuse_stale;
pub(super) use failure::failure;

pub use change::{Change, Kind, Outcome, Pending};
pub use check::{CheckOutcome, Stale, check};
pub use compatible::Incompatible;
pub use diff::{DiffError, DiffOutcome, diff, refuse_alarms};
pub use failure::NotResolved;
pub use git::GitError;
pub use limit::age_limit;
pub use lint::{LintOutcome, PolicyBroken, lint, policy};
pub use merge::{InstallOutcome, MergeError, MergeOutcome, MergeRequest, install_driver, merge_files};
pub use show::{ShowOutcome, Shown, ShownBlob, ShownProfile, show};
pub use why::{WhyOutcome, why};

use super::{Context, signature};

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Ask upstream again about these entries, whatever is locked; an empty list means every entry.
    pub upgrade: Option<Vec<String>>,
    /// Resolve, and write nothing.
    pub dry_run: bool,
    /// Refuse new pins of what was published more recently than that.
    pub age: Option<AgeLimit>,
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
/// What could be resolved is written even when something else could not: that keeps the pins it had, or stays
/// pending, says so in the lock, and is asked for again next time. Only a minimum age stops the whole: a pending
/// entry would be completed by the next `fetch`, and with it the bytes that were just refused would come.
///
/// # Errors
/// When versions do not go together, when intent or old lock cannot be read, when something is too young, and
/// (after writing) when an entry could not be resolved.
pub async fn run(context: &Context, request: &Request) -> miette::Result<Outcome> {
    let intent = Intent::read(&context.intent_path())?;
    compatible::refuse_incompatible(context, &intent)?;
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
    let question = Question { only: &[], before: Some(&old), age: request.age.as_ref() };
    let unresolved = resolve::resolve(&client, &store, &mut lock, question).await;
    let failures = match NotResolved::unless_empty(&unresolved) {
        Err(age @ NotResolved::Age { .. }) => return Err(age.into()),
        others => others,
    };
    // An upgrade that does not succeed takes nothing away: the class that starts in ten minutes needs the old pins.
    let names: Vec<String> = unresolved.into_iter().map(|unresolved| unresolved.artifact).collect();
    lockfile::carry_over(&mut lock, &named(&old, &names));
    lockfile::carry_over_apps(&mut lock, &reusable_apps(&old, request.upgrade.as_deref()), &sources);

    let there = fs_err::read(context.lock_path()).ok();
    let changed = there.as_deref() != Some(lockfile::write(&lock).as_bytes());
    let written = changed && !request.dry_run;
    if written {
        lockfile::save(&context.lock_path(), &lock).map_err(SaveError)?;
        signature::warn_when_old(context);
    }
    failures?;
    let changes = change::changes(&old, &lock);
    let entries = lock.artifacts().len() + lock.profile.len();
    let differing = changes.iter().filter(|change| change.change != Kind::Removed).count();
    Ok(Outcome {
        lock: context.lock_path(),
        lab_id: lock.lab_id(),
        changed,
        written,
        kept: entries - differing,
        changes,
        pending: lock.pending().into_iter().map(|(artifact, lacks)| Pending { artifact, lacks }).collect(),
        requests: client.requests(),
    })
}

/// The lock file could not be written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the lock cannot be written; the old one is untouched")]
#[diagnostic(
    code(lock::write),
    help("look at the free space and the rights of the lab's lock/ folder, then run the same command again")
)]
pub(super) struct SaveError(#[source] pub(super) std::io::Error);

pub(in crate::verb) fn refuse_unknown(lock: &Lock, names: &[String]) -> Result<(), UnknownName> {
    let artifacts = lock.artifacts();
    let known =
        |name: &String| artifacts.iter().any(|artifact| is_selected(&artifact.name, std::slice::from_ref(name)));
    match names.iter().find(|name| !known(name)) {
        Some(name) => Err(UnknownName { name: name.clone() }),
        None => Ok(()),
    }
}

/// The old lock; an empty one where there is none yet. One that says the right thing in other bytes is as good:
/// it is about to be written anew.
fn read_if_there(context: &Context) -> miette::Result<Lock> {
    match lockfile::read(&context.lock_path()) {
        Ok(lock) => Ok(lock),
        Err(ReadError::Absent { .. }) => Ok(Lock::default()),
        Err(ReadError::Text(LockError::NotCanonical { content, .. })) => Ok(*content),
        Err(error) => Err(error.into()),
    }
}

/// What of the old lock may be reused.
fn reusable(old: &Lock, upgrade: Option<&[String]>) -> Lock {
    match upgrade {
        Some(names) => entries(old, |artifact| !is_selected(artifact, names)),
        None => old.clone(),
    }
}

/// The old lock with the entries of these names only.
fn named(old: &Lock, names: &[String]) -> Lock {
    entries(old, |artifact| names.iter().any(|name| name == artifact))
}

fn entries(old: &Lock, stays: impl Fn(&str) -> bool) -> Lock {
    let mut lock = old.clone();
    lock.tool.retain(|name, _| stays(&format!("tool.{name}")));
    lock.file.retain(|name, _| stays(&format!("file.{name}")));
    lock.manifest.retain(|name, _| stays(&format!("manifest.{name}")));
    lock.image.retain(|name, _| stays(&format!("image.{name}")));
    lock.wheel.retain(|name, _| stays(&format!("wheel.{name}")));
    lock
}

/// An app is made here, of parts that the lock has: it is built anew when a part changed, and when it is named
/// itself (another version of ztlab may build it differently).
fn reusable_apps(old: &Lock, upgrade: Option<&[String]>) -> Lock {
    let mut lock = old.clone();
    if let Some(names) = upgrade.filter(|names| !names.is_empty()) {
        lock.app.retain(|name, _| !is_selected(&format!("app.{name}"), names));
    }
    lock
}
