//! `ztlab bundle` and its actions.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{base::Digest, verb::bundle::FAT32};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BundleAction {
    /// Write the lab, its blobs and ztlab itself to one file
    Create(CreateArguments),
    /// Tell what is in a bundle, without reading all of it
    Inspect {
        /// The bundle, the first of its parts, or their folder
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
    },
    /// Read every byte of a bundle and compare it
    Verify {
        /// The bundle, the first of its parts, or their folder
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// Refuse every bundle but the one of this identity, as `create` printed it
        #[arg(long, value_name = "SHA256")]
        expect: Option<Digest>,
    },
    /// Bring a bundle's blobs into the store and its lab into a folder
    Import {
        /// The bundle, the first of its parts, or their folder
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// Put the lab into this folder [default: the lab of the same name that we are in, else a new folder of its
        /// name]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Overwrite files of the lab that differ from the bundle's
        #[arg(long)]
        replace: bool,
        /// Refuse every bundle but the one of this identity, as `create` printed it
        #[arg(long, value_name = "SHA256")]
        expect: Option<Digest>,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArguments {
    /// Write to this file [default: NAME-LABID.tar in this folder]
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Leave out what this lock's lab has: for machines that imported that one
    #[arg(long, value_name = "LOCK")]
    pub(in crate::cli) since: Option<PathBuf>,
    /// Write parts of this length, FILE.001 and so on: `2GiB`, or `fat32` for 4 GiB less one byte
    #[arg(long, value_name = "SIZE", value_parser = part_length)]
    pub(in crate::cli) split: Option<u64>,
    /// Take these programs along instead of the running one: ztlab for each platform of the room
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(in crate::cli) program: Vec<PathBuf>,
    /// Take no program along
    #[arg(long, conflicts_with = "program")]
    pub(in crate::cli) no_program: bool,
}

fn part_length(text: &str) -> Result<u64, String> {
    if text.eq_ignore_ascii_case("fat32") { Ok(FAT32) } else { crate::base::parse_bytes(text) }
}
