//! Members of a stored archive, as blobs of their own. Nothing is ever unpacked to a path of the archive's
//! choosing: a member's bytes go under their digest, or nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Component, Path},
};

use flate2::read::GzDecoder;

use crate::base::{Descriptor, Expected, Reporter};

use super::{Slot, Store, StoreError, StoredBlob};

/// An archive that does not give what it should.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ArchiveError {
    /// Not a readable gzip tar.
    #[error("archive {archive} cannot be read as a gzip tar")]
    #[diagnostic(
        code(resolve::archive),
        help("look at the address in lock/ztlab.toml: members are read from .tar.gz files")
    )]
    Unreadable {
        /// The archive's digest.
        archive: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A member is not there.
    #[error("archive {archive} has no file `{path}` ({entries} entries were looked at)")]
    #[diagnostic(
        code(resolve::member),
        help(
            "correct the member's path in lock/ztlab.toml: it is taken as it stands, or below the archive's single top folder"
        )
    )]
    NoMember {
        /// The archive's digest.
        archive: String,
        /// The path asked for.
        path: String,
        /// How many entries the archive has.
        entries: usize,
    },
    /// The name is there, and it is a link, a folder, or twice.
    #[error("archive {archive}: `{path}` is {found}, expected one regular file")]
    #[diagnostic(code(integrity::member), help("do not use this archive: a release does not look like that"))]
    NotAFile {
        /// The archive's digest.
        archive: String,
        /// The path asked for.
        path: String,
        /// What it is instead.
        found: &'static str,
    },
    /// The store refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// What one entry of the archive is to a path that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    /// Below the first folder, whatever that is called.
    BelowTop,
    /// As it stands.
    Exact,
}

impl Store {
    /// Reads members out of a gzip tar and stores each as a blob. Blocks.
    ///
    /// A path matches an entry's name as it stands, or with the archive's single top folder in front
    /// (releases put everything below `istio-1.20.0/`). Absolute names and names with `..` match nothing.
    ///
    /// # Errors
    /// When a path matches no regular file, or more than one.
    pub fn members(
        &self,
        archive: &StoredBlob,
        paths: &BTreeSet<String>,
        reporter: &dyn Reporter,
    ) -> Result<BTreeMap<String, Descriptor>, ArchiveError> {
        let label = archive.descriptor().digest.to_string();
        let unreadable = |source| ArchiveError::Unreadable { archive: label.clone(), source };
        let file = archive.open().map_err(unreadable)?;
        let mut tar = tar::Archive::new(GzDecoder::new(std::io::BufReader::with_capacity(1 << 16, file)));
        let mut found: BTreeMap<(String, Match), Descriptor> = BTreeMap::new();
        let mut tops = BTreeSet::new();
        let mut entries = 0;
        for entry in tar.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            // `git archive` puts one such header first; it belongs to no folder.
            if entry.header().entry_type() == tar::EntryType::XGlobalHeader {
                continue;
            }
            entries += 1;
            let name = entry.path().map_err(unreadable)?.into_owned();
            let Some(parts) = plain_parts(&name) else { continue };
            tops.extend(parts.first().cloned());
            for (path, kind) in matches(&parts, paths) {
                let not_a_file = |found| ArchiveError::NotAFile { archive: label.clone(), path: path.clone(), found };
                if !entry.header().entry_type().is_file() {
                    return Err(not_a_file("a link or a folder"));
                }
                let member = self.take_member(&mut entry, &label, reporter)?;
                if found.insert((path.clone(), kind), member).is_some() {
                    return Err(not_a_file("there twice"));
                }
            }
        }
        let single_top = tops.len() == 1;
        let mut members = BTreeMap::new();
        for path in paths {
            let exact = found.get(&(path.clone(), Match::Exact));
            let below = found.get(&(path.clone(), Match::BelowTop)).filter(|_| single_top);
            let no_member = || ArchiveError::NoMember { archive: label.clone(), path: path.clone(), entries };
            members.insert(path.clone(), *exact.or(below).ok_or_else(no_member)?);
        }
        Ok(members)
    }

    fn take_member(
        &self,
        entry: &mut impl Read,
        archive: &str,
        reporter: &dyn Reporter,
    ) -> Result<Descriptor, ArchiveError> {
        let name = format!("member-of-{}", archive.trim_start_matches("sha256:"));
        let mut ingest = match self.begin(Expected::NOTHING, &name, reporter)? {
            Slot::Present(blob) => return Ok(blob.descriptor()),
            Slot::Empty(ingest) => ingest,
        };
        let mut piece = vec![0; 256 * 1024];
        loop {
            let count = entry
                .read(&mut piece)
                .map_err(|source| ArchiveError::Unreadable { archive: archive.to_owned(), source })?;
            if count == 0 {
                return Ok(ingest.finish()?.descriptor());
            }
            ingest.append(&piece[..count])?;
        }
    }
}

