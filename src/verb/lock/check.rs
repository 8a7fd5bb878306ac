//! `ztlab lock --check`: does the lock answer the intent? Reads files, and opens neither socket nor store.

use miette::Diagnostic;
use serde::Serialize;

use super::yaml::LabYaml;
use crate::{
    base::Digest,
    intent::Intent,
    lockfile::{self, Finding, Lock},
    resolve,
    review::signature::Standing,
    step::objects::refuse_unknown,
    verb::{Context, signature},
};

/// What `lock --check` found to be in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckOutcome {
    /// The lab's identity.
    pub lab_id: Digest,
    /// How many entries there are.
    pub entries: usize,
    /// Who vouches for it.
    pub signature: Standing,
}

/// The lock is not the intent's.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the lock is stale\n{}", .findings.iter().map(|finding| format!("  {finding}")).collect::<Vec<_>>().join("\n"))]
#[diagnostic(code(lock::stale), help("bring it up to date with `ztlab lock`, and commit both files together"))]
pub struct Stale {
    /// Every difference.
    pub findings: Vec<Finding>,
}

/// Compares intent and lock. Opens no socket and no store.
///
/// # Errors
/// [`Stale`], [`super::Incompatible`] or [`lockfile::Incomplete`], a signature that does not fit, or why a file cannot be
/// read.
pub fn check(context: &Context) -> miette::Result<CheckOutcome> {
    let intent = Intent::read(&context.intent_path())?;
    let lock = lockfile::read(&context.lock_path())?;
    super::compatible::refuse_incompatible(context, &intent)?;
    refuse_stale(context, &intent, &lock)?;
    refuse_unknown_deployments(context, &lock)?;
    let lock = lockfile::CheckedLock::new(lock)?;
    let signature = signature::judge(context, &lock)?;
    Ok(CheckOutcome { lab_id: lock.lab_id(), entries: lock.artifacts().len(), signature })
}

/// A profile may leave out what only the lab's own files know.
fn refuse_unknown_deployments(context: &Context, lock: &Lock) -> miette::Result<()> {
    if lock.profile.is_empty() {
        return Ok(());
    }
    let own = LabYaml::read(context, &Lock::default(), None)?;
    for profile in lock.profiles() {
        refuse_unknown(own.files.iter().flat_map(|file| &file.objects), &profile)?;
    }
    Ok(())
}

pub(in crate::verb) fn refuse_stale(context: &Context, intent: &Intent, lock: &Lock) -> miette::Result<()> {
    let sources = resolve::source_digests(&context.lab, intent)?;
    let findings = lockfile::check(intent, lock, &sources)?;
    if findings.is_empty() { Ok(()) } else { Err(Stale { findings }.into()) }
}
