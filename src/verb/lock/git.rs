//! Git as a program: what a commit's lock says. Reads only, and reads the lab's repository only.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use miette::Diagnostic;

use crate::{
    cluster::process::{Child, Environment, ProcessError},
    verb::Context,
};

/// Where the lock lies in a lab, as git writes paths.
const LOCK: &str = "lock/ztlab.lock";

/// Every question here reads a few objects from the disk; an hour-old network file system gets this long.
const DEADLINE: Duration = Duration::from_secs(30);

/// How git ends for a revision that is none (`rev-parse --verify --quiet`, `merge-base`).
const NO: i32 = 1;

/// How git ends when it cannot work at all: no repository, one of another user, a damaged one.
const FATAL: i32 = 128;

/// Git could not be asked.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum GitError {
    /// It cannot read the repository.
    #[error("git cannot read the repository of {}: {said}", .lab.display())]
    #[diagnostic(
        code(git::repository),
        help("compare files instead: `ztlab lock diff OLD.lock NEW.lock`; or mend what git says")
    )]
    Repository {
        /// The lab's folder.
        lab: PathBuf,
        /// Git's own words.
        said: String,
    },
    /// It cannot be run, or failed at something that it should be able to do.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
}

/// The repository that a lab is in.
pub(super) struct Git {
    lab: PathBuf,
    environment: Environment,
}

impl Git {
    /// Git in the lab's folder.
    ///
    /// Of the environment it sees nothing that begins with `GIT_`: a hook or a rebase sets variables that lead to
    /// another repository. It may not talk to anybody: in a partial clone it would download what it lacks.
    pub(super) fn new(context: &Context) -> Self {
        Self::at(context.lab.clone(), &context.environment)
    }

    fn at(lab: PathBuf, environment: &BTreeMap<String, String>) -> Self {
        let variables = environment.clone().into_iter().filter(|(name, _)| !name.starts_with("GIT_"));
        let environment = Environment::scrubbed(variables)
            .with("LC_ALL", "C")
            .with("GIT_ALLOW_PROTOCOL", "none")
            .with("GIT_TERMINAL_PROMPT", "0")
            .with("GIT_OPTIONAL_LOCKS", "0");
        Self { lab, environment }
    }

    /// Merges three files line by line into the middle one, as git does where no driver is configured.
    pub(super) async fn merge_lines(
        environment: &BTreeMap<String, String>,
        [base, ours, theirs]: [&Path; 3],
    ) -> Result<(), GitError> {
        let files = [ours, base, theirs].map(|file| file.display().to_string());
        let labels = ["-L", "ours", "-L", "base", "-L", "theirs", "--"];
        let child = Self::at(PathBuf::from("."), environment).child(["merge-file"]).arguments(labels).arguments(files);
        // It ends with the number of conflicts, up to 127 (git-merge-file(1)).
        (1..=127).fold(child, Child::accept).run().await?;
        Ok(())
    }

    /// The commit that a word means; `None` when it means none.
    pub(super) async fn commit(&self, word: &str) -> Result<Option<String>, GitError> {
        // After --end-of-options a word is a revision, however it begins.
        let commit = format!("{word}^{{commit}}");
        self.answer(["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).await
    }

    /// The commit that two commits grew out of.
    pub(super) async fn merge_base(&self, one: &str, other: &str) -> Result<Option<String>, GitError> {
        self.answer(["merge-base", "--end-of-options", one, other]).await
    }

    /// The lock's text in a commit (a full object name, as the others here return it); `None` when it has no lock.
    pub(super) async fn lock_at(&self, commit: &str) -> Result<Option<String>, GitError> {
        let entry = self.child(["ls-tree", commit, LOCK]).run().await?.text();
        // `100644 blob 1234…<TAB>lock/ztlab.lock`
        let Some(object) = entry.split_whitespace().nth(2) else { return Ok(None) };
        // cat-file gives the bytes as they were committed; `git show` would run the repository's filters.
        Ok(Some(self.child(["cat-file", "blob", object]).run().await?.text()))
    }

    /// Sets a value in the configuration of this clone.
    pub(super) async fn configure(&self, key: &str, value: &str) -> Result<(), GitError> {
        self.answer(["config", "--local", key, value]).await.map(|_| ())
    }

    /// The merge driver that the attributes of this lab give its lock.
    pub(super) async fn merge_attribute(&self) -> Result<Option<String>, GitError> {
        let answer = self.answer(["check-attr", "merge", "--", LOCK]).await?;
        // `lock/ztlab.lock: merge: ztlab-lock`
        Ok(answer.and_then(|line| line.rsplit(": ").next().map(str::to_owned)))
    }

    async fn answer<'text>(&self, arguments: impl IntoIterator<Item = &'text str>) -> Result<Option<String>, GitError> {
        let output = self.child(arguments).accept(NO).accept(FATAL).run().await?;
        match output.code {
            FATAL => Err(GitError::Repository { lab: self.lab.clone(), said: output.stderr.join("; ") }),
            NO => Ok(None),
            _ => Ok(Some(output.text().trim_end().to_owned())),
        }
    }

    fn child<'text>(&self, arguments: impl IntoIterator<Item = &'text str>) -> Child {
        let lab = self.lab.display().to_string();
        Child::new("git", &self.environment, DEADLINE).arguments(["-C", &lab]).arguments(arguments)
    }
}
