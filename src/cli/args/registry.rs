//! `ztlab push` and `ztlab pull`.

use std::path::PathBuf;

use clap::Args;

use crate::{base::Digest, verb::push::DEFAULT_JOBS};

#[derive(Debug, Args)]
pub(in crate::cli) struct PushArguments {
    /// Push to this place: `oci://HOST/REPOSITORY[:TAG]`; the tag is the beginning of the lab id when absent
    #[arg(value_name = "DESTINATION")]
    pub(in crate::cli) destination: String,
    /// Send this many blobs at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_JOBS)]
    pub(in crate::cli) jobs: usize,
    /// Send no more than this many bytes a second over all connections, as `2M`
    #[arg(long, value_name = "RATE", value_parser = crate::base::parse_bytes)]
    pub(in crate::cli) max_rate: Option<u64>,
    /// Take these programs along: ztlab for each platform that is to have it from there
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(in crate::cli) program: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PullArguments {
    /// Pull from this place, as `push` printed it: `oci://HOST/REPOSITORY:TAG`, or with `@sha256:…`
    #[arg(value_name = "SOURCE")]
    pub(in crate::cli) source: String,
    /// Put the lab into this folder [default: the lab of the same name that we are in, else a new folder of its
    /// name]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) into: Option<PathBuf>,
    /// Overwrite files of the lab that differ from the registry's
    #[arg(long)]
    pub(in crate::cli) replace: bool,
    /// Refuse every lab but the one of this digest, as `push` printed it
    #[arg(long, value_name = "SHA256")]
    pub(in crate::cli) expect: Option<Digest>,
    /// Download this many blobs at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(in crate::cli) jobs: usize,
}
