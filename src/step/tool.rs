//! The pinned programs as files that can run.

use std::{io, path::PathBuf};

use super::{run::Install, setup::MissingEntry};
use crate::{
    base::{Descriptor, Digest, Platform},
    lockfile::Lock,
    plan::PlanError,
    store::Store,
};

/// The programs of a lab that people call themselves, under the names that the lock has for them.
pub const PROGRAMS: [&str; 3] = ["minikube", "kubectl", "istioctl"];

/// Why a pinned program cannot run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ToolError {
    /// Not in the lock.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Missing(#[from] MissingEntry),
    /// Not in the store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(#[from] PlanError),
    /// Locked, and the store does not have its bytes, or has damaged ones.
    #[error("the pinned {name} is not in the store")]
    #[diagnostic(code("tool::absent"), help("type `ztlab fetch`, or in a room `ztlab fetch --from lan`"))]
    Absent {
        /// The program.
        name: &'static str,
    },
    /// The file system says no.
    #[error("cannot make the pinned {name} executable")]
    #[diagnostic(code("tool::place"), help("look at the free space and the rights of the store's folder"))]
    Place {
        /// The program.
        name: &'static str,
        /// The reason.
        source: io::Error,
    },
}

/// The pinned program for the machine that runs ztlab, checked against its digest.
pub(super) fn program(install: &Install, name: &'static str) -> Result<PathBuf, ToolError> {
    program_of(install.complete.lock(), install.complete.store(), install.host, name)
}

/// A lock's program for a machine, checked against its digest.
///
/// It is a copy beside the store's blobs, under its digest: blobs themselves stay plain data.
///
/// # Errors
/// When the lock or the store does not have it, or it cannot be copied.
pub fn program_of(lock: &Lock, store: &Store, host: Platform, name: &'static str) -> Result<PathBuf, ToolError> {
    let member = || lock.file.values().find_map(|entry| entry.member.get(name)?.expected().complete());
    let descriptor = lock.program(name, host).or_else(member).ok_or(MissingEntry { entry: "tool", name })?;
    place(store, name, descriptor)
}

/// The bytes of a program of the node, as `kubelet`.
pub(super) fn node_program(
    install: &Install,
    name: &'static str,
    platform: Platform,
) -> Result<crate::store::StoredBlob, ToolError> {
    let descriptor = install.complete.lock().program(name, platform).ok_or(MissingEntry { entry: "tool", name })?;
    Ok(install.complete.blob(&descriptor.digest)?)
}

fn place(store: &Store, name: &'static str, descriptor: Descriptor) -> Result<PathBuf, ToolError> {
    let failed = |source| ToolError::Place { name, source };
    let path = store.root().join("ztlab/tools").join(descriptor.digest.hex()).join(name);
    let there = fs_err::metadata(&path).is_ok_and(|found| found.len() == descriptor.size);
    if there && digest_of(&path).map_err(failed)? == descriptor.digest {
        return Ok(path);
    }
    let blob = store.blob(descriptor).ok_or(ToolError::Absent { name })?;
    copy_executable(blob.path(), &path).map_err(failed)?;
    Ok(path)
}

/// Copies a file so that it appears whole and can run.
///
/// Where files can share blocks (APFS, btrfs, XFS) the copy takes no space and no time: `fs::copy` makes a clone, on a
/// Mac only when the target does not exist yet. A hard link would take none on any system, but it is the blob itself:
/// its mode would be the blob's, and whoever writes into Minikube's folder would write into the store.
pub(super) fn copy_executable(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = to.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    fs_err::create_dir_all(folder)?;
    let temporary = tempfile::Builder::new().prefix(".ztlab-").make_in(folder, |path| fs_err::copy(from, path))?;
    fs_err::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o755))?;
    temporary.into_temp_path().persist(to).map_err(|error| error.error)
}

/// The digest of a file of any length.
pub(super) fn digest_of(path: &std::path::Path) -> io::Result<Digest> {
    use std::io::Read as _;
    let mut file = fs_err::File::open(path)?;
    let mut hasher = crate::base::Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_runs_and_is_not_the_blob_itself() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (blob, copy) = (folder.path().join("blob"), folder.path().join("bin/kubelet"));
        fs_err::write(&blob, b"program").unwrap();
        let before = fs_err::metadata(&blob).unwrap();
        for _ in 0..2 {
            copy_executable(&blob, &copy).unwrap();
        }
        let (after, made) = (fs_err::metadata(&blob).unwrap(), fs_err::metadata(&copy).unwrap());
        assert_eq!(fs_err::read(&copy).unwrap(), b"program");
        assert_eq!(made.mode() & 0o777, 0o755);
        assert_ne!(made.ino(), after.ino(), "a write through the copy would damage the store");
        let stamp = |found: &std::fs::Metadata| (found.mode(), found.ctime(), found.ctime_nsec(), found.nlink());
        assert_eq!(stamp(&after), stamp(&before), "the blob was touched: the store would have to read it again");
        assert_eq!(fs_err::read_dir(copy.parent().unwrap()).unwrap().count(), 1, "something was left beside it");
    }
}
