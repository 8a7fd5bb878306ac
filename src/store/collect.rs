//! Garbage: what no known lab reaches.
//!
//! Two steps, so that a person can say no in between: [`Store::garbage`] looks, [`Store::collect`] removes what was
//! told and is still garbage. Between the two, and before, labs may come: `collect` asks for the roots again once it
//! has the store alone (everybody else who has it open shares the lock `in-use`), and a fetch notes its lab before
//! its first blob. So nothing goes that a lab needs, and what a fetch found present stays present.
//!
//! Names go first, then ledger lines, then files: a process that dies in between leaves garbage, never a name
//! without a blob.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::base::{Descriptor, Digest, Event, Reporter};

use super::{KnownLab, NamedImage, Store, StoreError, faults::remove, listing::entries};

/// What has to stay.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Blobs, fetched or not.
    pub blobs: BTreeSet<Digest>,
    /// Names in `index.json`.
    pub images: Vec<NamedImage>,
}

impl Roots {
    /// What these labs need.
    pub fn of<'labs>(labs: impl IntoIterator<Item = &'labs KnownLab>) -> Self {
        let mut roots = Self::default();
        for lab in labs {
            roots.blobs.extend(lab.blobs().into_iter().map(|blob| blob.digest));
            roots.images.extend(lab.images.iter().cloned());
        }
        roots
    }
}

/// A file or folder that is no blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Leftover {
    /// Relative to the store.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// What may go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// Blobs that no root names.
    pub blobs: Vec<Descriptor>,
    /// Downloads that nobody will go on with: of blobs that nobody needs or that are there.
    pub partials: Vec<Leftover>,
    /// Pinned programs of other versions, files that are no blobs, and what killed processes left.
    pub others: Vec<Leftover>,
    /// Names in `index.json` that no lab gives.
    pub names: Vec<String>,
}

impl Garbage {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All its bytes.
    pub fn bytes(&self) -> u64 {
        let leftovers = self.partials.iter().chain(&self.others).map(|leftover| leftover.size);
        self.blobs.iter().map(|blob| blob.size).chain(leftovers).sum()
    }

    /// What both say.
    fn and(&self, other: &Self) -> Self {
        fn both<T: Clone + Ord>(one: &[T], other: &[T]) -> Vec<T> {
            let other: BTreeSet<&T> = other.iter().collect();
            one.iter().filter(|item| other.contains(item)).cloned().collect()
        }
        Self {
            blobs: both(&self.blobs, &other.blobs),
            partials: both(&self.partials, &other.partials),
            others: both(&self.others, &other.others),
            names: both(&self.names, &other.names),
        }
    }
}

impl Store {
    /// Looks for what these roots do not reach. Removes nothing.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn garbage(&self, roots: &Roots) -> Result<Garbage, StoreError> {
        let listing = self.listing()?;
        let unreached = listing.blobs.iter().filter(|(digest, _)| !roots.blobs.contains(digest));
        let blobs = unreached.map(|(digest, stamp)| Descriptor { digest: *digest, size: stamp.size }).collect();
        let partials = self.leftovers(&self.partials(), |name| {
            let digest = Digest::from_hex(name).ok().filter(|digest| roots.blobs.contains(digest));
            // Partial files with other names are begun anew by whoever needs them.
            digest.is_some_and(|digest| !listing.blobs.contains_key(&digest))
        })?;
        let mut others = self.leftovers(&self.private().join("tools"), |name| {
            Digest::from_hex(name).is_ok_and(|digest| roots.blobs.contains(&digest))
        })?;
        for folder in [self.root.clone(), self.private(), self.private().join("labs")] {
            others.extend(self.leftovers(&folder, |name| !name.starts_with(".ztlab-"))?);
        }
        for stray in listing.strays {
            others.push(Leftover { size: size_of(&self.root.join(&stray))?, path: stray });
        }
        Ok(Garbage { blobs, partials, others, names: self.unknown_names(&roots.images)? })
    }

    /// Removes what was told and is still garbage, once nobody else has the store open. `roots` is asked then.
    /// Returns what was removed. Blocks.
    ///
    /// # Errors
    /// Any I/O error, and what `roots` refuses; nothing was removed in that case.
    pub fn collect<E: From<StoreError>>(
        &self,
        told: &Garbage,
        roots: impl FnOnce() -> Result<Roots, E>,
        reporter: &dyn Reporter,
    ) -> Result<Garbage, E> {
        let alone = Alone::wait(self, reporter).map_err(StoreError::from)?;
        let roots = roots()?;
        let garbage = told.and(&self.garbage(&roots)?);
        self.remove_garbage(&garbage, &roots, reporter)?;
        drop(alone);
        Ok(garbage)
    }

    fn remove_garbage(&self, garbage: &Garbage, roots: &Roots, reporter: &dyn Reporter) -> Result<(), StoreError> {
        if !garbage.names.is_empty() {
            self.keep_names(&roots.images, reporter)?;
        }
        for blob in &garbage.blobs {
            self.discard(&blob.digest)?;
        }
        for leftover in garbage.partials.iter().chain(&garbage.others) {
            remove(&self.root.join(&leftover.path))?;
        }
        self.ledger.rewrite()?;
        // Nobody waits on any of them now.
        for lock in entries(&self.locks())? {
            if lock != self.locks().join("in-use") {
                remove(&lock)?;
            }
        }
        Ok(())
    }

    /// What lies in a folder under a name that does not say that it stays.
    fn leftovers(&self, folder: &Path, stays: impl Fn(&str) -> bool) -> Result<Vec<Leftover>, StoreError> {
        let mut leftovers = Vec::new();
        for path in entries(folder)? {
            if !path.file_name().and_then(|name| name.to_str()).is_some_and(&stays) {
                leftovers.push(Leftover { path: self.relative(&path), size: size_of(&path)? });
            }
        }
        leftovers.sort();
        Ok(leftovers)
    }
}

