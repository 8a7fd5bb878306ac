//! `ztlab lock diff`: two locks side by side, from git, from files or from the working tree. Opens no socket.

use std::{collections::BTreeSet, path::Path};

use miette::Diagnostic;
use serde::Serialize;

use crate::{
    lockfile::{self, Lock, LockError, ReadError},
    review::Diff,
    verb::Context,
};

use super::git::{Git, GitError};

/// What people call the lock as it lies on the disk.
const WORKING_TREE: &str = "the working tree";

/// Two locks, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffOutcome {
    /// The old side, as it was named.
    pub from: String,
    /// The new side, as it was named.
    pub to: String,
    /// What is different.
    #[serde(flatten)]
    pub diff: Diff,
}

/// Sides that cannot be compared.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum DiffError {
    /// A word that means nothing here.
    #[error("`{word}` is neither a revision of this lab's repository nor a file")]
    #[diagnostic(
        code(usage::revision),
        help(
            "name commits, branches or tags (`ztlab lock diff main..HEAD`) or lock files (`ztlab lock diff OLD.lock NEW.lock`)"
        )
    )]
    Unknown {
        /// The word.
        word: String,
    },
    /// Two commits without a common ancestor.
    #[error("`{one}` and `{other}` have no commit in common")]
    #[diagnostic(
        code(usage::merge_base),
        help(
            "compare them as they are: `ztlab lock diff {one}..{other}`; a shallow clone lacks the common commit: `git fetch --unshallow`"
        )
    )]
    Unrelated {
        /// The old side.
        one: String,
        /// The new side.
        other: String,
    },
    /// One side's text is no lock.
    #[error("the lock of {side} cannot be compared")]
    #[diagnostic(
        code(lock::side),
        help("only locks as `ztlab lock` writes them can be compared: mend that side, or name another")
    )]
    Broken {
        /// Which side: its name.
        side: String,
        /// What is wrong with it.
        #[source]
        source: LockError,
    },
    /// A file cannot be read.
    #[error("cannot read the lock of {side}")]
    #[diagnostic(code(lock::unreadable), help("look at the rights of that file"))]
    Unreadable {
        /// Which side: its name.
        side: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Git could not be asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Git(#[from] GitError),
}

/// A difference that somebody has to look at.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{} in this change of the lock: {}", counted(*.count), .codes.join(", "))]
#[diagnostic(
    code(policy::alarm),
    help("`ztlab lock diff` with the same sides tells what each is about; a person has to accept them")
)]
pub struct Alarmed {
    count: usize,
    codes: Vec<&'static str>,
}

fn counted(count: usize) -> String {
    if count == 1 { "1 alarm".to_owned() } else { format!("{count} alarms") }
}

/// Refuses a difference with alarms, for `--alarm`.
///
/// # Errors
/// [`Alarmed`], when there is one.
pub fn refuse_alarms(diff: &Diff) -> Result<(), Alarmed> {
    let codes: BTreeSet<&'static str> = diff.alarms.iter().map(|alarm| alarm.code.name()).collect();
    if codes.is_empty() {
        Ok(())
    } else {
        Err(Alarmed { count: diff.alarms.len(), codes: codes.into_iter().collect() })
    }
}

/// The two sides as they were named.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sides {
    /// `A` and the working tree.
    ToWorkingTree(String),
    /// `A..B`, or two words.
    Between(String, String),
    /// `A...B`: from the commit that both grew out of, to `B`.
    SinceFork(String, String),
}

impl Sides {
    /// Takes the words apart as git does: a side that is left out is HEAD.
    ///
    /// In `old.lock..../new.lock` and `../old.lock..new.lock`, dots before a slash belong to a path.
    fn parse(range: Option<&str>, other: Option<&str>) -> Self {
        let (range, head) = (range.unwrap_or("HEAD"), |text: &str| match text {
            "" => "HEAD".to_owned(),
            named => named.to_owned(),
        });
        if let Some(other) = other {
            return Self::Between(range.to_owned(), other.to_owned());
        }
        let is_path = |rest: &str| rest.starts_with('/');
        let Some((at, _)) = range.match_indices("..").find(|(at, dots)| !is_path(&range[at + dots.len()..])) else {
            return Self::ToWorkingTree(range.to_owned());
        };
        let (old, new) = (&range[..at], &range[at + 2..]);
        match new.strip_prefix('.') {
            Some(new) if !is_path(new) && !new.starts_with("./") => Self::SinceFork(head(old), head(new)),
            _ => Self::Between(head(old), head(new)),
        }
    }
}

