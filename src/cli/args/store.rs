//! `ztlab store` and its actions.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StoreAction {
    /// List the artifacts of the lab and whether they are here
    Ls,
    /// Say how much is here, by kind of artifact and by lab
    Du,
    /// Hash every blob again and name what differs; look at the store's other files too
    Verify,
    /// Fetch again what `verify` finds bad, and put the store's other files right
    Repair,
    /// Remove what no known lab needs, after telling what that is
    Gc {
        /// Only tell
        #[arg(long)]
        dry_run: bool,
        /// Stop keeping this lab's blobs: its name, its folder or its lock; repeatable
        #[arg(long, value_name = "LAB")]
        forget: Vec<String>,
    },
}
