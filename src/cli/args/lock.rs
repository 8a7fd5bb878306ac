//! `ztlab lock` and its subverbs.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct LockArguments {
    #[command(subcommand)]
    pub(in crate::cli) action: Option<LockAction>,
    /// Only check that the lock answers the intent; open no socket (exit code 10 when it does not)
    #[arg(long, conflicts_with_all = ["upgrade", "dry_run"])]
    pub(in crate::cli) check: bool,
    /// Resolve these entries anew even if their request did not change (all when none is named)
    #[arg(long, value_name = "NAME", num_args = 0..)]
    pub(in crate::cli) upgrade: Option<Vec<String>>,
    /// Show what would change and write nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
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
    /// Compare what manifests, operators and Minikube will ask for with what is locked, both ways (exit code 11 on findings)
    Audit,
    /// Compare two locks for a review: what was bumped, what it costs to download, and what must not be missed
    Diff(DiffArguments),
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
