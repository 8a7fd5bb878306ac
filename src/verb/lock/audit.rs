//! `ztlab lock audit`: what the lab will ask for against what is locked, both ways. Opens no socket.

use std::path::Path;

use miette::Diagnostic;
use serde::Serialize;

use crate::{
    base::Digest,
    demand::{Demand, Source},
    lockfile::{self, Lock, Profile},
    review::{
        Finding,
        audit::{self, Report},
        recorded::compare,
    },
    step::{objects, trim::trimmed},
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
    /// Every profile with its closed list.
    pub profiles: Vec<AuditedProfile>,
    /// The judgement.
    #[serde(flatten)]
    pub report: Report,
}

/// A profile's images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedProfile {
    /// `full`, `small`
    pub profile: String,
    /// The images that it has, by the lock's names.
    pub images: Vec<String>,
    /// Whether everybody who asks was looked at, each image that is asked for is among these, and no other is.
    pub closed: bool,
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
pub(super) fn demand(context: &Context, lock: &Lock, profile: &Profile) -> miette::Result<Demand> {
    let lock = &lock.narrowed(profile);
    let mut lab = LabYaml::read(context, lock, store_if_there(context)?.as_ref())?;
    let own = lab.files.iter().filter(|file| file.name.starts_with("manifests/"));
    objects::refuse_unknown(own.flat_map(|file| &file.objects), profile)?;
    for file in &mut lab.files {
        file.objects = trimmed(std::mem::take(&mut file.objects), profile);
    }
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
    Ok(objects::demand(lock, profile, &sources, &unread))
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
    let mut report = audit::audit(&lock, &demand(context, &lock, &Profile::default())?);
    let mut profiles = Vec::new();
    for profile in lock.profiles() {
        let found = audit::audit(&lock.narrowed(&profile), &demand(context, &lock, &profile)?);
        let images = lock.images_of(&profile).into_iter().map(|(name, _)| name).collect();
        let closed = found.findings.is_empty() && found.unseen.is_empty();
        report.findings.extend(if profile.is_full() {
            Vec::new()
        } else {
            audit::of_profile(&profile, found, &report)
        });
        profiles.push(AuditedProfile { profile: profile.name, images, closed });
    }
    if let Some(record) = &record {
        let demand = demand(context, &lock, &lock.profile(&record.profile)?)?;
        report.findings.extend(compare(&lock, &demand, record, &OWN_NAMESPACES));
    }
    Ok(AuditOutcome { lab_id, recorded: record.map(|record| record.containers.len()), profiles, report })
}
