//! What the base image has at each path. A layer that lies on top must repeat the folders it goes through: with other
//! modes it would change them, and an entry for a folder where the base has a link (`/bin` in Debian) would hide all
//! that the link leads to.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use flate2::read::MultiGzDecoder;

use super::BuildError;
use crate::{base::Digest, image::Blobs};

/// RFC 1952, 2.3.1.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// image-spec v1.1, layer.md, "Whiteouts".
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// What lies at a path of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder with its own mode and owner.
    Folder(Access),
    /// A symbolic link and where it leads.
    Link(String),
    /// Anything else.
    File,
}

/// Whom a folder belongs to, and who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
}

/// The paths of the base, without a slash at either end.
#[derive(Debug, Default)]
pub(super) struct BaseTree(BTreeMap<String, Kind>);

impl BaseTree {
    /// Reads the base's layers from the bottom up.
    pub(super) fn read(layers: &[Digest], blobs: &dyn Blobs) -> Result<Self, BuildError> {
        let mut tree = Self::default();
        for digest in layers {
            let layer = |source| BuildError::BaseLayer { digest: *digest, source };
            let mut file = blobs.open(digest)?;
            let mut magic = [0; 2];
            let length = file.read(&mut magic).map_err(layer)?;
            let bytes = io::Cursor::new(magic[..length].to_vec()).chain(file);
            if magic == GZIP_MAGIC {
                tree.add_layer(MultiGzDecoder::new(bytes)).map_err(layer)?;
            } else {
                tree.add_layer(bytes).map_err(layer)?;
            }
        }
        Ok(tree)
    }

    /// What the base has there.
    pub(super) fn at(&self, path: &str) -> Option<&Kind> {
        self.0.get(path)
    }

    fn add_layer(&mut self, tar: impl Read) -> io::Result<()> {
        for entry in tar::Archive::new(tar).entries()? {
            let entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_matches('/').to_owned();
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == OPAQUE {
                self.remove_below(folder);
            } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
                let gone = if folder.is_empty() { gone.to_owned() } else { format!("{folder}/{gone}") };
                self.0.remove(&gone);
                self.remove_below(&gone);
            } else if !path.is_empty() && path != "." {
                let kind = kind_of(&entry)?;
                if !matches!(kind, Kind::Folder(_)) {
                    self.remove_below(&path);
                }
                self.0.insert(path, kind);
            }
        }
        Ok(())
    }

    fn remove_below(&mut self, folder: &str) {
        let inside = format!("{folder}/");
        self.0.retain(|path, _| folder.is_empty() || !path.starts_with(&inside));
        if folder.is_empty() {
            self.0.clear();
        }
    }
}

fn kind_of<R: Read>(entry: &tar::Entry<'_, R>) -> io::Result<Kind> {
    let header = entry.header();
    Ok(match header.entry_type() {
        tar::EntryType::Directory => {
            Kind::Folder(Access { mode: header.mode()? & 0o7777, uid: header.uid()?, gid: header.gid()? })
        }
        tar::EntryType::Symlink => {
            Kind::Link(entry.link_name()?.map(|target| target.display().to_string()).unwrap_or_default())
        }
        _ => Kind::File,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::image::test_blobs::Folder;

    /// A layer of folders (`name/`), links (`name -> target`), whiteouts and files, as a gzip.
    pub(crate) fn layer(entries: &[&str]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mode(if entry.starts_with("tmp") { 0o1777 } else { 0o755 });
            if let Some((name, target)) = entry.split_once(" -> ") {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, name, target).unwrap();
            } else {
                let kind = if entry.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
                header.set_entry_type(kind);
                tar.append_data(&mut header, entry, io::empty()).unwrap();
            }
        }
        super::super::gzip::stored(&tar.into_inner().unwrap())
    }

    fn tree(layers: &[&[&str]]) -> BaseTree {
        let folder = Folder::new();
        let digests: Vec<Digest> = layers.iter().map(|entries| folder.add(&layer(entries)).digest).collect();
        BaseTree::read(&digests, &folder).unwrap()
    }

    #[test]
    fn folders_keep_their_mode_and_links_their_target() {
        let tree = tree(&[&["tmp/", "bin -> usr/bin", "usr/", "usr/bin/", "usr/bin/env"]]);
        assert_eq!(tree.at("tmp"), Some(&Kind::Folder(Access { mode: 0o1777, uid: 0, gid: 0 })));
        assert_eq!(tree.at("bin"), Some(&Kind::Link("usr/bin".to_owned())));
        assert_eq!(tree.at("usr/bin/env"), Some(&Kind::File));
        assert_eq!(tree.at("etc"), None);
    }

    #[test]
    fn an_upper_layer_removes_and_replaces() {
        let tree = tree(&[
            &["a/", "a/one", "a/two", "b/", "b/deep/", "b/deep/file", "c/", "c/old"],
            &["a/.wh.one", ".wh.b", "c/.wh..wh..opq", "c/new"],
        ]);
        assert_eq!(tree.at("a/one"), None);
        assert_eq!(tree.at("a/two"), Some(&Kind::File));
        assert_eq!((tree.at("b"), tree.at("b/deep/file")), (None, None));
        assert_eq!((tree.at("c/old"), tree.at("c/new")), (None, Some(&Kind::File)));
    }

    #[test]
    fn a_layer_that_is_no_tar_is_named() {
        let folder = Folder::new();
        // Zstandard's magic number: what ztlab does not unpack is refused, not skipped.
        let digest = folder.add(&[0x28, 0xb5, 0x2f, 0xfd].repeat(300)).digest;
        let error = BaseTree::read(&[digest], &folder).unwrap_err().to_string();
        assert!(error.contains(&digest.to_string()), "{error}");
    }
}
