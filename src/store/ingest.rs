//! How bytes get into the store: hash and limit while writing, check. Their names come in `publish`.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use crate::base::{Descriptor, Digest, Event, Expected, Hasher, Reporter, file};

use super::{Store, StoreError, StoredBlob, Whole};

/// Piece size for hashing what an earlier run left.
const PIECE: usize = 256 * 1024;
/// So much is gathered before the system is asked to begin writing it to the disk: small enough that little is
/// left for the sync at the end, large enough for long runs of blocks.
const WRITE_BACK_STEP: u64 = 8 * 1024 * 1024;

/// The place of a blob: taken, or ours to fill.
#[derive(Debug)]
pub enum Slot {
    /// The blob is there.
    Present(StoredBlob),
    /// Nobody else writes it while this value lives.
    Empty(Ingest),
}

/// A blob on its way in. Dropping it leaves the partial file for the next run.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    expected: Expected,
    name: Box<str>,
    partial: Box<Path>,
    file: File,
    hasher: Hasher,
    written: u64,
    /// What of it was there before this value was made, if anything.
    kept: Option<Box<Descriptor>>,
    /// Bytes from the start whose write-back was begun.
    on_the_way: u64,
    /// Held until the rename; the kernel lets go of it when the process dies.
    lock: File,
}

impl Store {
    /// Opens the slot of a blob. `name` is the partial file's name: the digest's digits where the digest is
    /// known, else something that stands for the source (it must be a plain file name).
    ///
    /// Waits, after a note, while another process writes the same blob. Blocks: async code polls
    /// [`Store::try_begin`], so that dropping its future is enough to stop.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn begin(&self, expected: Expected, name: &str, reporter: &dyn Reporter) -> Result<Slot, StoreError> {
        if let Some(blob) = self.already_there(expected) {
            return Ok(Slot::Present(blob));
        }
        let lock = self.lock(name, reporter)?;
        self.slot(expected, name, lock)
    }

    /// As [`Store::begin`], and `None` at once when another writer is at it.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn try_begin(&self, expected: Expected, name: &str) -> Result<Option<Slot>, StoreError> {
        if let Some(blob) = self.already_there(expected) {
            return Ok(Some(Slot::Present(blob)));
        }
        let lock = self.lock_file(name)?;
        match lock.try_lock() {
            Ok(()) => self.slot(expected, name, lock).map(Some),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Whether an earlier run left bytes under this name: then [`Store::try_begin`] reads and hashes them.
    pub fn has_partial(&self, name: &str) -> bool {
        fs_err::metadata(self.partials().join(name)).is_ok_and(|partial| partial.len() > 0)
    }

    /// Takes the lock of this name, and says so when it has to wait.
    pub(super) fn lock(&self, name: &str, reporter: &dyn Reporter) -> Result<File, StoreError> {
        let file = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                reporter.report(waiting_for(name));
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(file)
    }

    fn lock_file(&self, name: &str) -> Result<File, StoreError> {
        let mut options = fs_err::OpenOptions::new();
        Ok(options.write(true).create(true).truncate(false).open(self.locks().join(name))?.into_parts().0)
    }

    fn slot(&self, expected: Expected, name: &str, lock: File) -> Result<Slot, StoreError> {
        // Whoever held the lock before us may have brought it.
        if let Some(blob) = self.already_there(expected) {
            return Ok(Slot::Present(blob));
        }
        let partial = self.partials().join(name);
        let mut options = fs_err::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&partial)?.into_parts().0;
        let mut ingest = Ingest {
            store: self.clone(),
            expected,
            name: name.into(),
            partial: partial.into(),
            file,
            hasher: Hasher::default(),
            written: 0,
            kept: None,
            on_the_way: 0,
            lock,
        };
        ingest.take_up()?;
        Ok(Slot::Empty(ingest))
    }

    fn already_there(&self, expected: Expected) -> Option<StoredBlob> {
        let digest = expected.digest?;
        let size = match expected.size {
            Some(size) => size,
            None => fs_err::metadata(self.path_of(&digest)).ok()?.len(),
        };
        self.blob(Descriptor { digest, size })
    }
}

/// Why [`Ingest::append_from`] ended early.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// Where the bytes come from.
    #[error(transparent)]
    Source(io::Error),
    /// Where they go to.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Said once before waiting for another writer.
pub(crate) fn waiting_for(name: &str) -> Event {
    Event::Note { text: format!("another ztlab is writing {name} to this store: waiting for it") }
}

impl Ingest {
    /// How many bytes are here.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What of it was there before this value was made: bytes that somebody else wrote, who may have had them from
    /// another source.
    pub fn kept(&self) -> Descriptor {
        self.kept.as_deref().copied().unwrap_or_else(|| Descriptor::of(b""))
    }

