//! A deterministic layer: sorted names, root's ownership, no time, fixed modes, one possible gzip.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{
    BuildError,
    base::{Access, BaseTree, Kind},
    gzip,
};
use crate::base::Digest;

/// A folder that the base does not have.
const NEW_FOLDER: Access = Access { mode: 0o755, uid: 0, gid: 0 };

/// A finished layer.
pub(super) struct Layer {
    /// The compressed tar.
    pub(super) gzip: Vec<u8>,
    /// Digest of the uncompressed tar (image-spec v1.1, config.md, "rootfs").
    pub(super) diff_id: Digest,
}

/// A file of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayerFile {
    /// Its bytes.
    pub(super) content: Vec<u8>,
    /// Mode 0755 instead of 0644.
    pub(super) executable: bool,
}

/// Collects files; the folders on the way to them follow from their paths and from the base.
#[derive(Default)]
pub(super) struct LayerBuilder {
    /// By path without the first slash, with who brought it.
    files: BTreeMap<String, (LayerFile, String)>,
    folders: BTreeSet<String>,
}

impl LayerBuilder {
    /// Adds a file at an absolute path of the image. `from` names whose it is, for the case that somebody else wants
    /// the same place.
    pub(super) fn file(&mut self, place: &str, file: LayerFile, from: &str) -> Result<(), BuildError> {
        match self.files.entry(plain(place)?) {
            Entry::Vacant(vacant) => _ = vacant.insert((file, from.to_owned())),
            Entry::Occupied(first) => {
                return Err(BuildError::Twice {
                    place: place.to_owned(),
                    first: first.get().1.clone(),
                    second: from.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Adds a folder that may stay empty.
    pub(super) fn folder(&mut self, place: &str) -> Result<(), BuildError> {
        let folder = plain(place)?;
        self.folders.insert(folder);
        Ok(())
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty()
    }

    /// Writes the layer as it lies on the base.
    pub(super) fn finish(self, base: &BaseTree) -> Result<Layer, BuildError> {
        let mut entries: BTreeMap<String, Option<&LayerFile>> = BTreeMap::new();
        let parents = |path: &str| path.match_indices('/').map(|(end, _)| path[..end].to_owned()).collect::<Vec<_>>();
        for path in self.files.keys() {
            entries.extend(parents(path).into_iter().map(|folder| (folder, None)));
        }
        for path in &self.folders {
            entries.extend(parents(path).into_iter().chain([path.clone()]).map(|folder| (folder, None)));
        }
        for (path, (file, _)) in &self.files {
            if entries.insert(path.clone(), Some(file)).is_some() {
                return Err(blocked(path, "another file of the app needs it as a folder"));
            }
        }
        let mut tar = tar::Builder::new(Vec::new());
        for (path, file) in &entries {
            match (file, base.at(path)) {
                (Some(_), Some(Kind::Folder(_))) => return Err(blocked(path, "the base image has a folder there")),
                (Some(file), _) => {
                    let mode = if file.executable { 0o755 } else { 0o644 };
                    let size = file.content.len() as u64;
                    let mut header = header(tar::EntryType::Regular, Access { mode, ..NEW_FOLDER }, size);
                    tar.append_data(&mut header, path, file.content.as_slice())?;
                }
                (None, Some(Kind::Link(target))) => {
                    return Err(blocked(
                        path,
                        &format!("the base image has a link to {target} there: name that folder"),
                    ));
                }
                (None, Some(Kind::File)) => return Err(blocked(path, "the base image has a file there, not a folder")),
                (None, there) => {
                    let access = if let Some(Kind::Folder(access)) = there { *access } else { NEW_FOLDER };
                    let mut header = header(tar::EntryType::Directory, access, 0);
                    tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
                }
            }
        }
        let tar = tar.into_inner()?;
        Ok(Layer { gzip: gzip::stored(&tar), diff_id: Digest::of(&tar) })
    }
}

fn blocked(path: &str, reason: &str) -> BuildError {
    BuildError::Blocked { place: format!("/{path}"), reason: reason.to_owned() }
}

/// The path without its first slash, when it is an absolute one of plain parts.
fn plain(place: &str) -> Result<String, BuildError> {
    match place.strip_prefix('/') {
        Some(path) if path.split('/').all(|part| !part.is_empty() && part != "." && part != "..") => {
            Ok(path.to_owned())
        }
        _ => Err(BuildError::Path(place.to_owned())),
    }
}

fn header(kind: tar::EntryType, access: Access, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(access.mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(access.uid);
    header.set_gid(access.gid);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{super::base::tests::layer as base_layer, *};
    use crate::image::test_blobs::Folder;

    fn plain_file(content: &str) -> LayerFile {
        LayerFile { content: content.as_bytes().to_vec(), executable: false }
    }

    fn on(base: &[&str], places: &[&str]) -> Result<Layer, BuildError> {
        let folder = Folder::new();
        let digest = folder.add(&base_layer(base)).digest;
        let mut builder = LayerBuilder::default();
        for place in places {
            builder.file(place, plain_file(place), "the test")?;
        }
        builder.finish(&BaseTree::read(&[digest], &folder)?)
    }

    /// Name and mode of every entry.
    fn entries(layer: &Layer) -> Vec<(String, u32)> {
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(layer.gzip.as_slice()).read_to_end(&mut tar).unwrap();
        assert_eq!(Digest::of(&tar), layer.diff_id);
        let mut archive = tar::Archive::new(tar.as_slice());
        let entry = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let entry: tar::Entry<'_, &[u8]> = entry.unwrap();
            assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
            (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap())
        };
        archive.entries().unwrap().map(entry).collect()
    }

    #[test]
    fn order_of_adding_does_not_matter_and_folders_come_first() {
        let (one, other) = (on(&[], &["/b/c/d", "/a"]).unwrap(), on(&[], &["/a", "/b/c/d"]).unwrap());
        assert_eq!(one.gzip, other.gzip);
        let names: Vec<String> = entries(&one).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b/", "b/c/", "b/c/d"]);
    }

    #[test]
    fn folders_of_the_base_keep_their_mode_and_executables_theirs() {
        let layer = on(&["tmp/"], &["/tmp/a"]).unwrap();
        assert_eq!(entries(&layer), [("tmp/".to_owned(), 0o1777), ("tmp/a".to_owned(), 0o644)]);
        let mut builder = LayerBuilder::default();
        builder.file("/run.sh", LayerFile { executable: true, ..plain_file("#!/bin/sh") }, "the test").unwrap();
        builder.folder("/app").unwrap();
        let layer = builder.finish(&BaseTree::default()).unwrap();
        assert_eq!(entries(&layer), [("app/".to_owned(), 0o755), ("run.sh".to_owned(), 0o755)]);
    }

    #[test]
    fn what_the_base_has_is_not_hidden() {
        let refused = |base: &[&str], place: &str| on(base, &[place]).err().map(|error| error.to_string()).unwrap();
        assert!(refused(&["bin -> usr/bin"], "/bin/tool").contains("a link to usr/bin"));
        assert!(refused(&["etc"], "/etc/hosts").contains("a file there, not a folder"));
        assert!(refused(&["etc/"], "/etc").contains("a folder there"));
        assert!(on(&["etc/", "etc/motd"], &["/etc/motd"]).is_ok(), "a file may be replaced");
    }

    #[test]
    fn two_owners_of_one_place_are_both_named() {
        let mut builder = LayerBuilder::default();
        builder.file("/a", plain_file("1"), "wheel one").unwrap();
        let error = builder.file("/a", plain_file("1"), "wheel two").unwrap_err().to_string();
        assert!(error.contains("wheel one") && error.contains("wheel two"), "{error}");
        assert!(on(&[], &["/a", "/a/b"]).err().unwrap().to_string().contains("needs it as a folder"));
    }
}
