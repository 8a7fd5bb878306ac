//! What a bundle cannot be made of, and why one is refused.

use std::{io, path::PathBuf};

use crate::{
    base::{Digest, human_bytes},
    lockfile::LockError,
    plan::PlanError,
    store::StoreError,
};

/// Something that is refused or cannot be done.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BundleError {
    /// Another kind of file.
    #[error("{} is no bundle: {problem}", .path.display())]
    #[diagnostic(
        code("bundle::none"),
        help("name the file that `ztlab bundle create` made, the first of its parts, or their folder")
    )]
    None {
        /// What was opened.
        path: PathBuf,
        /// What is the matter.
        problem: String,
    },
    /// A newer ztlab made it.
    #[error("the bundle has form {found}, and this ztlab knows form 1")]
    #[diagnostic(code("bundle::newer"), help("use the ztlab that the bundle carries: `tar -xf FILE ztlab-PLATFORM`"))]
    Newer {
        /// Its version.
        found: u32,
    },
    /// The first member is damaged.
    #[error("ztlab/bundle.json, the bundle's own list of members, is damaged: {problem}")]
    #[diagnostic(
        code("integrity::bundle_head"),
        help("copy the bundle anew from where it came from; nothing was taken of it")
    )]
    Head {
        /// How.
        problem: String,
    },
    /// Another bundle than the one that was asked for.
    #[error("this is another bundle: expected {expected}, found {found}")]
    #[diagnostic(
        code("integrity::bundle_id"),
        help("ask whoever gave you the identity for the right file; nothing was taken of it")
    )]
    OtherBundle {
        /// What was asked for.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A member that is not what the head says.
    #[error("{member} is damaged{}: expected {expected}, found {found}", place(.parts))]
    #[diagnostic(code("integrity::bundle"), help("copy {} anew from where it came from, then run the same command again: it goes on with the rest", what(.parts)))]
    Member {
        /// The member, and what of it.
        member: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
        /// The parts that hold it; empty for a bundle in one file.
        parts: Vec<String>,
    },
    /// The bundle's own lock does not stand for what is in it.
    #[error("the bundle contradicts itself: {problem}")]
    #[diagnostic(
        code("integrity::bundle_members"),
        help("it was not made by `ztlab bundle create`; nothing was taken of it")
    )]
    Members {
        /// How.
        problem: String,
    },
    /// The lock in it is none.
    #[error("the lock in the bundle cannot be used")]
    #[diagnostic(
        code("integrity::bundle_lock"),
        help("it was not made by `ztlab bundle create`; nothing was taken of it")
    )]
    Lock(#[source] Box<LockError>),
    /// Parts that are missing, of another bundle, or there twice.
    #[error("the parts of the bundle do not fit together\n{}", .problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
    #[diagnostic(
        code("bundle::part"),
        help("bring these parts anew from where the bundle came from; nothing was taken of it")
    )]
    Parts {
        /// One line each, with the part's name.
        problems: Vec<String>,
    },
    /// Made with `--since`, and the base is not here.
    #[error(
        "the bundle holds only what changed since lab {base} ({name}), and the store lacks {count} of the rest\n{listed}"
    )]
    #[diagnostic(
        code("bundle::base"),
        help(
            "import the bundle of that lab first, or bring the rest from elsewhere: `ztlab fetch --from BUNDLE` in the lab's folder"
        )
    )]
    Base {
        /// The base's lab id.
        base: Digest,
        /// The base's name.
        name: String,
        /// How many blobs.
        count: String,
        /// Which, by artifact.
        listed: String,
    },
    /// The folder holds another lab, or files of its own.
    #[error("{} has files that differ from the bundle's\n{}", .folder.display(), .paths.iter().map(|path| format!("  {path}")).collect::<Vec<_>>().join("\n"))]
    #[diagnostic(
        code("bundle::lab"),
        help(
            "the blobs are in the store. Take a folder of its own with `--into DIR`, or overwrite these files with `--replace`"
        )
    )]
    Differs {
        /// The folder.
        folder: PathBuf,
        /// Relative to it.
        paths: Vec<String>,
    },
    /// A file of the lab's folder that cannot be taken along.
    #[error("{} cannot go into a bundle: {problem}", .path.display())]
    #[diagnostic(
        code("bundle::file"),
        help("a lab is made of plain files below lock/, manifests/, istio/ and app/: move it out, or make it one")
    )]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A program that nobody could run.
    #[error("{} is no program for a platform of ztlab: {problem}", .path.display())]
    #[diagnostic(
        code("bundle::program"),
        help("--program takes ztlab itself, built for darwin-arm64, linux-amd64 or linux-arm64, one of each")
    )]
    Program {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// So many parts that their numbers have no room.
    #[error("parts of {} would be {parts} of them", human_bytes(*.size))]
    #[diagnostic(
        code("usage::split"),
        help("take larger parts: FAT32 holds files of up to 4 GiB less one byte (`--split fat32`)")
    )]
    Split {
        /// Length of a part.
        size: u64,
        /// How many.
        parts: u64,
    },
    /// The bundle's disk.
    #[error("the bundle cannot be read")]
    #[diagnostic(
        code("bundle::read"),
        help("look at the stick and its cable, then run the same command again: it goes on from here")
    )]
    Read(#[source] io::Error),
    /// The disk that it goes to.
    #[error("the bundle cannot be written to {}", .path.display())]
    #[diagnostic(code("bundle::write"), help("{}", write_help(source)))]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The lab's folder.
    #[error("the lab's files cannot be written to {}", .folder.display())]
    #[diagnostic(
        code("bundle::lab_write"),
        help("the blobs are in the store; name a folder that you may write to with `--into DIR`")
    )]
    LabWrite {
        /// Where.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not everything of the lab is here.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(#[from] PlanError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

fn place(parts: &[String]) -> String {
    if parts.is_empty() { String::new() } else { format!(" (in {})", parts.join(" and ")) }
}

fn what(parts: &[String]) -> String {
    if parts.is_empty() { "the bundle".to_owned() } else { parts.join(" and ") }
}

fn write_help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "make space on it, or write to another disk with `-o FILE`",
        io::ErrorKind::FileTooLarge => "its file system takes no file that long: write parts with `--split fat32`",
        _ => "look at the disk's space and rights; FAT32 takes no file of 4 GiB or more (`--split fat32`)",
    }
}
