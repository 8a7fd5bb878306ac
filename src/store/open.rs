//! Blobs opened to be handed on. What is vouched for is the open file, not the path: whatever takes the file's place
//! meanwhile is not what is sent.

use std::{fs::File, io, path::Path};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;

use crate::base::Descriptor;

use super::{Stamp, Store};

/// The open file of a blob whose bytes are those of its digest, as far as size, times and inode can tell.
#[derive(Debug)]
pub struct OpenBlob {
    file: File,
    stamp: Stamp,
    descriptor: Descriptor,
}

/// What opening a blob found.
#[derive(Debug)]
pub enum Opened {
    /// It is as verification left it.
    Right(OpenBlob),
    /// It was touched since: only reading it tells. See [`Store::open_touched`].
    Touched,
    /// It is not there, or was read and found wrong.
    Absent,
}

impl OpenBlob {
    /// The file, for reading at any offset.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Digest and length.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Whether nobody wrote to the file since it was opened.
    pub fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
    }
}

impl Store {
    /// Opens a blob for handing on. Costs an `open` and a `stat`, and reads nothing.
    pub fn open_blob(&self, descriptor: Descriptor) -> Opened {
        let Ok(file) = open_plain(&self.path_of(&descriptor.digest)) else { return Opened::Absent };
        let Ok(metadata) = file.metadata() else { return Opened::Absent };
        let stamp = Stamp::of(&metadata);
        if !metadata.is_file() || stamp.size != descriptor.size {
            return Opened::Absent;
        }
        match self.ledger.verdict(&descriptor.digest, &stamp) {
            Some(true) => Opened::Right(OpenBlob { file, stamp, descriptor }),
            Some(false) => Opened::Absent,
            None => Opened::Touched,
        }
    }

    /// Reads a blob that was touched, and opens it when its bytes are still its own. Blocks, as long as hashing takes.
    pub fn open_touched(&self, descriptor: Descriptor) -> Option<OpenBlob> {
        self.blob(descriptor)?;
        match self.open_blob(descriptor) {
            Opened::Right(blob) => Some(blob),
            Opened::Touched | Opened::Absent => None,
        }
    }
}

/// Opens no link, and waits for nobody at the other end of a pipe.
fn open_plain(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = fs_err::OpenOptions::new();
    let file = options.read(true).custom_flags(flags.cast_signed()).open(path)?;
    Ok(file.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Digest, report::Silent};

    #[test]
    fn only_a_blob_with_its_own_bytes_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let descriptor = store.put(b"layer", &Silent).unwrap().descriptor();
        let path = store.path_of(&descriptor.digest);
        let Opened::Right(open) = store.open_blob(descriptor) else { panic!("as it was verified") };
        assert!(open.is_unchanged());

        // Touched and still itself: read once, then believed.
        fs_err::write(&path, b"layer").unwrap();
        assert!(!open.is_unchanged());
        assert!(matches!(store.open_blob(descriptor), Opened::Touched));
        assert!(store.open_touched(descriptor).is_some());
        assert!(matches!(store.open_blob(descriptor), Opened::Right(_)));

        // Touched, and other bytes of the same length.
        fs_err::write(&path, b"LAYER").unwrap();
        assert!(store.open_touched(descriptor).is_none());
        assert!(matches!(store.open_blob(descriptor), Opened::Absent));

        fs_err::remove_file(&path).unwrap();
        assert!(matches!(store.open_blob(descriptor), Opened::Absent));
        fs_err::write(folder.path().join("elsewhere"), b"layer").unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(store.open_blob(descriptor), Opened::Absent), "a link is no blob");
        let other = Descriptor { digest: Digest::of(b"other"), size: 5 };
        assert!(matches!(store.open_blob(other), Opened::Absent));
    }
}
