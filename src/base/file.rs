//! Files that appear whole or not at all.

#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

/// Writes a file so that a reader, or the next run after a crash, sees the old bytes or the new ones.
///
/// Temporary file in the same folder, sync, rename, sync of the folder.
///
/// # Errors
/// Any I/O error, with its path; the destination is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut temporary = tempfile::Builder::new().prefix(".ztlab-").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary
        .persist(path)
        .map_err(|error| io::Error::new(error.error.kind(), format!("{}: {}", path.display(), error.error)))?;
    sync_folder(folder)
}

/// Asks the system to begin writing these bytes of a file to the disk, and does not wait: what is on its way
/// already need not be waited for by [`sync_together`].
///
/// Only a hint. Linux takes it (`posix_fadvise` with `POSIX_FADV_DONTNEED` begins write-back of the range, see
/// mm/fadvise.c; the pages stay readable from memory while they are written); elsewhere nothing happens and
/// the sync at the end does all the work.
pub fn begin_write_back(file: &File, from: u64, length: u64) {
    #[cfg(target_os = "linux")]
    if let Some(length) = NonZeroU64::new(length) {
        // A file system that cannot do it (EINVAL, ENOSYS) writes at the sync.
        let _ = rustix::fs::fadvise(file, from, Some(length), rustix::fs::Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from, length);
}

/// Waits until the bytes of all these files are on the disk. One result for each file, in order.
///
/// On Linux the first `fdatasync` commits the journal for all of them, the others find little left to do. On
/// a Mac `fsync` hands the bytes to the drive and one `F_FULLFSYNC` empties the drive's cache for all of them
/// (fsync(2) of macOS): asking each file for it, as [`File::sync_data`] does there, costs tens of milliseconds
/// a file.
pub fn sync_together(files: &[&File]) -> Vec<io::Result<()>> {
    #[cfg(not(target_vendor = "apple"))]
    return files.iter().map(|file| file.sync_data()).collect();
    #[cfg(target_vendor = "apple")]
    {
        use rustix::io::Errno;
        let mut results: Vec<io::Result<()>> =
            files.iter().map(|file| rustix::fs::fsync(file).map_err(io::Error::from)).collect();
        let flushed = files.last().map_or(Ok(()), |last| rustix::fs::fcntl_fullfsync(last));
        // Network file systems refuse F_FULLFSYNC; `fsync` is all there is on them.
        if let Err(errno) = flushed
            && !matches!(errno, Errno::NOTSUP | Errno::NOTTY | Errno::INVAL)
        {
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(errno.into());
            }
        }
        results
    }
}

/// Makes a rename in this folder survive a power cut.
///
/// # Errors
/// Any I/O error, with its path.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    fs_err::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_old_bytes_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.lock");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"two");
        assert_eq!(fs_err::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }
}
