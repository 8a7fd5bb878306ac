//! `ztlab lock merge`: git's merge driver for locks. Works on three files and needs no lab.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use miette::Diagnostic;
use serde::Serialize;

use crate::{
    base::{Digest, file},
    lockfile::{self, Lock, LockError},
    review::merge::{Conflict, merge},
    verb::Context,
};

use super::git::{Git, GitError};

/// The driver's name in `.gitattributes` and in git's configuration.
const DRIVER: &str = "ztlab-lock";

/// How git calls it: ancestor, ours (which takes the result), theirs, and the path for people (gitattributes(5),
/// "Defining a custom merge driver").
const COMMAND: &str = "ztlab lock merge %O %A %B %P";

/// The three files, as git hands them to a driver.
#[derive(Debug, Clone)]
pub struct MergeRequest {
    /// The common ancestor; an empty file where there is none.
    pub base: PathBuf,
    /// Our side. The result is written here.
    pub ours: PathBuf,
    /// Their side.
    pub theirs: PathBuf,
    /// The lock's path in the repository, for messages.
    pub path: String,
}

/// A merge without conflicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MergeOutcome {
    /// The lock's path in the repository.
    pub path: String,
    /// The lab's new identity.
    pub lab_id: Digest,
    /// Apps whose image is made of both sides' changes: nobody has it yet.
    pub reopened: Vec<String>,
}

/// A merge that did not come to an end.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum MergeError {
    /// Both sides changed something differently.
    #[error("{path}: {} a decision\n{}", counted(.conflicts), listed(.conflicts))]
    #[diagnostic(
        code(lock::merge),
        help(
            "decide in lock/ztlab.toml; in the lock keep that side of each marked entry, without the markers; then `ztlab lock --check` and `git add lock`"
        )
    )]
    Conflicts {
        /// The lock's path in the repository.
        path: String,
        /// What is left to a person.
        conflicts: Vec<Conflict>,
    },
    /// A side is no lock.
    #[error("{path}: the lock of {side} is not one that ztlab wrote, so git's own merge of lines was made instead")]
    #[diagnostic(
        code(lock::side),
        help(
            "mend that side first and merge again (`git merge --abort`); or decide in lock/ztlab.toml, take one whole lock (`git checkout --ours lock/ztlab.lock`) and run `ztlab lock`"
        )
    )]
    Broken {
        /// The lock's path in the repository.
        path: String,
        /// `ours`, `theirs` or `the common ancestor`.
        side: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<LockError>,
    },
    /// A file cannot be read or written.
    #[error("cannot read or write {}", .file.display())]
    #[diagnostic(
        code(lock::unreadable),
        help(
            "git calls this command during a merge; by hand: `ztlab lock merge BASE OURS THEIRS`, and OURS takes the result"
        )
    )]
    File {
        /// Which one.
        file: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Git could not be asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Git(#[from] GitError),
}

fn counted(conflicts: &[Conflict]) -> String {
    if conflicts.len() == 1 { "1 entry needs".to_owned() } else { format!("{} entries need", conflicts.len()) }
}

fn listed(conflicts: &[Conflict]) -> String {
    let asked = |side: &Option<String>| side.clone().unwrap_or_else(|| "removed".to_owned());
    let line = |conflict: &Conflict| match (&conflict.ours, &conflict.theirs) {
        (ours, theirs) if ours == theirs => format!("  {}: the same request with other digests", conflict.artifact),
        (ours, theirs) => format!("  {}: ours {}, theirs {}", conflict.artifact, asked(ours), asked(theirs)),
    };
    conflicts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Merges, and writes the result over `ours`: canonical, or with markers around what is left to a person.
///
/// # Errors
/// [`MergeError`]. After a conflict, or where a side is no lock, the file holds what there is to decide about.
pub async fn merge_files(
    environment: &BTreeMap<String, String>,
    request: &MergeRequest,
) -> Result<MergeOutcome, MergeError> {
    let path = request.path.clone();
    let files = [request.base.as_path(), request.ours.as_path(), request.theirs.as_path()];
    let (base, ours, theirs) = match sides(files)? {
        Ok(locks) => locks,
        Err((side, source)) => {
            // Leaving our side as it is would look like a merge that somebody made.
            Git::merge_lines(environment, files).await?;
            return Err(MergeError::Broken { path, side, source: Box::new(source) });
        }
    };
    let merged = merge(&base, &ours, &theirs);
    let written = file::write_atomically(&request.ours, merged.text.as_bytes());
    written.map_err(|source| MergeError::File { file: request.ours.clone(), source })?;
    if !merged.conflicts.is_empty() {
        return Err(MergeError::Conflicts { path, conflicts: merged.conflicts });
    }
    Ok(MergeOutcome { path, lab_id: merged.lock.lab_id(), reopened: merged.reopened })
}

/// Three locks, or the side that is none.
type Sides = Result<(Lock, Lock, Lock), (&'static str, LockError)>;

fn sides([base, ours, theirs]: [&Path; 3]) -> Result<Sides, MergeError> {
    let (base, ours, theirs) = (parsed(base)?, parsed(ours)?, parsed(theirs)?);
    let named = |side: &'static str| move |source: LockError| (side, source);
    Ok((|| {
        let base = base.map_err(named("the common ancestor"))?;
        Ok((base, ours.map_err(named("ours"))?, theirs.map_err(named("theirs"))?))
    })())
}

/// Git gives an empty file for an ancestor that never was.
fn parsed(file: &Path) -> Result<Result<Lock, LockError>, MergeError> {
    let text = fs_err::read(file).map_err(|source| MergeError::File { file: file.to_owned(), source })?;
    if text.is_empty() {
        return Ok(Ok(Lock::default()));
    }
    Ok(lockfile::parse(&String::from_utf8_lossy(&text)))
}

/// What `--install` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstallOutcome {
    /// The key in the clone's configuration.
    pub key: String,
    /// The driver's command.
    pub command: String,
    /// Whether the lab's `.gitattributes` give the lock to this driver.
    pub attribute: bool,
}

/// Sets the driver up in this clone: git takes no commands from a repository, so everybody has to do it once.
///
/// # Errors
/// When git cannot be asked.
pub async fn install_driver(context: &Context) -> Result<InstallOutcome, GitError> {
    let git = Git::new(context);
    git.configure(&format!("merge.{DRIVER}.name"), "ztlab lock, entry by entry").await?;
    let key = format!("merge.{DRIVER}.driver");
    git.configure(&key, COMMAND).await?;
    let attribute = git.merge_attribute().await?.as_deref() == Some(DRIVER);
    Ok(InstallOutcome { key, command: COMMAND.to_owned(), attribute })
}
