//! A bundle on the disk: one file, or parts `FILE.001`, `FILE.002`, …, which are the same bytes cut at equal lengths
//! (`cat FILE.*` puts them together). Each part's place follows from its number and the first part's length.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{
    BundleError,
    layout::{BLOCK, HEAD, Layout},
};

/// Digits of a part's number.
const DIGITS: usize = 3;
/// So many parts at most: what the digits can count.
pub(super) const MAX_PARTS: u64 = 999;
/// So much of two parts is compared to find a part that was copied under two names.
const GLANCE: usize = 64 * 1024;

/// A bundle that can be read anywhere.
#[derive(Debug)]
pub(super) struct Source {
    /// By number, from 1. A bundle in one file is part 1 of 1.
    parts: BTreeMap<u64, Part>,
    /// Whether it is one file, without a number in its name.
    single: bool,
    /// The path without number.
    base: PathBuf,
}

#[derive(Debug)]
struct Part {
    file: File,
    length: u64,
}

impl Source {
    /// Opens a file, the first of several parts, or the one bundle in a folder.
    pub(super) fn open(path: &Path) -> Result<Self, BundleError> {
        let none = |problem: String| BundleError::None { path: path.to_owned(), problem };
        let metadata = fs_err::metadata(path).map_err(|error| none(error.to_string()))?;
        let path = if metadata.is_dir() { only_one(path)? } else { path.to_owned() };
        match numbered(&path) {
            Some((base, 1)) => Self::open_parts(base),
            Some((base, number)) if part_path(&base, 1).is_file() => {
                Err(none(format!("it is part {number}; the first is {}", part_path(&base, 1).display())))
            }
            Some((base, number)) if is_bundle(&path) == Some(false) => {
                let problem = format!("it looks like part {number}, and {} is missing", part_path(&base, 1).display());
                Err(BundleError::Parts { problems: vec![problem] })
            }
            _ => {
                let part = Part::open(&path)?;
                Ok(Self { parts: BTreeMap::from([(1, part)]), single: true, base: path })
            }
        }
    }

    fn open_parts(base: PathBuf) -> Result<Self, BundleError> {
        let mut parts = BTreeMap::new();
        for (number, path) in siblings(&base).map_err(BundleError::Read)? {
            parts.insert(number, Part::open(&path)?);
        }
        let source = Self { parts, single: false, base };
        // The first part's length says where all others belong.
        let stride = source.stride();
        if let Some((number, longer)) = source.parts.iter().find(|(_, part)| part.length > stride) {
            let problem = format!(
                "{} has {stride} bytes and {} has {}: the first was cut off, or they are of two bundles",
                source.name(1),
                source.name(*number),
                longer.length
            );
            return Err(BundleError::Parts { problems: vec![problem] });
        }
        Ok(source)
    }

    /// All bytes that are here.
    pub(super) fn size(&self) -> u64 {
        self.parts.values().map(|part| part.length).sum()
    }

    /// Length of each part but the last.
    fn stride(&self) -> u64 {
        self.parts.get(&1).map_or(1, |part| part.length.max(1))
    }