/// Compares two locks. `range` is `A`, `A..B` or `A...B`; with `other`, it is `A` and `other` is `B`. Without any, the
/// last commit is compared with the working tree.
///
/// # Errors
/// When a side is not there, is no lock, or git cannot be asked. An old side without a lock is no error: the lab is
/// new then.
pub async fn diff(context: &Context, range: Option<&str>, other: Option<&str>) -> miette::Result<DiffOutcome> {
    let git = Git::new(context);
    let sides = Sides::parse(range, other);
    let (from, to, old, new) = match &sides {
        Sides::ToWorkingTree(old) => {
            let named = range.is_some();
            (old.clone(), WORKING_TREE.to_owned(), old_side(&git, old, named).await?, working_tree(context)?)
        }
        Sides::Between(old, new) => (old.clone(), new.clone(), side(&git, old).await?, side(&git, new).await?),
        Sides::SinceFork(old, new) => {
            let fork = fork(&git, old, new).await?;
            let before = parsed(git.lock_at(&fork).await.map_err(DiffError::from)?, old)?;
            (format!("the fork of {new} from {old}"), new.clone(), before, side(&git, new).await?)
        }
    };
    let new = new.ok_or_else(|| ReadError::Absent { path: format!("lock/ztlab.lock in {to}") })?;
    Ok(DiffOutcome { from, to, diff: Diff::between(old.as_ref(), &new) })
}

/// The old side. A repository without a commit has no HEAD, and whoever named none means nothing by it.
async fn old_side(git: &Git, word: &str, named: bool) -> Result<Option<Lock>, DiffError> {
    if !named && git.commit(word).await?.is_none() {
        return Ok(None);
    }
    side(git, word).await
}

/// A side by its name: a revision, else a file. What looks like a path is one.
///
/// The revision wins where both are there: the pull request under review may bring a file called `main`.
async fn side(git: &Git, word: &str) -> Result<Option<Lock>, DiffError> {
    let is_file = Path::new(word).is_file();
    let looks_like_path = ["./", "../", "/"].iter().any(|start| word.starts_with(start));
    if !looks_like_path {
        match git.commit(word).await {
            Ok(Some(commit)) => return parsed(git.lock_at(&commit).await?, word),
            Err(error) if !is_file => return Err(error.into()),
            Ok(None) | Err(_) => {}
        }
    }
    if !is_file {
        return Err(DiffError::Unknown { word: word.to_owned() });
    }
    let text = fs_err::read(word).map_err(|source| DiffError::Unreadable { side: format!("`{word}`"), source })?;
    parsed(Some(String::from_utf8_lossy(&text).into_owned()), word)
}

async fn fork(git: &Git, old: &str, new: &str) -> Result<String, DiffError> {
    let mut commits = Vec::new();
    for word in [old, new] {
        commits.push(git.commit(word).await?.ok_or_else(|| DiffError::Unknown { word: word.to_owned() })?);
    }
    let base = git.merge_base(&commits[0], &commits[1]).await?;
    base.ok_or_else(|| DiffError::Unrelated { one: old.to_owned(), other: new.to_owned() })
}

fn working_tree(context: &Context) -> Result<Option<Lock>, DiffError> {
    let side = WORKING_TREE.to_owned();
    match lockfile::read(&context.lock_path()) {
        Ok(lock) => Ok(Some(lock)),
        Err(ReadError::Absent { .. }) => Ok(None),
        Err(ReadError::Text(source)) => Err(DiffError::Broken { side, source }),
        Err(ReadError::Unreadable(source)) => Err(DiffError::Unreadable { side, source }),
    }
}

fn parsed(text: Option<String>, word: &str) -> Result<Option<Lock>, DiffError> {
    let broken = |source| DiffError::Broken { side: format!("`{word}`"), source };
    let parsed = |text: String| match lockfile::parse(&text) {
        // Written by another version of ztlab or by hand, and readable all the same: it says what it says.
        Err(LockError::NotCanonical { content, .. }) => Ok(*content),
        parsed => parsed.map_err(broken),
    };
    text.map(parsed).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_named_as_git_names_them() {
        let between = |old: &str, new: &str| Sides::Between(old.to_owned(), new.to_owned());
        let since = |old: &str, new: &str| Sides::SinceFork(old.to_owned(), new.to_owned());
        for (range, expected) in [
            ("main", Sides::ToWorkingTree("main".to_owned())),
            ("../old/ztlab.lock", Sides::ToWorkingTree("../old/ztlab.lock".to_owned())),
            ("main..HEAD", between("main", "HEAD")),
            ("main..", between("main", "HEAD")),
            ("..topic", between("HEAD", "topic")),
            ("main...topic", since("main", "topic")),
            ("main...", since("main", "HEAD")),
            ("a.lock..b.lock", between("a.lock", "b.lock")),
            ("../a.lock..b.lock", between("../a.lock", "b.lock")),
            ("a.lock..../b.lock", between("a.lock", "../b.lock")),
            ("a.lock.../b.lock", between("a.lock", "./b.lock")),
        ] {
            assert_eq!(Sides::parse(Some(range), None), expected, "{range}");
        }
        assert_eq!(Sides::parse(None, None), Sides::ToWorkingTree("HEAD".to_owned()));
        assert_eq!(Sides::parse(Some("a..b"), Some("c")), between("a..b", "c"));
    }
}