    /// What is here by now, from the first byte.
    pub fn so_far(&self) -> Descriptor {
        Descriptor { digest: self.hasher.clone().finish(), size: self.written }
    }

    /// What is expected.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] at the first byte beyond the expected length, and any I/O error.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let length = self.written + bytes.len() as u64;
        if let Some(limit) = self.expected.size.filter(|limit| length > *limit) {
            return Err(StoreError::TooLong { digest: self.label(), limit });
        }
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.written = length;
        if self.written - self.on_the_way >= WRITE_BACK_STEP {
            self.begin_write_back();
        }
        Ok(())
    }

    /// Takes everything that `read` gives until it gives nothing, and tells `took` how much came each time. `piece` is
    /// where the bytes pass through: a few 100 KiB stay in a core's own cache from the reading to the writing.
    /// After an error the value is good for [`Ingest::restart`] or to be dropped.
    ///
    /// # Errors
    /// Whose fault it is, and as for [`Ingest::append`].
    pub fn append_from(
        &mut self,
        piece: &mut [u8],
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
        mut took: impl FnMut(u64),
    ) -> Result<(), FillError> {
        loop {
            match read(piece).map_err(FillError::Source)? {
                0 => return Ok(()),
                count => {
                    self.append(&piece[..count])?;
                    took(count as u64);
                }
            }
        }
    }

    fn begin_write_back(&mut self) {
        file::begin_write_back(&self.file, self.on_the_way, self.written - self.on_the_way);
        self.on_the_way = self.written;
    }

    /// Forgets everything that is here.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Hasher::default();
        self.written = 0;
        self.kept = None;
        self.on_the_way = 0;
        Ok(())
    }

    /// Checks length and digest, syncs, and gives the blob its name: [`Ingest::check`] and
    /// [`Store::publish`] for one blob.
    ///
    /// # Errors
    /// [`StoreError::Truncated`], [`StoreError::WrongDigest`], and any I/O error.
    pub fn finish(self) -> Result<StoredBlob, StoreError> {
        let store = self.store.clone();
        store.publish_one(self.check()?)
    }

    /// Checks length and digest.
    ///
    /// A partial file that turns out wrong is removed: resuming it could never end well. One that is
    /// merely short stays.
    ///
    /// # Errors
    /// [`StoreError::Truncated`], [`StoreError::WrongDigest`], and any I/O error.
    pub fn check(mut self) -> Result<Whole, StoreError> {
        if let Some(expected) = self.expected.size.filter(|size| self.written < *size) {
            return Err(StoreError::Truncated { digest: self.label(), expected, found: self.written });
        }
        let found = std::mem::take(&mut self.hasher).finish();
        if let Some(expected) = self.expected.digest.filter(|digest| *digest != found) {
            fs_err::remove_file(&self.partial)?;
            return Err(StoreError::WrongDigest { expected, found, size: self.written });
        }
        self.begin_write_back();
        let descriptor = Descriptor { digest: found, size: self.written };
        Ok(Whole { partial: self.partial.into_path_buf(), file: self.file, descriptor, _lock: self.lock })
    }

    /// The first bytes of what is here: enough to recognise an HTML page.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn head(&mut self) -> Result<Vec<u8>, StoreError> {
        let mut head = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        (&mut self.file).take(512).read_to_end(&mut head)?;
        self.file.seek(SeekFrom::Start(self.written))?;
        Ok(head)
    }

    /// What errors call this blob.
    pub fn label(&self) -> String {
        self.expected.digest.map_or_else(|| self.name.to_string(), |digest: Digest| digest.to_string())
    }

    /// Hashes what an earlier run left. Without an expected digest nothing could prove, at the end, that
    /// the two halves belong together: then it starts over.
    fn take_up(&mut self) -> Result<(), StoreError> {
        let length = self.file.metadata()?.len();
        let too_long = self.expected.size.is_some_and(|size| length > size);
        if self.expected.digest.is_none() || too_long {
            return self.restart();
        }
        if length == 0 {
            return Ok(());
        }
        let mut piece = vec![0; PIECE];
        loop {
            let count = self.file.read(&mut piece)?;
            if count == 0 {
                self.kept = Some(Box::new(self.so_far()));
                return Ok(());
            }
            self.hasher.update(&piece[..count]);
            self.written += count as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::report::Silent;
    use proptest::prelude::*;

    fn begin(store: &Store, expected: Expected) -> Ingest {
        match store.begin(expected, "name", &Silent).unwrap() {
            Slot::Empty(ingest) => ingest,
            Slot::Present(_) => panic!("the blob is already there"),
        }
    }

    #[test]
    fn a_partial_file_is_taken_up_by_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let expected = Expected::from(Descriptor::of(b"first and second"));
        begin(&store, expected).append(b"first and ").unwrap();
        let mut ingest = begin(&store, expected);
        assert_eq!((ingest.written(), ingest.kept()), (10, Descriptor::of(b"first and ")));
        ingest.append(b"second").unwrap();
        assert_eq!((ingest.kept().size, ingest.so_far()), (10, Descriptor::of(b"first and second")));
        assert_eq!(ingest.finish().unwrap().read().unwrap(), b"first and second");
        assert!(matches!(store.begin(expected, "name", &Silent).unwrap(), Slot::Present(_)));
    }

    #[test]
    fn without_a_digest_nothing_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        begin(&store, Expected::NOTHING).append(b"stale").unwrap();
        let mut ingest = begin(&store, Expected::NOTHING);
        assert_eq!(ingest.written(), 0);
        ingest.append(b"fresh").unwrap();
        assert_eq!(ingest.finish().unwrap().descriptor(), Descriptor::of(b"fresh"));
    }

    #[test]
    fn a_reader_is_taken_whole_resumed_and_limited() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..3_000_000).map(|number| (number % 253) as u8).collect();
        let expected = Expected::from(Descriptor::of(&bytes));
        let piece = || vec![0; 100_000];
        let fill =
            |ingest: &mut Ingest, mut bytes: &[u8]| ingest.append_from(&mut piece(), |block| bytes.read(block), |_| ());
        fill(&mut begin(&store, expected), &bytes[..1_500_000]).unwrap();
        let mut ingest = begin(&store, expected);
        assert_eq!(ingest.written(), 1_500_000);
        let too_long = [&bytes[1_500_000..], b"!"].concat();
        assert!(matches!(fill(&mut ingest, &too_long), Err(FillError::Store(StoreError::TooLong { .. }))));
        ingest.restart().unwrap();
        let broken = ingest.append_from(&mut piece(), |_| Err(io::Error::other("the stick is gone")), |_| ());
        assert!(matches!(broken, Err(FillError::Source(_))));
        ingest.restart().unwrap();
        let mut reported = 0;
        let mut source = bytes.as_slice();
        ingest.append_from(&mut piece(), |block| source.read(block), |count| reported += count).unwrap();
        assert_eq!((ingest.written(), reported), (3_000_000, 3_000_000));
        assert_eq!(ingest.finish().unwrap().descriptor(), Descriptor::of(&bytes));
    }

    #[test]
    fn short_bytes_stay_partial_and_wrong_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let expected = Expected::from(Descriptor::of(b"abcdef"));
        let mut ingest = begin(&store, expected);
        ingest.append(b"abc").unwrap();
        assert!(matches!(ingest.finish().unwrap_err(), StoreError::Truncated { expected: 6, found: 3, .. }));
        let mut ingest = begin(&store, expected);
        ingest.append(b"xyz").unwrap();
        assert!(matches!(ingest.finish().unwrap_err(), StoreError::WrongDigest { .. }));
        assert_eq!(begin(&store, expected).written(), 0);
    }

    #[test]
    fn a_second_writer_waits_says_so_and_finds_the_blob() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let expected = Expected::from(Descriptor::of(b"shared"));
        let mut first = begin(&store, expected);
        let recording = crate::base::report::Recording::default();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| store.begin(expected, "name", &recording).unwrap());
            while recording.events().is_empty() {
                std::thread::yield_now();
            }
            first.append(b"shared").unwrap();
            first.finish().unwrap();
            assert!(matches!(second.join().unwrap(), Slot::Present(_)));
        });
        assert!(matches!(&recording.events()[0], Event::Note { text } if text.contains("waiting")));
    }

    proptest! {
        #[test]
        fn only_the_expected_bytes_get_a_final_name(
            wanted in proptest::collection::vec(any::<u8>(), 0..64),
            offered in proptest::collection::vec(any::<u8>(), 0..64),
            cut in 0_usize..64,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).unwrap();
            let descriptor = Descriptor::of(&wanted);
            for bytes in [offered.as_slice(), &wanted[..cut.min(wanted.len())], &[wanted.as_slice(), b"!"].concat()] {
                let mut ingest = begin(&store, descriptor.into());
                ingest.restart().unwrap();
                let taken = ingest.append(bytes).and_then(|()| ingest.finish());
                prop_assert_eq!(taken.is_ok(), bytes == wanted.as_slice());
                let present = store.present().unwrap();
                prop_assert_eq!(present.contains_key(&descriptor.digest), bytes == wanted.as_slice());
                prop_assert!(present.len() <= 1);
                store.discard(&descriptor.digest).unwrap();
            }
        }
    }
}
