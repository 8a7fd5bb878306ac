//! A deterministic layer: sorted names, root's ownership, no time, fixed modes, fixed gzip.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use flate2::{Compression, GzBuilder};

use super::BuildError;
use crate::base::Digest;

/// A finished layer.
pub(super) struct Layer {
    /// The compressed tar.
    pub(super) gzip: Vec<u8>,
    /// Digest of the uncompressed tar (image-spec v1.1, config.md, "rootfs").
    pub(super) diff_id: Digest,
}

/// Collects files; folders follow from their paths.
#[derive(Default)]
pub(super) struct LayerBuilder {
    files: BTreeMap<String, Vec<u8>>,
}

impl LayerBuilder {
    /// Adds a file at an absolute path of the image.
    pub(super) fn file(&mut self, place: &str, content: Vec<u8>) -> Result<(), BuildError> {
        let relative = place.strip_prefix('/').ok_or_else(|| BuildError::Path(place.to_owned()))?;
        if relative.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(BuildError::Path(place.to_owned()));
        }
        self.files.insert(relative.to_owned(), content);
        Ok(())
    }

    /// Writes the layer.
    pub(super) fn finish(self) -> Result<Layer, BuildError> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut folders = BTreeSet::new();
        for (path, content) in &self.files {
            for (end, _) in path.match_indices('/') {
                let folder = &path[..=end];
                if folders.insert(folder.to_owned()) {
                    tar.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), folder, std::io::empty())?;
                }
            }
            tar.append_data(
                &mut header(tar::EntryType::Regular, 0o644, content.len() as u64),
                path,
                content.as_slice(),
            )?;
        }
        let tar = tar.into_inner()?;
        // Operating system 255 is "unknown" (RFC 1952, 2.3.1): the header then says nothing of the host.
        let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
        gzip.write_all(&tar)?;
        Ok(Layer { gzip: gzip.finish()?, diff_id: Digest::of(&tar) })
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn order_of_adding_does_not_matter_and_folders_come_first() {
        let mut one = LayerBuilder::default();
        one.file("/b/c/d", b"2".to_vec()).unwrap();
        one.file("/a", b"1".to_vec()).unwrap();
        let mut other = LayerBuilder::default();
        other.file("/a", b"1".to_vec()).unwrap();
        other.file("/b/c/d", b"2".to_vec()).unwrap();
        let (one, other) = (one.finish().unwrap(), other.finish().unwrap());
        assert_eq!(one.gzip, other.gzip);

        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(one.gzip.as_slice()).read_to_end(&mut tar).unwrap();
        assert_eq!(Digest::of(&tar), one.diff_id);
        let names: Vec<String> = tar::Archive::new(tar.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["a", "b/", "b/c/", "b/c/d"]);
    }
}
