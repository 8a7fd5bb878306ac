//! The ledger: what verification found, and what the file then looked like from outside.
//!
//! ```text
//! ztlab/verified     one line per finding; the last one about a digest counts
//! <hex> <size> <modified, ns> <changed, ns> <inode> good|bad|gone <check>
//! ```
//!
//! A blob whose size, times and inode are still those of its line needs no second reading: that is why a warm
//! `fetch` costs one `stat` per blob. Whatever differs is read again. The change time is in it because a copy that
//! keeps the modification time (`cp -p`, `rsync -t`) cannot set it.
//!
//! What always holds: a `good` line was written after the bytes were hashed, synced and renamed, so a process that
//! dies in between costs one more hashing and nothing else. Lines are appended under a lock, each with a check of
//! its own; half a line at the end, as a full disk leaves it, is cut off by the next writer. Readers take no lock.

use std::{
    collections::BTreeMap,
    fs::Metadata,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::base::{Digest, file};

/// Hexadecimal digits of a line's own SHA-256 at its end: against damage, not against forgers.
const CHECK_DIGITS: usize = 8;

/// A file from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    modified: i128,
    /// Nanoseconds since 1970.
    changed: i128,
    inode: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            size: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// For what is known by its length alone.
    fn of_size(size: u64) -> Self {
        Self { size, modified: 0, changed: 0, inode: 0 }
    }
}

/// What the last reading of a blob found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Good,
    Bad,
    /// It was removed on purpose.
    Gone,
}

impl Finding {
    const ALL: [(Self, &'static str); 3] = [(Self::Good, "good"), (Self::Bad, "bad"), (Self::Gone, "gone")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(finding, _)| *finding == self).map_or("", |(_, word)| word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    stamp: Stamp,
    finding: Finding,
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    lock: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<Digest, Entry>,
    /// How much of the file is in `entries`.
    read: u64,
}

impl Ledger {
    pub(super) fn new(path: PathBuf, lock: PathBuf) -> Self {
        Self { path, lock, known: Mutex::default() }
    }

    /// Whether a file of this look holds the digest's bytes; `None` when only reading it can tell.
    pub(super) fn verdict(&self, digest: &Digest, stamp: &Stamp) -> Option<bool> {
        let mut known = self.known();
        if let Some(verdict) = known.verdict(digest, stamp) {
            return Some(verdict);
        }
        // Another process may have found out since.
        self.read_on(&mut known);
        known.verdict(digest, stamp)
    }

    /// Notes what reading found. A ledger that cannot be written costs a reading the next time, and is no error.
    pub(super) fn note(&self, digest: &Digest, stamp: Stamp, good: bool) {
        self.append(digest, Entry { stamp, finding: if good { Finding::Good } else { Finding::Bad } });
    }

    /// Notes that a blob is removed on purpose, so that nobody misses it.
    pub(super) fn forget(&self, digest: &Digest) {
        if self.expected().contains_key(digest) {
            self.append(digest, Entry { stamp: Stamp::of_size(0), finding: Finding::Gone });
        }
    }

    /// Every blob that was here and that nobody removed on purpose, with its right length where that is known.
    pub(super) fn expected(&self) -> BTreeMap<Digest, Option<u64>> {
        let mut known = self.known();
        self.read_on(&mut known);
        let here = known.entries.iter().filter(|(_, entry)| entry.finding != Finding::Gone);
        here.map(|(digest, entry)| (*digest, (entry.finding == Finding::Good).then_some(entry.stamp.size))).collect()
    }

    /// How many lines of the file are damaged.
    ///
    /// # Errors
    /// Any I/O error but an absent file, which says that nothing was verified yet.
    pub(super) fn damaged_lines(&self) -> io::Result<usize> {
        let _lock = self.exclusive()?;
        let bytes = match fs_err::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        let whole = bytes.is_empty() || bytes.ends_with(b"\n");
        let lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|byte| *byte == b'\n');
        let bad = lines.filter(|line| !bytes.is_empty() && parse(line).is_none()).count();
        // The check of a line does not cover the newline behind it.
        Ok(if whole { bad } else { bad.max(1) })
    }

    /// Writes the file anew with one line per blob: shorter, and without damaged lines.
    ///
    /// # Errors
    /// Any I/O error; the old file is then untouched.
    pub(super) fn rewrite(&self) -> io::Result<()> {
        let _lock = self.exclusive()?;
        let mut known = self.known();
        *known = Known::default();
        self.read_on(&mut known);
        known.entries.retain(|_, entry| entry.finding != Finding::Gone);
        let text: String = known.entries.iter().map(|(digest, entry)| line(digest, entry)).collect();
        file::write_atomically(&self.path, text.as_bytes())?;
        known.read = text.len() as u64;
        Ok(())
    }

    fn append(&self, digest: &Digest, entry: Entry) {
        let mut known = self.known();
        known.entries.insert(*digest, entry);
        if let Err(error) = self.write_line(&line(digest, &entry)) {
            tracing::debug!(%error, "the ledger cannot be written: the blob will be read again");
        }
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        let _lock = self.exclusive()?;
        let mut options = fs_err::OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&self.path)?;
        let end = whole_lines(&mut file)?;
        file.seek(SeekFrom::Start(end))?;
        let written = file.write_all(line.as_bytes());
        if written.is_err() {
            file.set_len(end)?;
        }
        written
    }

