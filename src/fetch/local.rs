//! A folder as a source: another store, an OCI image layout, Minikube's cache, a USB disk with downloads and saved
//! images on it.
//!
//! What is under `blobs/sha256` says its digest by its name. Of everything else the length decides what is worth
//! hashing: `kubectl` in Minikube's cache, a file that somebody downloaded with a browser.

use std::path::{Path, PathBuf};

use crate::{
    base::{Event, Hasher},
    plan::PlannedBlob,
    store::StoreError,
};

use super::{
    from::{Offer, Place},
    saved,
};

/// A folder on somebody's disk has an end; a home folder seems to have none.
const MAX_FILES: usize = 100_000;
/// Read size.
const PIECE: usize = 512 * 1024;

/// Takes what the folder has and returns what is still missing. Blocks.
pub(super) fn take(
    folder: &Path,
    place: &Place<'_>,
    missing: Vec<PlannedBlob>,
) -> Result<Vec<PlannedBlob>, StoreError> {
    let mut left = Vec::new();
    for blob in missing {
        if !take_named(folder, place, &blob)? {
            left.push(blob);
        }
    }
    // An image layout has nothing that is not under its digest.
    if left.is_empty() || folder.join("oci-layout").is_file() {
        return Ok(left);
    }
    for file in files_below(folder) {
        if left.is_empty() {
            break;
        }
        left = take_loose(&file, place, left)?;
    }
    Ok(left)
}

fn take_named(folder: &Path, place: &Place<'_>, blob: &PlannedBlob) -> Result<bool, StoreError> {
    let path = folder.join("blobs/sha256").join(blob.descriptor.digest.hex());
    if !path.is_file() {
        return Ok(false);
    }
    match fs_err::File::open(&path) {
        Ok(file) => Ok(matches!(place.take(blob, file)?, Offer::Taken)),
        Err(error) => {
            let text = format!("{} cannot be taken from {}: {error}", blob.label, place.name);
            place.reporter.report(Event::Warning { text });
            Ok(false)
        }
    }
}

/// A file without a digest in its name: one of the blobs itself, or a tar that has some.
fn take_loose(path: &Path, place: &Place<'_>, left: Vec<PlannedBlob>) -> Result<Vec<PlannedBlob>, StoreError> {
    let Ok(length) = fs_err::metadata(path).map(|metadata| metadata.len()) else { return Ok(left) };
    if left.iter().any(|blob| blob.descriptor.size == length)
        && let Ok(digest) = digest_of(path)
        && let Some(found) = left.iter().position(|blob| blob.descriptor.digest == digest)
    {
        let mut left = left;
        if let Ok(file) = fs_err::File::open(path)
            && let Offer::Taken = place.take(&left[found], file)?
        {
            left.remove(found);
        }
        return Ok(left);
    }
    if saved::is_archive(path) { saved::take_file(path, place, left) } else { Ok(left) }
}

fn digest_of(path: &Path) -> std::io::Result<crate::base::Digest> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE];
    loop {
        match std::io::Read::read(&mut file, &mut piece)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&piece[..count]),
        }
    }
}

/// Every regular file, links not followed, in an order that is the same each time.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        // A folder that may not be read has nothing for us.
        for entry in fs_err::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !folder.ends_with("blobs") => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
        if files.len() >= MAX_FILES {
            break;
        }
    }
    files.sort();
    files
}
