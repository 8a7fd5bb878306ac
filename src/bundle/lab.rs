//! The lab's folder in a bundle: which files go in, and how they come out again.

use std::{
    collections::BTreeSet,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::base::{Descriptor, file};

use super::{BundleError, LabFile};

/// What a lab's folder is made of.
const FOLDERS: [&str; 4] = ["app", "istio", "lock", "manifests"];
/// The lock and what it was made from. The lock is written last: a folder without it is no lab yet.
pub const LOCK: &str = "lock/ztlab.lock";
pub(super) const INTENT: &str = "lock/ztlab.toml";
/// A lab's files are text that people write; all of them are in memory once.
pub(super) const MAX_FILE: u64 = 4 * 1024 * 1024;
/// And so many bytes all together.
pub(super) const MAX_FILES: u64 = 16 * 1024 * 1024;
/// Every file system takes a path of this length.
const MAX_PATH: usize = 200;

/// A file of the lab, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabFileBytes {
    /// Its place and digest.
    pub entry: LabFile,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Reads everything that belongs to a lab. What editors and systems leave behind (names with a leading dot or a
/// trailing tilde, Python's caches) stays here, `.dockerignore` goes along.
///
/// # Errors
/// A link, a device, an odd name, too many bytes.
pub fn read_lab(folder: &Path) -> Result<Vec<LabFileBytes>, BundleError> {
    let mut files = Vec::new();
    let mut folders: Vec<String> = FOLDERS.iter().map(|name| (*name).to_owned()).collect();
    let mut total = 0;
    while let Some(below) = folders.pop() {
        let place = folder.join(&below);
        if !place.is_dir() {
            continue;
        }
        for entry in fs_err::read_dir(&place).map_err(|error| unreadable(&place, &error))? {
            let entry = entry.map_err(|error| unreadable(&place, &error))?;
            let refuse = |problem: &str| BundleError::File { path: entry.path(), problem: problem.to_owned() };
            let name = entry.file_name().into_string().map_err(|_| refuse("its name is no text"))?;
            if stays(&name) {
                continue;
            }
            let path = format!("{below}/{name}");
            let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), &error))?;
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            if !kind.is_file() {
                return Err(refuse("it is a link or a device"));
            }
            if let Some(problem) = path_problem(&path) {
                return Err(refuse(problem));
            }
            let bytes = read_limited(&entry.path(), refuse)?;
            total += bytes.len() as u64;
            if total > MAX_FILES {
                return Err(refuse("with it, the lab's own files have more than 16 MiB"));
            }
            files.push(LabFileBytes { entry: LabFile { path, file: Descriptor::of(&bytes) }, bytes });
        }
    }
    files.sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
    Ok(files)
}

fn read_limited(path: &Path, refuse: impl Fn(&str) -> BundleError) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_FILE { Err(refuse("it has more than 4 MiB")) } else { Ok(bytes) }
}

fn unreadable(path: &Path, error: &std::io::Error) -> BundleError {
    BundleError::File { path: path.to_owned(), problem: error.to_string() }
}

/// What is nobody's work.
fn stays(name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".dockerignore";
    hidden || name.ends_with('~') || name == "__pycache__" || name.ends_with(".pyc")
}

/// Why no lab has a file of this path; the same rule on the way in and out.
pub(super) fn path_problem(path: &str) -> Option<&'static str> {
    let words: Vec<&str> = path.split('/').collect();
    let plain = |word: &&str| {
        !word.is_empty()
            && !matches!(*word, "." | "..")
            && !stays(word)
            && !word.chars().any(|letter| letter.is_control() || matches!(letter, '\\' | ':'))
    };
    if words.len() < 2 || !FOLDERS.contains(&words[0]) {
        Some("it is not below lock/, manifests/, istio/ or app/")
    } else if !words.iter().all(plain) {
        Some("its name is not plain")
    } else if path.len() > MAX_PATH {
        Some("its path is too long for some file systems")
    } else {
        None
    }
}

/// Why these files cannot be a lab.
pub(super) fn files_problem(files: &[LabFile]) -> Option<String> {
    let mut names = BTreeSet::new();
    for LabFile { path, file } in files {
        if let Some(problem) = path_problem(path) {
            return Some(format!("`{}`: {problem}", path.escape_debug()));
        }
        // A Mac's file system takes both for one.
        if !names.insert(path.to_lowercase()) {
            return Some(format!("`{path}` is there twice"));
        }
        if file.size > MAX_FILE {
            return Some(format!("`{path}` has {} bytes", file.size));
        }
    }
    let total = files.iter().map(|entry| entry.file.size).fold(0, u64::saturating_add);
    let missing = [LOCK, INTENT].into_iter().find(|wanted| files.iter().all(|entry| entry.path != *wanted));
    match missing {
        _ if total > MAX_FILES => Some(format!("the lab's own files have {total} bytes")),
        Some(missing) => Some(format!("{missing} is not in it")),
        None => None,
    }
}

/// What writing a lab's folder did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that were not there.
    pub new: usize,
    /// Files that had other bytes.
    pub replaced: Vec<String>,
}

/// Looks whether a lab's folder can be written without overwriting anybody's work.
///
/// # Errors
/// [`BundleError::Differs`] when a file is there with other bytes.
pub fn look_at_lab(folder: &Path, files: &[LabFileBytes]) -> Result<(), BundleError> {
    let (_, Written { replaced, .. }) = compare(folder, files);
    if replaced.is_empty() { Ok(()) } else { Err(BundleError::Differs { folder: folder.to_owned(), paths: replaced }) }
}

/// Writes a lab's folder, each file whole or not at all, the lock last. Files that are there with these bytes stay
/// untouched; others are never removed.
///
/// # Errors
/// As [`look_at_lab`] unless `replace` is set, before anything is written; I/O errors.
pub fn write_lab(folder: &Path, files: &[LabFileBytes], replace: bool) -> Result<Written, BundleError> {
    if !replace {
        look_at_lab(folder, files)?;
    }
    let (mut todo, written) = compare(folder, files);
    todo.sort_by_key(|(_, file)| file.entry.path == LOCK);
    for (path, bytes) in todo {
        let failed = |source| BundleError::LabWrite { folder: folder.to_owned(), source };
        file::write_atomically(&path, &bytes.bytes).map_err(failed)?;
    }
    Ok(written)
}

/// The files that are not there as they should be, and what writing them would do.
fn compare<'a>(folder: &Path, files: &'a [LabFileBytes]) -> (Vec<(PathBuf, &'a LabFileBytes)>, Written) {
    let mut written = Written::default();
    let mut todo = Vec::new();
    for file in files {
        let path = folder.join(&file.entry.path);
        match fs_err::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && same(&path, &file.bytes) => continue,
            Ok(_) => written.replaced.push(file.entry.path.clone()),
            Err(_) => written.new += 1,
        }
        todo.push((path, file));
    }
    (todo, written)
}

fn same(path: &Path, bytes: &[u8]) -> bool {
    fs_err::metadata(path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64)
        && fs_err::read(path).is_ok_and(|found| found == bytes)
}
