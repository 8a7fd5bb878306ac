//! Damage outside the blobs: the layout's own files, ztlab's notes, and what does not belong there.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{OCI_LAYOUT, Store, StoreError, index, listing::entries};

/// A file of the store that is not as ztlab left it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// Relative to the store.
    pub path: PathBuf,
    /// What is the matter, for people.
    pub problem: String,
}

impl Store {
    /// Looks at every file of the store that is no blob. Partial downloads are no fault: they are compared with
    /// their digest before they get a name.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn faults(&self) -> Result<Vec<Fault>, StoreError> {
        let mut faults = Vec::new();
        let mut fault = |path: &Path, problem: &str| {
            faults.push(Fault { path: self.relative(path), problem: problem.to_owned() });
        };
        let layout = self.root.join("oci-layout");
        match read(&layout)? {
            None => fault(&layout, "lost: other tools do not know the folder as an image layout without it"),
            Some(bytes) if bytes != OCI_LAYOUT.as_bytes() => fault(&layout, "not the bytes that make an image layout"),
            Some(_) => {}
        }
        let index = self.root.join("index.json");
        match read(&index)? {
            None => fault(&index, "lost: other tools find no image by its name"),
            Some(bytes) => index::problems(self, &bytes)?.iter().for_each(|problem| fault(&index, problem)),
        }
        let damaged = self.ledger.damaged_lines()?;
        if damaged > 0 {
            let path = self.private().join("verified");
            fault(&path, &format!("{damaged} damaged lines; the blobs that they spoke for are read again"));
        }
        for lock in entries(&self.locks())? {
            if fs_err::metadata(&lock).is_ok_and(|metadata| metadata.len() > 0) {
                fault(&lock, "extra bytes: lock files are empty");
            }
        }
        for stray in self.listing()?.strays {
            fault(&self.root.join(stray), "extra: no blob has such a name");
        }
        faults.extend(self.lab_faults()?);
        faults.sort();
        Ok(faults)
    }

    /// Puts right what [`Store::faults`] names and what needs no other bytes: the layout's file, the ledger, lock
    /// files, extra files. `index.json` follows from [`Store::name_images`], a lab's note from its lock.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn mend(&self) -> Result<(), StoreError> {
        self.mend_layout()?;
        if self.ledger.damaged_lines()? > 0 {
            self.ledger.rewrite()?;
        }
        for lock in entries(&self.locks())? {
            // Not removed: somebody may wait on it.
            fs_err::OpenOptions::new().write(true).open(&lock)?.set_len(0)?;
        }
        for stray in self.listing()?.strays {
            remove(&self.root.join(stray))?;
        }
        Ok(())
    }

    /// Writes `oci-layout` again when it is not what it should be.
    pub(super) fn mend_layout(&self) -> Result<(), StoreError> {
        let path = self.root.join("oci-layout");
        if read(&path)?.is_none_or(|bytes| bytes != OCI_LAYOUT.as_bytes()) {
            crate::base::file::write_atomically(&path, OCI_LAYOUT.as_bytes())?;
        }
        Ok(())
    }
}

/// A small file's bytes; `None` when there is none.
pub(super) fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file or a whole folder; a link itself, not what it points to.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match fs_err::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs_err::remove_dir_all(path),
        Ok(_) => fs_err::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