/// Bytes of a file, or of all files in a folder.
fn size_of(path: &Path) -> io::Result<u64> {
    let metadata = match fs_err::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    entries(path)?.iter().map(|entry| size_of(entry)).sum()
}

/// The store without anybody else. Shares it again at the end.
struct Alone<'store>(&'store File);

impl<'store> Alone<'store> {
    fn wait(store: &'store Store, reporter: &dyn Reporter) -> io::Result<Self> {
        let Some(lock) = store.in_use.as_ref() else {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the store is read-only"));
        };
        // What becomes of a lock that is asked for twice depends on the platform: let go of it first.
        lock.unlock()?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = "another ztlab uses this store: waiting for it (Ctrl-C gives up)".to_owned();
                reporter.report(Event::Note { text });
                lock.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self(lock))
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // Should it fail, the file is closed with the store, and that frees it too.
        if self.0.unlock().is_ok() {
            let _ = self.0.lock_shared();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Expected, report::Recording, report::Silent};
    use crate::store::Slot;

    fn nothing() -> Result<Roots, StoreError> {
        Ok(Roots::default())
    }

    #[test]
    fn what_is_told_is_what_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let kept = store.put(b"kept", &Silent).unwrap().descriptor();
        let gone = store.put(b"gone", &Silent).unwrap().descriptor();
        let awaited = Descriptor::of(b"a blob that is under way");
        for (expected, name) in [
            (Expected::from(awaited), awaited.digest.hex()),
            (Expected::NOTHING, "from-somewhere".to_owned()),
            (Descriptor::of(b"unwanted").into(), Digest::of(b"unwanted").hex()),
        ] {
            let Slot::Empty(mut ingest) = store.begin(expected, &name, &Silent).unwrap() else { panic!("occupied") };
            ingest.append(b"a blob").unwrap();
        }
        for stray in ["blobs/sha256/stray", "blobs/stray", "ztlab/.ztlab-left", "ztlab/tools/old/program"] {
            let path = folder.path().join(stray);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, b"12345").unwrap();
        }
        let named = |reference: &str, top| NamedImage { reference: reference.to_owned(), top };
        store.name_images(&[named("a:1", kept), named("b:1", gone)], &Silent).unwrap();

        let roots = Roots { blobs: [kept.digest, awaited.digest].into(), images: vec![named("a:1", kept)] };
        let told = store.garbage(&roots).unwrap();
        assert_eq!(told.blobs, [gone]);
        assert_eq!((told.partials.len(), told.others.len()), (2, 4), "{told:?}");
        assert_eq!((told.names.as_slice(), told.bytes()), (["b:1".to_owned()].as_slice(), 4 + 12 + 20));
        let removed = store.collect::<StoreError>(&told, || Ok(roots.clone()), &Silent).unwrap();
        assert_eq!(removed, told);
        assert!(store.garbage(&roots).unwrap().is_empty());
        assert_eq!(store.faults().unwrap(), []);
        assert!(store.blob(kept).is_some());
        let Slot::Empty(ingest) = store.begin(awaited.into(), &awaited.digest.hex(), &Silent).unwrap() else {
            panic!("nobody finished it")
        };
        assert_eq!(ingest.written(), 6, "a download that somebody will go on with stays");
        assert!(!folder.path().join("ztlab/locks/from-somewhere").exists());
    }

    #[test]
    fn what_a_lab_came_to_need_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blob = store.put(b"blob", &Silent).unwrap().descriptor();
        let told = store.garbage(&Roots::default()).unwrap();
        let later = store.put(b"came later", &Silent).unwrap().descriptor();
        let roots = || Ok(Roots { blobs: [blob.digest].into(), images: Vec::new() });
        let removed = store.collect::<StoreError>(&told, roots, &Silent).unwrap();
        assert!(removed.is_empty() && store.blob(blob).is_some() && store.blob(later).is_some());
    }

    #[test]
    fn nothing_is_collected_while_another_has_the_store_open() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let blob = store.put(b"blob", &Silent).unwrap().descriptor();
        let told = store.garbage(&Roots::default()).unwrap();
        let other = Store::open(folder.path()).unwrap();
        let recording = Recording::default();
        std::thread::scope(|scope| {
            let collecting = scope.spawn(|| store.collect::<StoreError>(&told, nothing, &recording).unwrap());
            while recording.events().is_empty() {
                std::thread::yield_now();
            }
            assert!(other.blob(blob).is_some());
            drop(other);
            assert_eq!(collecting.join().unwrap().blobs, [blob]);
        });
        assert_eq!(Store::open(folder.path()).unwrap().blob(blob), None);
    }
}
