//! `ztlab lock audit`: what the lab will ask for against what is locked, both ways. Opens no socket.

use std::path::Path;

use miette::Diagnostic;
use serde::Serialize;

use crate::{
    base::Digest,
    demand::{Demand, Source},
    lockfile::{self, Lock},
    review::{
        Finding,
        audit::{self, Report},
        recorded::compare,
    },
    step::objects,
    verb::{Context, record, verify::OWN_NAMESPACES},
};

use super::yaml::{LabYaml, store_if_there};

/// What was found, and who asks for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditOutcome {
    /// The lab's identity.
    pub lab_id: Digest,
    /// How many recorded containers were compared as well; absent without a record.
    pub recorded: Option<usize>,
    /// The judgement.
    #[serde(flatten)]
    pub report: Report,
}

/// The lock and the lab ask for different things.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("what is asked for and what is locked differ: {}", counted(.findings))]
#[diagnostic(code(lock::audit), help("mend each as the table says, then `ztlab lock audit` again"))]
pub struct AuditFailed {
    /// Every finding.
    pub findings: Vec<Finding>,
}

/// Nothing was found, but not everything was looked at.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("not everything could be looked at: the store has no {}", .unseen.join(", "))]
#[diagnostic(
    code(lock::unseen),
    help("`ztlab fetch` brings it (`ztlab fetch --only NAME` just that); then `ztlab lock audit` again")
)]
pub struct Unseen {
    /// The YAML that is not there.
    pub unseen: Vec<String>,
}

fn counted(findings: &[Finding]) -> String {
    if findings.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", findings.len()) }
}

impl AuditOutcome {
    /// Whether both sides are the same, as far as they were seen.
    ///
    /// # Errors
    /// [`AuditFailed`] with what was found, else [`Unseen`] when something was not looked at.
    pub fn verdict(&self) -> miette::Result<()> {
        if !self.report.findings.is_empty() {
            return Err(AuditFailed { findings: self.report.findings.clone() }.into());
        }
        if !self.report.unseen.is_empty() {
            return Err(Unseen { unseen: self.report.unseen.clone() }.into());
        }
        Ok(())
    }
}

/// Everything that the lab of a context will ask for.
///
/// # Errors
/// When a manifest cannot be read.
pub(super) fn demand(context: &Context, lock: &Lock) -> miette::Result<Demand> {
    let lab = LabYaml::read(context, lock, store_if_there(context)?.as_ref())?;
    let step = |name: &str, rewritten| match name {
        _ if rewritten => "addons",
        _ if name.starts_with("manifest.") || name.starts_with("manifests/cluster") => "calico",
        _ => "app",
    };
    let sources: Vec<Source<'_>> = lab
        .files
        .iter()
        .map(|file| Source { name: &file.name, step: step(&file.name, file.rewritten), objects: &file.objects })
        .collect();
    let unread: Vec<_> = lab.unseen.into_iter().map(|one| (one.name, one.digest)).collect();
    Ok(objects::demand(lock, &sources, &unread))
}

/// A record of another lock says nothing about this one.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the record is of lab {found}, and this lock is lab {expected}")]
#[diagnostic(code(record::other), help("make one of this lab with `ztlab install --record FILE`"))]
pub(super) struct OtherLab {
    expected: String,
    found: String,
}

/// Audits the lock of a lab, with `recorded` also against what a cluster really asked for.
///
/// # Errors
/// When lock, record or a manifest cannot be read, or the record is of another lock. Findings are in the outcome.
pub fn audit(context: &Context, recorded: Option<&Path>) -> miette::Result<AuditOutcome> {
    let lock = lockfile::read(&context.lock_path())?;
    let record = recorded.map(record::read).transpose()?;
    let lab_id = lock.lab_id();
    if let Some(record) = record.as_ref().filter(|record| record.lab_id != lab_id.to_string()) {
        let found = record.lab_id.trim_start_matches("sha256:").chars().take(12).collect();
        return Err(OtherLab { expected: lab_id.short(), found }.into());
    }
    let demand = demand(context, &lock)?;
    let mut report = audit::audit(&lock, &demand);
    if let Some(record) = &record {
        report.findings.extend(compare(&lock, &demand, record, &OWN_NAMESPACES));
    }
    Ok(AuditOutcome { lab_id, recorded: record.map(|record| record.containers.len()), report })
}
