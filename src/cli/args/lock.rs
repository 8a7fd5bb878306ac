//! `ztlab lock` and its subverbs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::base::MinimumAge;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct LockArguments {
    #[command(subcommand)]
    pub(in crate::cli) action: Option<LockAction>,
    /// Only check that the lock answers the intent; open no socket (exit code 10 when it does not)
    #[arg(long, conflicts_with_all = ["upgrade", "dry_run", "min_age", "allow_unknown_age"])]
    pub(in crate::cli) check: bool,
    /// Resolve these entries anew even if their request did not change (all when none is named)
    #[arg(long, value_name = "NAME", num_args = 0..)]
    pub(in crate::cli) upgrade: Option<Vec<String>>,
    /// Refuse new pins of what was published more recently than that (7d, 36h, 2w)
    #[arg(long, value_name = "AGE")]
    pub(in crate::cli) min_age: Option<MinimumAge>,
    /// Take what does not say when it was published, whatever minimum age there is
    #[arg(long)]
    pub(in crate::cli) allow_unknown_age: bool,
    /// Show what would change and write nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

impl LockArguments {
    /// Whether intent and lock are all that is looked at.
    pub(in crate::cli) fn reads_only(&self) -> bool {
        self.check || matches!(self.action, Some(LockAction::Show { .. }))
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LockAction {
    /// Show what the lock names: each artifact with its request, digests and sizes
    Show {
        /// Only these artifacts, as `image.calico-node`; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Hold the lock and the lab's YAML against lock/policy.toml; open no socket (exit code 11 on findings)
    Lint,
    /// Say why an entry is in the lock: who asks for it, what it costs, where it comes from, what uses it
    Why {
        /// An entry as `image.calico-node`, an image's reference, or the beginning of a digest
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Compare what manifests, operators and Minikube will ask for with what is locked, both ways (exit code 11 on findings)
    Audit {
        /// Compare with what a cluster really asked for as well: a file of `ztlab install --record`
        #[arg(long, value_name = "FILE")]
        recorded: Option<PathBuf>,
    },
    /// Compare two locks for a review: what was bumped, what it costs to download, and what must not be missed
    Diff(DiffArguments),
    /// Merge three locks by entry: git's merge driver for lock/ztlab.lock
    Merge(MergeArguments),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArguments {
    /// The sides as git names them: A..B, A...B, or A for A and the working tree [default: HEAD]
    #[arg(value_name = "A[..B]")]
    pub(in crate::cli) range: Option<String>,
    /// The new side, where A and B are two lock files
    #[arg(value_name = "B")]
    pub(in crate::cli) other: Option<String>,
    /// Write text, Markdown for a pull request, or JSON
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with = "json")]
    pub(in crate::cli) format: DiffFormat,
    /// End with exit code 11 when there is an alarm
    #[arg(long)]
    pub(in crate::cli) alarm: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum DiffFormat {
    Text,
    Md,
    Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MergeArguments {
    /// The common ancestor (%O)
    #[arg(value_name = "BASE", required_unless_present = "install")]
    pub(in crate::cli) base: Option<PathBuf>,
    /// Our side; the result is written here (%A)
    #[arg(value_name = "OURS", required_unless_present = "install")]
    pub(in crate::cli) ours: Option<PathBuf>,
    /// Their side (%B)
    #[arg(value_name = "THEIRS", required_unless_present = "install")]
    pub(in crate::cli) theirs: Option<PathBuf>,
    /// The lock's path in the repository, for messages (%P)
    #[arg(value_name = "PATH", default_value = "lock/ztlab.lock")]
    pub(in crate::cli) path: String,
    /// Set this clone of the repository up to merge its lock so
    #[arg(long, conflicts_with_all = ["base", "ours", "theirs"])]
    pub(in crate::cli) install: bool,
}
