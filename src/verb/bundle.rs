//! `ztlab bundle`: one file of the whole lab, and back.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    base::Digest,
    bundle::{Bundle, Contents, Draft, Identity, look_at_lab, read_lab, write_lab},
    fetch::blocking,
    lockfile::{self, CheckedLock, Lock},
    plan::Complete,
};

use super::{Context, store::note_at, supply::named_images};

/// Length of a part for FAT32, whose files have 4 GiB less one byte at most.
pub const FAT32: u64 = u32::MAX as u64;
/// Parts shorter than that would be thousands.
const SHORTEST_PART: u64 = 1024 * 1024;

/// What `bundle create` is asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// The file; its name follows from the lab when absent.
    pub output: Option<PathBuf>,
    /// A lock whose blobs are left out.
    pub since: Option<PathBuf>,
    /// Length of a part in bytes.
    pub split: Option<u64>,
    /// Programs to take along.
    pub programs: Vec<PathBuf>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Created {
    /// The files: one, or the parts.
    pub files: Vec<PathBuf>,
    /// SHA-256 of the bundle's first member, which covers every other byte.
    pub bundle_id: Digest,
    /// The lab.
    pub lab: Identity,
    /// Left out is what this lab has.
    pub since: Option<Identity>,
    /// Length of the whole in bytes.
    pub bytes: u64,
    /// Blobs in it.
    pub blobs: usize,
    /// Platforms of the programs in it.
    pub programs: Vec<String>,
}

/// Parts that would be too many to be handled.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`--split {size}` makes parts that are too short")]
#[diagnostic(code(usage::split), help("take 1 MiB or more; `--split fat32` is for sticks as they are sold"))]
struct ShortParts {
    size: u64,
}

/// Writes a bundle.
///
/// # Errors
/// When the lab is not complete in the store, a file of it cannot go along, or the disk fails.
pub async fn create(context: &Context, request: CreateRequest) -> miette::Result<Created> {
    let context = context.clone();
    blocking(move || {
        let complete = Complete::open(CheckedLock::new(lockfile::read(&context.lock_path())?)?, context.open_store()?)?;
        let since: Option<Lock> = request.since.as_deref().map(lockfile::read).transpose()?;
        if let Some(size) = request.split.filter(|size| *size < SHORTEST_PART) {
            return Err(ShortParts { size }.into());
        }
        let contents = Contents { files: read_lab(&context.lab)?, programs: request.programs, since };
        let draft = Draft::new(&complete, contents)?;
        let head = draft.head();
        let output =
            request.output.unwrap_or_else(|| PathBuf::from(format!("{}-{}.tar", head.lab.name, head.lab.id.short())));
        let files = draft.write(&output, request.split, context.reporter.as_ref())?;
        Ok(Created {
            files,
            bundle_id: draft.id(),
            lab: head.lab.clone(),
            since: head.since.clone(),
            bytes: draft.size(),
            blobs: head.blobs.len(),
            programs: head.programs.iter().map(|program| program.platform.to_string()).collect(),
        })
    })
    .await
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// SHA-256 of its first member.
    pub bundle_id: Digest,
    /// The lab.
    pub lab: Identity,
    /// Left out is what this lab has.
    pub since: Option<Identity>,
    /// Length of the whole in bytes.
    pub bytes: u64,
    /// Files that it is in.
    pub parts: usize,
    /// Blobs of the lock that are in it.
    pub blobs: usize,
    /// Blobs of the lock that are left out.
    pub left_out: usize,
    /// Platforms of the programs in it.
    pub programs: Vec<String>,
    /// The lab's own files.
    pub files: Vec<String>,
    /// Every artifact of its lock, with the bytes of it that are in the bundle.
    pub artifacts: Vec<InspectedArtifact>,
    /// Whether every byte was read and is right; without that, only the lab's own files were.
    pub verified: bool,
}

/// An artifact of the lock in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedArtifact {
    /// `image.calico-node`
    pub name: String,
    /// Bytes of it that are in the bundle; what several artifacts share counts at each.
    pub bytes: u64,
}

/// Tells what is in a bundle; with `all`, after reading every byte of it.
///
/// # Errors
/// When it is none, or something of what was read is damaged.
pub async fn inspect(context: &Context, path: &Path, expected: Option<Digest>, all: bool) -> miette::Result<Inspected> {
    let (context, path) = (context.clone(), path.to_owned());
    blocking(move || {
        let bundle = Bundle::open(&path, expected)?;
        if all {
            bundle.verify(context.reporter.as_ref())?;
        }
        Ok(look(&bundle, all))
    })
    .await
}

