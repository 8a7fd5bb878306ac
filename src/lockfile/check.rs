//! Intent against lock, without a network: is the lock what the intent asks for, and is it whole?

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    base::Digest,
    intent::{Intent, IntentError},
};

use super::{Lock, request::request};

/// One reason why a lock is not the intent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `image.calico-node`, or `lab` for what belongs to no artifact.
    pub artifact: String,
    /// What is the matter.
    #[serde(flatten)]
    pub staleness: Staleness,
}

/// How an entry differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "staleness", rename_all = "kebab-case")]
pub enum Staleness {
    /// The intent asks for it, the lock has nothing.
    Added,
    /// The lock has it, the intent does not ask.
    Removed,
    /// Both have it, with different requests.
    Changed {
        /// What the lock was made for.
        locked: String,
        /// What the intent asks for now.
        wanted: String,
    },
    /// The app's files are not the ones that the lock was made of.
    SourceChanged,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.artifact;
        match &self.staleness {
            Staleness::Added => write!(formatter, "{name}: asked for, not locked"),
            Staleness::Removed => write!(formatter, "{name}: locked, no longer asked for"),
            Staleness::Changed { locked, wanted } => write!(formatter, "{name}: locked {locked}, asked for {wanted}"),
            Staleness::SourceChanged => write!(formatter, "{name}: its source files changed"),
        }
    }
}

/// Compares an intent with a lock. `sources` holds the present tree hash of each app's files.
///
/// Returns nothing for a fresh lock. An incomplete lock may be fresh: see [`CheckedLock`].
///
/// # Errors
/// When the intent contradicts itself.
pub fn check(intent: &Intent, lock: &Lock, sources: &BTreeMap<String, Digest>) -> Result<Vec<Finding>, IntentError> {
    let wanted = request(intent)?;
    let mut findings = Vec::new();
    let lab = [
        ("name", lock.name.clone(), wanted.name.clone()),
        ("host", words(&lock.host), words(&wanted.host)),
        ("node", words(&lock.node), words(&wanted.node)),
    ];
    for (what, locked, wanted) in lab.into_iter().filter(|(_, locked, wanted)| locked != wanted) {
        let staleness = Staleness::Changed { locked: format!("{what} {locked}"), wanted: format!("{what} {wanted}") };
        findings.push(Finding { artifact: "lab".to_owned(), staleness });
    }
    findings.extend(compare(&wants(lock), &wants(&wanted)));
    for (name, entry) in &lock.app {
        let now = sources.get(name);
        if wanted.app.contains_key(name) && entry.source.is_some() && now.is_some() && entry.source.as_ref() != now {
            findings.push(Finding { artifact: format!("app.{name}"), staleness: Staleness::SourceChanged });
        }
    }
    Ok(findings)
}

fn compare(locked: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> Vec<Finding> {
    let gone = locked.keys().filter(|name| !wanted.contains_key(*name));
    let gone = gone.map(|name| Finding { artifact: name.clone(), staleness: Staleness::Removed });
    let asked = wanted.iter().filter_map(|(name, wanted)| {
        let staleness = match locked.get(name) {
            None => Staleness::Added,
            Some(locked) if locked == wanted => return None,
            Some(locked) => Staleness::Changed { locked: locked.clone(), wanted: wanted.clone() },
        };
        Some(Finding { artifact: name.clone(), staleness })
    });
    gone.chain(asked).collect()
}

/// Every request of a lock as one text, by the entry's name and, for versions and profiles, `version.NAME` and
/// `profile.NAME`: what is equal here
/// needs no new resolution.
pub fn wants(lock: &Lock) -> BTreeMap<String, String> {
    let mut wants = BTreeMap::new();
    for (name, version) in &lock.version {
        wants.insert(format!("version.{name}"), version.clone());
    }
    for (name, entry) in &lock.tool {
        let member = entry.member.as_ref().map(|member| format!(" member {member}")).unwrap_or_default();
        let side = if entry.side == crate::intent::Side::Node { " for the node" } else { "" };
        let checksum = told_checksum(entry.checksum.as_ref());
        wants.insert(format!("tool.{name}"), format!("{}{member}{side}{checksum}", entry.want));
    }
    for (name, entry) in &lock.file {
        let members: String =
            entry.member.iter().map(|(name, member)| format!(" member {name}={}", member.path)).collect();
        let checksum = told_checksum(entry.checksum.as_ref());
        wants.insert(format!("file.{name}"), format!("{}{members}{checksum}", entry.want));
    }
    for (name, entry) in &lock.manifest {
        let checksum = told_checksum(entry.checksum.as_ref());
        wants.insert(format!("manifest.{name}"), format!("{}{checksum}", entry.want));
    }
    for (name, entry) in &lock.image {
        wants.insert(format!("image.{name}"), entry.want.clone());
    }
    for (name, entry) in &lock.wheel {
        wants.insert(format!("wheel.{name}"), entry.want.clone());
    }
    for (name, entry) in &lock.app {
        wants.insert(format!("app.{name}"), app_want(&entry.request));
    }
    for (name, request) in &lock.profile {
        wants.insert(format!("profile.{name}"), profile_want(request));
    }
    wants
}

fn told_checksum(checksum: Option<&String>) -> String {
    checksum.map(|checksum| format!(" checksum {checksum}")).unwrap_or_default()
}

fn app_want(request: &crate::intent::AppRequest) -> String {
    serde_json::to_string(request).unwrap_or_else(|_| format!("{request:?}"))
}

fn profile_want(request: &crate::intent::ProfileRequest) -> String {
    let memory = request.memory.map(|memory| format!("{memory} MiB"));
    let cpus = request.cpus.map(|cpus| format!("{cpus} CPUs"));
    let without = (!request.without.is_empty()).then(|| format!("without {}", request.without.join(" ")));
    let parts: Vec<String> = [memory, cpus, without].into_iter().flatten().collect();
    if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
}

fn words(platforms: &[crate::base::Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// A lock without gaps: every artifact has every digest and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedLock(Lock);

/// A lock with gaps.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the lock is incomplete: {} {} not pinned yet\n{}", .pending.len(), if .pending.len() == 1 { "entry is" } else { "entries are" }, listed(.pending))]
#[diagnostic(
    code(lock::incomplete),
    help("with a network, `ztlab fetch` completes it (or `ztlab lock`, which downloads no images)")
)]
pub struct Incomplete {
    /// Each entry with what it lacks.
    pub pending: Vec<(String, Vec<String>)>,
}

fn listed(pending: &[(String, Vec<String>)]) -> String {
    let lines = pending.iter().map(|(name, what)| format!("  {name}: {}", what.join(", ")));
    lines.collect::<Vec<_>>().join("\n")
}

impl CheckedLock {
    /// Takes a lock that is whole.
    ///
    /// # Errors
    /// [`Incomplete`], with every gap.
    pub fn new(lock: Lock) -> Result<Self, Incomplete> {
        let pending = lock.pending();
        if pending.is_empty() { Ok(Self(lock)) } else { Err(Incomplete { pending }) }
    }

    /// The lock.
    pub fn lock(&self) -> &Lock {
        &self.0
    }
}

impl std::ops::Deref for CheckedLock {
    type Target = Lock;

    fn deref(&self) -> &Lock {
        &self.0
    }
}