    /// Takes in what was appended since. What cannot be read says nothing about any blob.
    fn read_on(&self, known: &mut Known) {
        let Ok(length) = fs_err::metadata(&self.path).map(|metadata| metadata.len()) else { return };
        if length == known.read {
            return;
        }
        let Ok(bytes) = fs_err::read(&self.path) else { return };
        // A shorter file was written anew.
        let start = usize::try_from(known.read).ok().filter(|start| *start < bytes.len()).unwrap_or(0);
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
        for line in bytes.get(start..end).unwrap_or_default().split(|byte| *byte == b'\n') {
            if let Some((digest, entry)) = parse(line) {
                known.entries.insert(digest, entry);
            }
        }
        known.read = end as u64;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> io::Result<std::fs::File> {
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(&self.lock)?.into_parts().0;
        file.lock()?;
        Ok(file)
    }
}

impl Known {
    fn verdict(&self, digest: &Digest, stamp: &Stamp) -> Option<bool> {
        let entry = self.entries.get(digest).filter(|entry| entry.stamp == *stamp)?;
        match entry.finding {
            Finding::Good => Some(true),
            Finding::Bad => Some(false),
            Finding::Gone => None,
        }
    }
}

/// Where the last whole line ends.
fn whole_lines(file: &mut fs_err::File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut last = [0];
    if length == 0 {
        return Ok(0);
    }
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(length);
    }
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position as u64 + 1))
}

fn line(digest: &Digest, entry: &Entry) -> String {
    let Stamp { size, modified, changed, inode } = entry.stamp;
    let said = format!("{} {size} {modified} {changed} {inode} {}", digest.hex(), entry.finding.word());
    let check = check(&said);
    format!("{said} {check}\n")
}

fn check(said: &str) -> String {
    let mut digits = Digest::of(said.as_bytes()).hex();
    digits.truncate(CHECK_DIGITS);
    digits
}

/// The one reading of a line: whatever [`line`] would not write is damage.
fn parse(bytes: &[u8]) -> Option<(Digest, Entry)> {
    let (said, found) = std::str::from_utf8(bytes).ok()?.rsplit_once(' ')?;
    if found != check(said) {
        return None;
    }
    let mut words = said.split(' ');
    let digest = Digest::from_hex(words.next()?).ok()?;
    let stamp = Stamp {
        size: words.next()?.parse().ok()?,
        modified: words.next()?.parse().ok()?,
        changed: words.next()?.parse().ok()?,
        inode: words.next()?.parse().ok()?,
    };
    let word = words.next()?;
    let (finding, _) = Finding::ALL.into_iter().find(|(_, name)| *name == word)?;
    words.next().is_none().then_some((digest, Entry { stamp, finding }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ledger(folder: &tempfile::TempDir) -> Ledger {
        Ledger::new(folder.path().join("verified"), folder.path().join("lock"))
    }

    fn stamp(number: u64) -> Stamp {
        Stamp { size: number, modified: i128::from(number) * 7 - 3, changed: 5, inode: number + 1 }
    }

    #[test]
    fn another_process_learns_what_this_one_found() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (ledger(&folder), ledger(&folder));
        let digest = Digest::of(b"blob");
        assert_eq!(other.verdict(&digest, &stamp(1)), None);
        one.note(&digest, stamp(1), true);
        assert_eq!(other.verdict(&digest, &stamp(1)), Some(true));
        assert_eq!(other.verdict(&digest, &stamp(2)), None, "a file that looks different has to be read");
        one.note(&digest, stamp(1), false);
        assert_eq!(ledger(&folder).verdict(&digest, &stamp(1)), Some(false));
        one.rewrite().unwrap();
        assert_eq!(ledger(&folder).verdict(&digest, &stamp(1)), Some(false));
        assert_eq!(other.expected(), BTreeMap::from([(digest, None)]));
        one.forget(&digest);
        assert_eq!(other.expected(), BTreeMap::new());
    }

    #[test]
    fn half_a_line_says_nothing_and_the_next_writer_cuts_it_off() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
        ledger(&folder).note(&first, stamp(1), true);
        let whole = fs_err::read(folder.path().join("verified")).unwrap();
        fs_err::write(folder.path().join("verified"), [&whole[..], &whole[..40]].concat()).unwrap();
        let reader = ledger(&folder);
        assert_eq!(reader.verdict(&first, &stamp(1)), Some(true));
        assert_eq!(reader.damaged_lines().unwrap(), 1);
        reader.note(&second, stamp(2), true);
        assert_eq!(ledger(&folder).damaged_lines().unwrap(), 0);
        assert_eq!(ledger(&folder).verdict(&second, &stamp(2)), Some(true));
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_vouches_for_another_file_and_is_named(
            at in 0_usize..10_000, bit in 0_u8..8, kind in 0_u8..3,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let writer = ledger(&folder);
            let digests: Vec<Digest> = (0_u8..3).map(|number| Digest::of(&[number])).collect();
            for (number, digest) in (1_u64..).zip(&digests) {
                writer.note(digest, stamp(number), true);
            }
            let path = folder.path().join("verified");
            let mut bytes = fs_err::read(&path).unwrap();
            let at = at % bytes.len();
            match kind {
                0 => bytes[at] ^= 1 << bit,
                1 => _ = bytes.remove(at),
                _ => bytes.insert(at, bit),
            }
            fs_err::write(&path, &bytes).unwrap();
            let reader = ledger(&folder);
            prop_assert!(reader.damaged_lines().unwrap() > 0);
            for (number, digest) in (1_u64..).zip(&digests) {
                for other in 0..5 {
                    let verdict = reader.verdict(digest, &stamp(other));
                    prop_assert!(verdict.is_none() || (verdict == Some(true) && other == number));
                }
            }
            reader.rewrite().unwrap();
            prop_assert_eq!(ledger(&folder).damaged_lines().unwrap(), 0);
        }
    }
}