fn look(bundle: &Bundle, verified: bool) -> Inspected {
    let head = bundle.head();
    let artifacts = bundle.lock().artifacts();
    let in_it = |blob: &lockfile::NeededBlob| bundle.member(blob.descriptor).is_some();
    let listed = artifacts.iter().map(|artifact| InspectedArtifact {
        name: artifact.name.clone(),
        bytes: artifact.blobs.iter().filter(|blob| in_it(blob)).map(|blob| blob.descriptor.size).sum(),
    });
    let left_out = bundle.left_out().len();
    let locked: std::collections::BTreeSet<_> =
        artifacts.iter().flat_map(|artifact| &artifact.blobs).map(|blob| blob.descriptor).collect();
    Inspected {
        bundle_id: bundle.id(),
        lab: head.lab.clone(),
        since: head.since.clone(),
        bytes: bundle.size(),
        parts: bundle.parts(),
        blobs: locked.len() - left_out,
        left_out,
        programs: head.programs.iter().map(|program| program.platform.to_string()).collect(),
        files: head.files.iter().map(|file| file.path.clone()).collect(),
        artifacts: listed.collect(),
        verified,
    }
}

/// What `bundle import` is asked for.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// The bundle.
    pub bundle: PathBuf,
    /// Its identity, when somebody said it.
    pub expected: Option<Digest>,
    /// The lab's folder.
    pub into: Option<PathBuf>,
    /// The folder that we stand in: a lab that is none of ours gets a folder of its name in it.
    pub here: PathBuf,
    /// Overwrite files that differ.
    pub replace: bool,
}

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The lab's folder.
    pub folder: PathBuf,
    /// The lab.
    pub lab: Identity,
    /// SHA-256 of the bundle's first member.
    pub bundle_id: Digest,
    /// Blobs that the store lacked.
    pub taken_blobs: usize,
    /// Their bytes.
    pub taken_bytes: u64,
    /// Blobs of the lab; all are in the store now.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the lab's folder that were not there.
    pub new_files: usize,
    /// Those that had other bytes.
    pub replaced_files: Vec<String>,
}

/// Brings a bundle's blobs into the store and its lab into a folder.
///
/// # Errors
/// When something of the bundle is damaged or missing, the folder has other files, or the store fails.
pub async fn import(context: &Context, request: ImportRequest) -> miette::Result<Imported> {
    let context = context.clone();
    blocking(move || {
        let bundle = Bundle::open(&request.bundle, request.expected)?;
        let store = context.open_store()?;
        let folder = folder(&context, request.into, &request.here, bundle.lock());
        // Files of the lab that differ are said before the long part.
        if !request.replace {
            look_at_lab(&folder, bundle.files())?;
        }
        bundle.check_base(&store)?;
        let taken = bundle.import(&store, context.reporter.as_ref())?;
        let written = write_lab(&folder, bundle.files(), request.replace)?;
        finish(&context, &folder, &bundle)?;
        let complete = Complete::open(bundle.lock().clone(), store)?;
        let (blobs, bytes) = complete.descriptors().fold((0, 0), |(count, sum), blob| (count + 1, sum + blob.size));
        Ok(Imported {
            folder,
            lab: bundle.head().lab.clone(),
            bundle_id: bundle.id(),
            taken_blobs: taken.blobs,
            taken_bytes: taken.bytes,
            blobs,
            bytes,
            new_files: written.new,
            replaced_files: written.replaced,
        })
    })
    .await
}

/// The lab's folder: as asked for, else the lab of this name that we are in, else a new one of its name.
pub(super) fn folder(context: &Context, into: Option<PathBuf>, here: &Path, lock: &Lock) -> PathBuf {
    let ours = || lockfile::read(&context.lock_path()).is_ok_and(|found| found.name == lock.name);
    // A name from a stranger's lock must not lead out of here.
    let plain = lock.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let name = if plain && !lock.name.is_empty() { lock.name.as_str() } else { "lab" };
    into.unwrap_or_else(|| if ours() { context.lab.clone() } else { here.join(name) })
}

/// Makes the store know the lab and its images' names.
fn finish(context: &Context, folder: &Path, bundle: &Bundle) -> miette::Result<()> {
    let store = context.open_store()?;
    note_at(&folder.join("lock/ztlab.lock"), &store, bundle.lock())?;
    store.name_images(&named_images(bundle.lock()), context.reporter.as_ref())?;
    Ok(())
}
