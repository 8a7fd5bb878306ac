//! The canonical hash of an app's files: what goes into the image, and nothing of the machine it lies on.
//!
//! One line per file, sorted by name: mode (`0644`, or `0755` when the owner may execute it), SHA-256 of the
//! bytes, name. The hash is the SHA-256 of these lines. Owner, time and the folder's place do not count.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    base::{Digest, Hasher},
    intent::{AppRequest, Intent},
};

/// A file of an app that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SourceError {
    /// It cannot be read.
    #[error("a file of app.{app} cannot be read")]
    #[diagnostic(
        code(lock::source),
        help("the app's `path` and `files` in lock/ztlab.toml name it: correct them, or bring the file back")
    )]
    Unreadable {
        /// The app.
        app: String,
        /// The cause, with the path.
        #[source]
        source: std::io::Error,
    },
    /// A link could point out of the lab, and a folder has no bytes.
    #[error("{path} of app.{app} is no regular file")]
    #[diagnostic(
        code(lock::source),
        help("name every file itself in lock/ztlab.toml: links and folders are not followed")
    )]
    NotAFile {
        /// The app.
        app: String,
        /// The path.
        path: String,
    },
}

/// The hash of every app's files. `lab` is the folder that holds `lock/`.
///
/// # Errors
/// When a named file is absent or no regular file.
pub fn source_digests(lab: &Path, intent: &Intent) -> Result<BTreeMap<String, Digest>, SourceError> {
    intent.app.iter().map(|(name, app)| Ok((name.clone(), source_digest(lab, name, app)?))).collect()
}

/// The hash of one app's files.
///
/// # Errors
/// When a named file is absent or no regular file.
pub fn source_digest(lab: &Path, name: &str, app: &AppRequest) -> Result<Digest, SourceError> {
    Ok(read_sources(lab, name, app)?.digest)
}

/// An app's files as they were at one moment, and their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// What the lock calls `source`.
    pub digest: Digest,
    /// By their names in the app's folder.
    pub files: BTreeMap<String, SourceFile>,
}

/// One file of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// Reads one app's files, each of them once: what is hashed is what is built.
///
/// # Errors
/// When a named file is absent or no regular file.
pub fn read_sources(lab: &Path, name: &str, app: &AppRequest) -> Result<Sources, SourceError> {
    let folder = lab.join(&app.path);
    let mut tree = Hasher::default();
    let mut files = BTreeMap::new();
    for file in app.files.keys() {
        let path = folder.join(file);
        let unreadable = |source| SourceError::Unreadable { app: name.to_owned(), source };
        let metadata = fs_err::symlink_metadata(&path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(SourceError::NotAFile { app: name.to_owned(), path: path.display().to_string() });
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let mode = if executable { "0755" } else { "0644" };
        let content = fs_err::read(&path).map_err(unreadable)?;
        tree.update(format!("{mode} {} {file}\n", Digest::of(&content)).as_bytes());
        files.insert(file.clone(), SourceFile { content, executable });
    }
    Ok(Sources { digest: tree.finish(), files })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(files: &[&str]) -> AppRequest {
        AppRequest {
            path: "app/a".to_owned(),
            base: "image.b".to_owned(),
            reference: "docker.io/library/a:1".to_owned(),
            wheels: Vec::new(),
            files: files.iter().map(|file| ((*file).to_owned(), format!("/app/{file}"))).collect(),
            command: Vec::new(),
            user: String::new(),
            workdir: String::new(),
            env: BTreeMap::new(),
            ports: Vec::new(),
            labels: BTreeMap::new(),
        }
    }

    fn lab(files: &[(&str, &str)]) -> tempfile::TempDir {
        let lab = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(lab.path().join("app/a")).unwrap();
        for (name, text) in files {
            fs_err::write(lab.path().join("app/a").join(name), text).unwrap();
        }
        lab
    }

    #[test]
    fn only_named_files_their_bytes_and_execute_bits_count() {
        let one = lab(&[("a.py", "1"), ("b.py", "2"), ("README", "x")]);
        let other = lab(&[("b.py", "2"), ("a.py", "1")]);
        let hash = |lab: &tempfile::TempDir| source_digest(lab.path(), "a", &app(&["a.py", "b.py"])).unwrap();
        assert_eq!(hash(&one), hash(&other));
        let before = hash(&one);
        let path = one.path().join("app/a/a.py");
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(hash(&one), before);
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(hash(&one), before);
        fs_err::write(other.path().join("app/a/a.py"), "3").unwrap();
        assert_ne!(hash(&other), before);
    }

    #[test]
    fn a_link_is_refused_and_an_absent_file_named() {
        let lab = lab(&[("a.py", "1")]);
        std::os::unix::fs::symlink("/etc/passwd", lab.path().join("app/a/b.py")).unwrap();
        let error = |file| source_digest(lab.path(), "a", &app(&[file])).unwrap_err();
        assert!(matches!(error("b.py"), SourceError::NotAFile { .. }));
        assert!(matches!(error("c.py"), SourceError::Unreadable { .. }));
    }
}
