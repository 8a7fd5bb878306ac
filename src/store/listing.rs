//! What lies in the store's folders, without reading any of it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::base::Digest;

use super::{Stamp, Store};

/// The files of a store.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Every plain file whose name is a digest.
    pub(super) blobs: BTreeMap<Digest, Stamp>,
    /// Everything else below `blobs`, relative to the store.
    pub(super) strays: Vec<PathBuf>,
}

impl Store {
    /// Lists `blobs`. A file that goes away meanwhile was never there.
    pub(super) fn listing(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in entries(&self.root.join("blobs"))? {
            if entry != self.blobs() {
                listing.strays.push(self.relative(&entry));
            }
        }
        for entry in entries(&self.blobs())? {
            let digest = entry.file_name().and_then(|name| Digest::from_hex(name.to_str()?).ok());
            match (digest, fs_err::symlink_metadata(&entry)) {
                (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
                (_, Err(error)) => return Err(error),
                (Some(digest), Ok(metadata)) if metadata.is_file() => {
                    listing.blobs.insert(digest, Stamp::of(&metadata));
                }
                _ => listing.strays.push(self.relative(&entry)),
            }
        }
        listing.strays.sort();
        Ok(listing)
    }

    pub(super) fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }
}

/// The paths in a folder; none when there is no such folder.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
    }
}
