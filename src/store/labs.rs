//! Notes of the labs that use this store: what garbage collection has to leave alone.
//!
//! ```text
//! ztlab/labs/<first 16 digits of the SHA-256 of the lock's path>
//!     sha256:<hex>         of everything behind this line
//!     {"lock": "/…/lock/ztlab.lock", "name": …, "id": …, "artifacts": …, "images": …}
//! ```
//!
//! A known lock is one that has such a note. The note repeats what the lock reaches, so that a lab whose lock cannot
//! be read just now (a drive that is not plugged in, a merge that is not finished) loses nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::base::{Descriptor, Digest, file};

use super::{Fault, NamedImage, Store, StoreError, faults, listing::entries};

/// What a lab needs of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownLab {
    /// Where its lock lies; two labs of the same name are two labs.
    pub lock: PathBuf,
    /// The lab's name.
    pub name: String,
    /// The lab's identity when the note was written.
    pub id: Digest,
    /// Every artifact with the blobs it is made of, fetched or not.
    pub artifacts: BTreeMap<String, Vec<Descriptor>>,
    /// The names of its images.
    pub images: Vec<NamedImage>,
}

impl KnownLab {
    /// Every blob, once.
    pub fn blobs(&self) -> BTreeSet<Descriptor> {
        self.artifacts.values().flatten().copied().collect()
    }
}

impl Store {
    /// Writes or renews the note of a lab. Costs one reading when nothing changed.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn note_lab(&self, lab: &KnownLab) -> Result<(), StoreError> {
        let mut text = serde_json::to_string(lab).map_err(std::io::Error::from)?;
        text.push('\n');
        let whole = format!("{}\n{text}", Digest::of(text.as_bytes()));
        let path = self.note_of(&lab.lock);
        if faults::read(&path)?.as_deref() != Some(whole.as_bytes()) {
            file::write_atomically(&path, whole.as_bytes())?;
        }
        Ok(())
    }

    /// Every lab that has a note, by the path of its lock.
    ///
    /// # Errors
    /// [`StoreError::LabNote`] when one is damaged: then nobody can say what may go.
    pub fn labs(&self) -> Result<Vec<KnownLab>, StoreError> {
        let mut labs = Vec::new();
        for path in self.notes()? {
            let bytes = fs_err::read(&path)?;
            labs.push(parse(&bytes).ok_or_else(|| StoreError::LabNote { path: path.display().to_string() })?);
        }
        labs.sort_by(|one: &KnownLab, other| one.lock.cmp(&other.lock));
        Ok(labs)
    }

    /// Removes the note of a lab: its blobs are then kept only where another lab needs them.
    ///
    /// # Errors
    /// Any I/O error; a note that is not there is none.
    pub fn forget_lab(&self, lock: &Path) -> Result<(), StoreError> {
        Ok(faults::remove(&self.note_of(lock))?)
    }

    /// Damaged notes, with the path of the lock that each was about: known when the note's own name bears it out.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn damaged_labs(&self) -> Result<Vec<(PathBuf, Option<PathBuf>)>, StoreError> {
        let mut damaged = Vec::new();
        for path in self.notes()? {
            let bytes = fs_err::read(&path)?;
            if parse(&bytes).is_none() {
                let text = String::from_utf8_lossy(&bytes);
                let lock =
                    text.split("\"lock\":\"").nth(1).and_then(|rest| Some(PathBuf::from(rest.split('"').next()?)));
                damaged.push((path.clone(), lock.filter(|lock| self.note_of(lock) == path)));
            }
        }
        Ok(damaged)
    }

    pub(super) fn lab_faults(&self) -> Result<Vec<Fault>, StoreError> {
        let problem = |lock: Option<PathBuf>| {
            let whose = lock.map_or("of a lab".to_owned(), |lock| format!("of {}", lock.display()));
            format!("damaged note {whose}: `ztlab fetch` there writes it anew; without that lab, remove the file")
        };
        let damaged = self.damaged_labs()?.into_iter();
        Ok(damaged.map(|(path, lock)| Fault { path: self.relative(&path), problem: problem(lock) }).collect())
    }

    pub(super) fn notes(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut notes = entries(&self.private().join("labs"))?;
        // What a killed process left of its own writing.
        notes.retain(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
        notes.sort();
        Ok(notes)
    }

    fn note_of(&self, lock: &Path) -> PathBuf {
        let mut name = Digest::of(lock.as_os_str().as_encoded_bytes()).hex();
        name.truncate(16);
        self.private().join("labs").join(name)
    }
}

fn parse(bytes: &[u8]) -> Option<KnownLab> {
    let (head, body) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let right = head.parse() == Ok(Digest::of(body.as_bytes()));
    right.then(|| serde_json::from_str(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_a_damaged_one_stops_everything() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.labs().unwrap(), []);
        let lab = |lock: &str| KnownLab {
            lock: lock.into(),
            name: "small".to_owned(),
            id: Digest::of(lock.as_bytes()),
            artifacts: BTreeMap::from([("image.a".to_owned(), vec![Descriptor::of(b"a"), Descriptor::of(b"a")])]),
            images: vec![NamedImage { reference: "docker.io/a:1".to_owned(), top: Descriptor::of(b"a") }],
        };
        let (one, two) = (lab("/one/lock"), lab("/two/lock"));
        store.note_lab(&two).unwrap();
        store.note_lab(&one).unwrap();
        store.note_lab(&one).unwrap();
        assert_eq!(store.labs().unwrap(), [one.clone(), two.clone()]);
        assert_eq!(one.blobs().len(), 1);
        store.forget_lab(&one.lock).unwrap();
        store.forget_lab(&one.lock).unwrap();
        assert_eq!(store.labs().unwrap(), [two]);
        let note = store.notes().unwrap().remove(0);
        let text = fs_err::read_to_string(&note).unwrap();
        fs_err::write(&note, text.replace("image.a", "image.b")).unwrap();
        assert!(matches!(store.labs().unwrap_err(), StoreError::LabNote { .. }));
        assert_eq!(store.damaged_labs().unwrap(), [(note.clone(), Some("/two/lock".into()))]);
        fs_err::write(&note, text.replace("/two/", "/2wo/")).unwrap();
        assert_eq!(store.damaged_labs().unwrap(), [(note, None)], "another lab's lock must not be taken for it");
        assert_eq!(store.faults().unwrap().len(), 1);
    }
}