    /// Reads at a place; fewer bytes than asked for at the end of a part, none at the end of all.
    pub(super) fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let (number, within) = if self.single { (1, at) } else { (at / self.stride() + 1, at % self.stride()) };
        match self.parts.get(&number) {
            Some(part) => part.file.read_at(bytes, within),
            None => Ok(0),
        }
    }

    /// Fills the buffer, or says where the bytes end.
    pub(super) fn read_exact_at(&self, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.read_at(bytes, at)? {
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends at byte {at}"))),
                count => {
                    bytes = &mut bytes[count..];
                    at += count as u64;
                }
            }
        }
        Ok(())
    }

    /// Names of the parts that hold these bytes; none for a bundle in one file.
    pub(super) fn holding(&self, from: u64, to: u64) -> Vec<String> {
        if self.single {
            return Vec::new();
        }
        let (first, last) = (from / self.stride() + 1, to.saturating_sub(1).max(from) / self.stride() + 1);
        (first..=last).map(|number| self.name(number)).collect()
    }

    fn name(&self, number: u64) -> String {
        let path = part_path(&self.base, number);
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether it is in several files.
    pub(super) fn is_split(&self) -> bool {
        !self.single
    }

    /// How many parts there are.
    pub(super) fn count(&self) -> usize {
        self.parts.len()
    }

    /// Looks whether the parts are all there and belong where their numbers put them, without reading them.
    pub(super) fn check_parts(&self, layout: &Layout) -> Result<(), BundleError> {
        let stride = self.stride();
        let count = layout.size.div_ceil(stride);
        let mut problems = Vec::new();
        for number in 1..=count.min(MAX_PARTS) {
            let start = (number - 1) * stride;
            let length = stride.min(layout.size - start);
            match self.parts.get(&number) {
                None => problems.push(format!("{} is missing (part {number} of {count})", self.name(number))),
                Some(part) if part.length != length => problems.push(format!(
                    "{} has {} bytes, expected {length}: it was cut off, or is of another bundle",
                    self.name(number),
                    part.length
                )),
                Some(_) => problems.extend(self.misplaced(number, start, start + length, layout)?),
            }
        }
        let foreign = self.parts.keys().filter(|number| **number > count);
        problems.extend(
            foreign
                .map(|number| format!("{} belongs to another bundle: this one has {count} parts", self.name(*number))),
        );
        if problems.is_empty() { Ok(()) } else { Err(BundleError::Parts { problems }) }
    }

    /// A part says where it belongs by the first header in it.
    fn misplaced(&self, number: u64, start: u64, end: u64, layout: &Layout) -> Result<Option<String>, BundleError> {
        let copied = || {
            let others = self.parts.keys().filter(|other| **other < number);
            others.copied().find(|other| self.begins_as(*other, number))
        };
        let copy_of = |other| {
            format!("{} has the bytes of {}: it is a copy under another name", self.name(number), self.name(other))
        };
        let Some(member) = layout.members.iter().find(|member| member.at >= start && member.data_at() <= end) else {
            return Ok(copied().map(copy_of));
        };
        let mut found = [0; BLOCK as usize];
        self.read_exact_at(&mut found, member.at).map_err(BundleError::Read)?;
        if found == member.header() {
            return Ok(None);
        }
        Ok(Some(match copied() {
            Some(other) => copy_of(other),
            None => format!(
                "{} is of another bundle, or damaged: at byte {} it has no header of {}",
                self.name(number),
                member.at - start,
                member.name
            ),
        }))
    }

    /// Whether two parts have the same beginning, and not only zeros.
    fn begins_as(&self, one: u64, other: u64) -> bool {
        let glance = |number: &u64| {
            let mut bytes = vec![0; GLANCE];
            let count = self.parts.get(number).and_then(|part| part.file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
            bytes.truncate(count);
            bytes
        };
        let (one, other) = (glance(&one), glance(&other));
        one == other && one.iter().any(|byte| Some(byte) != one.first())
    }
}

impl Part {
    fn open(path: &Path) -> Result<Self, BundleError> {
        let file = fs_err::File::open(path).map_err(BundleError::Read)?;
        let metadata = file.metadata().map_err(BundleError::Read)?;
        if !metadata.is_file() {
            return Err(BundleError::None { path: path.to_owned(), problem: "it is no plain file".to_owned() });
        }
        Ok(Self { length: metadata.len(), file: file.into_parts().0 })
    }
}

/// Whether a file begins as a bundle does; `None` when it cannot be read.
pub fn is_bundle(path: &Path) -> Option<bool> {
    let file = fs_err::File::open(path).ok()?;
    let mut found = [0; HEAD.len() + 1];
    let whole = file.file().read_at(&mut found, 0).ok()? == found.len();
    Some(whole && found.starts_with(HEAD.as_bytes()) && found.ends_with(&[0]))
}

/// The one bundle of a folder: a stick has other files too.
fn only_one(folder: &Path) -> Result<PathBuf, BundleError> {
    let none = |problem: String| BundleError::None { path: folder.to_owned(), problem };
    let mut found: Vec<PathBuf> = fs_err::read_dir(folder)
        .map_err(BundleError::Read)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && is_bundle(path) == Some(true))
        .collect();
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(none("no file in this folder begins as one".to_owned())),
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(none(format!("this folder has several, name one of them: {}", names.join(", "))))
        }
    }
}

/// `FILE.003` is part 3 of `FILE`.
fn numbered(path: &Path) -> Option<(PathBuf, u64)> {
    let digits = path.extension()?.to_str().filter(|digits| digits.len() == DIGITS)?;
    let number = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((path.with_extension(""), number)).filter(|(_, number)| *number > 0)
}

/// The path of a part.
pub(super) fn part_path(base: &Path, number: u64) -> PathBuf {
    let mut path = OsString::from(base);
    path.push(format!(".{number:0DIGITS$}"));
    PathBuf::from(path)
}

/// Every part beside this one, by number.
pub(super) fn siblings(base: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let folder = base.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut parts = BTreeMap::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if let Some((of, number)) = numbered(&path)
            && of.file_name() == base.file_name()
        {
            parts.insert(number, path);
        }
    }
    Ok(parts)
}
