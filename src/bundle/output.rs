//! Writing a bundle: to names that nobody takes for finished, synced, and then to its own.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::base::file;

use super::{
    BundleError,
    layout::BLOCK,
    parts::{MAX_PARTS, part_path, siblings},
};

/// So much is gathered before the system is asked to begin writing it to the disk: see `store::ingest`.
const WRITE_BACK_STEP: u64 = 8 * 1024 * 1024;

/// A bundle on its way to the disk. Dropped before [`Output::finish`], it leaves nothing.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    /// Length of each part but the last; `None` is one file.
    stride: Option<u64>,
    current: Option<File>,
    written: u64,
    on_the_way: u64,
    /// Finished and unfinished files under their temporary names.
    temporary: Vec<(PathBuf, PathBuf)>,
}

impl Output {
    /// `size` is the length of the whole; `split` the length of a part, rounded down so that no header is cut.
    pub(super) fn new(path: &Path, size: u64, split: Option<u64>) -> Result<Self, BundleError> {
        let stride = split.map(|split| (split / BLOCK * BLOCK).max(BLOCK));
        if let Some(stride) = stride
            && size.div_ceil(stride) > MAX_PARTS
        {
            return Err(BundleError::Split { size: stride, parts: size.div_ceil(stride) });
        }
        Ok(Self { path: path.to_owned(), stride, current: None, written: 0, on_the_way: 0, temporary: Vec::new() })
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), BundleError> {
        while !bytes.is_empty() {
            let room = self.stride.map_or(u64::MAX, |stride| stride - self.written % stride);
            let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            self.put(&bytes[..fits]).map_err(|source| self.failed(source))?;
            bytes = &bytes[fits..];
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let within = self.stride.map_or(self.written, |stride| self.written % stride);
        if within == 0 {
            self.end_file()?;
            self.current = Some(self.begin_file()?);
            self.on_the_way = 0;
        }
        let Some(file) = &mut self.current else { return Ok(()) };
        file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        let within = within + bytes.len() as u64;
        if within - self.on_the_way >= WRITE_BACK_STEP {
            file::begin_write_back(file, self.on_the_way, within - self.on_the_way);
            self.on_the_way = within;
        }
        Ok(())
    }

    fn begin_file(&mut self) -> io::Result<File> {
        let number = self.temporary.len() as u64 + 1;
        let path = self.stride.map_or_else(|| self.path.clone(), |_| part_path(&self.path, number));
        let mut temporary = OsString::from(&path);
        temporary.push(".unfinished");
        let temporary = PathBuf::from(temporary);
        // What a killed run left under this name goes.
        let file = fs_err::File::create(&temporary)?.into_parts().0;
        self.temporary.push((temporary, path));
        Ok(file)
    }

    fn end_file(&mut self) -> io::Result<()> {
        self.current.take().map_or(Ok(()), |file| file.sync_all())
    }

    /// Syncs, gives every file its name, and removes parts that an earlier, longer bundle of this name left.
    /// Returns the files.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>, BundleError> {
        self.name_all().map_err(|source| self.failed(source))
    }

    fn name_all(&mut self) -> io::Result<Vec<PathBuf>> {
        self.end_file()?;
        let mut named = Vec::new();
        for (temporary, path) in std::mem::take(&mut self.temporary) {
            fs_err::rename(temporary, &path)?;
            named.push(path);
        }
        if self.stride.is_some() {
            for (_, path) in siblings(&self.path)?.range(named.len() as u64 + 1..) {
                fs_err::remove_file(path)?;
            }
        }
        let folder = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        file::sync_folder(folder)?;
        Ok(named)
    }

    fn failed(&self, source: io::Error) -> BundleError {
        BundleError::Write { path: self.path.clone(), source }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        for (temporary, _) in &self.temporary {
            // It may be gone with its disk.
            let _ = fs_err::remove_file(temporary);
        }
    }
}