/// The parts of a relative name without tricks; `./` in front is common and harmless.
fn plain_parts(name: &Path) -> Option<Vec<String>> {
    let parts = name.components().filter(|part| *part != Component::CurDir);
    parts
        .map(|part| match part {
            Component::Normal(part) => part.to_str().map(str::to_owned),
            _ => None,
        })
        .collect()
}

fn matches(parts: &[String], paths: &BTreeSet<String>) -> Vec<(String, Match)> {
    let whole = parts.join("/");
    let below = parts.get(1..).map(|rest| rest.join("/")).unwrap_or_default();
    [(whole, Match::Exact), (below, Match::BelowTop)].into_iter().filter(|(path, _)| paths.contains(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::report::Silent;
    use flate2::{Compression, write::GzEncoder};

    /// Writes names without the `tar` crate's own refusal of hostile ones.
    fn archive(store: &Store, entries: &[(&str, tar::EntryType, &[u8])]) -> StoredBlob {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        store.put(&bytes, &Silent).unwrap()
    }

    fn members(entries: &[(&str, tar::EntryType, &[u8])], path: &str) -> Result<Descriptor, ArchiveError> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let archive = archive(&store, entries);
        store.members(&archive, &BTreeSet::from([path.to_owned()]), &Silent).map(|members| members[path])
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn members_are_found_exactly_or_below_the_single_top_folder() {
        let release: &[(&str, _, &[u8])] =
            &[("istio-1.20.0/LICENSE", FILE, b"licence"), ("istio-1.20.0/bin/istioctl", FILE, b"program")];
        assert_eq!(members(release, "bin/istioctl").unwrap(), Descriptor::of(b"program"));
        assert_eq!(members(release, "istio-1.20.0/bin/istioctl").unwrap(), Descriptor::of(b"program"));
        let flat: &[(&str, _, &[u8])] = &[("./bin/a", FILE, b"right"), ("other/bin/a", FILE, b"wrong")];
        assert_eq!(members(flat, "bin/a").unwrap(), Descriptor::of(b"right"));
    }

    #[test]
    fn with_two_top_folders_none_is_stripped() {
        let two: &[(&str, _, &[u8])] = &[("one/bin/a", FILE, b"one"), ("README", FILE, b"two")];
        assert!(matches!(members(two, "bin/a").unwrap_err(), ArchiveError::NoMember { entries: 2, .. }));
    }

    #[test]
    fn hostile_names_match_nothing() {
        for name in ["../bin/a", "/top/bin/a", "top/../bin/a"] {
            let error = members(&[(name, FILE, b"evil")], "bin/a").unwrap_err();
            assert!(matches!(error, ArchiveError::NoMember { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn links_and_doubles_are_refused_for_members_asked_for() {
        let link: &[(&str, _, &[u8])] = &[("top/bin/a", tar::EntryType::Symlink, b"")];
        assert!(matches!(members(link, "bin/a").unwrap_err(), ArchiveError::NotAFile { .. }));
        let twice: &[(&str, _, &[u8])] = &[("top/bin/a", FILE, b"one"), ("top/bin/a", FILE, b"two")];
        assert!(matches!(members(twice, "bin/a").unwrap_err(), ArchiveError::NotAFile { .. }));
        let elsewhere: &[(&str, _, &[u8])] = &[("top/link", tar::EntryType::Symlink, b""), ("top/bin/a", FILE, b"one")];
        assert_eq!(members(elsewhere, "bin/a").unwrap(), Descriptor::of(b"one"));
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blob = store.put(b"<html>", &Silent).unwrap();
        let error = store.members(&blob, &BTreeSet::from(["a".to_owned()]), &Silent).unwrap_err();
        assert!(matches!(error, ArchiveError::Unreadable { .. }));
    }
}
