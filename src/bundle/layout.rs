//! Where each byte of a bundle is: a function of its head alone. So a reader derives every header and every padding
//! byte and compares; nothing of what a tar can express beyond that (links, long names, holes) is ever interpreted.

use crate::base::Descriptor;

use super::{Head, Program};

/// Block size of a tar (POSIX.1-1988, ustar).
pub(super) const BLOCK: u64 = 512;
/// A tar ends with two blocks of zeros.
pub(super) const END: u64 = 2 * BLOCK;

/// Names of the members that are no blobs.
pub(super) const HEAD: &str = "ztlab/bundle.json";
pub(super) const OCI_LAYOUT: &str = "oci-layout";
pub(super) const INDEX: &str = "index.json";
/// OCI image-spec v1.1, image-layout.md.
pub(super) const OCI_LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A file that is data.
const PLAIN: u32 = 0o644;
/// A file that runs.
const RUNS: u32 = 0o755;

/// One file of the tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path.
    pub name: String,
    /// Its bytes.
    pub descriptor: Descriptor,
    /// Where its header begins.
    pub(super) at: u64,
    mode: u32,
}

impl Member {
    fn new(name: String, descriptor: Descriptor, mode: u32) -> Self {
        Self { name, descriptor, at: 0, mode }
    }

    /// Where its bytes begin.
    pub(super) fn data_at(&self) -> u64 {
        self.at + BLOCK
    }

    /// Zeros behind its bytes.
    pub(super) fn padding(&self) -> u64 {
        self.descriptor.size.next_multiple_of(BLOCK) - self.descriptor.size
    }

    /// Where the next member begins.
    fn end(&self) -> u64 {
        self.data_at() + self.descriptor.size + self.padding()
    }

    /// Its header, every byte of it.
    pub(super) fn header(&self) -> [u8; BLOCK as usize] {
        header(&self.name, self.descriptor.size, self.mode)
    }
}

/// A header without owner, group or time.
fn header(name: &str, size: u64, mode: u32) -> [u8; BLOCK as usize] {
    let mut header = tar::Header::new_ustar();
    // Our own names: a fixed word or a digest, all shorter than the 100 bytes of the field.
    let named = header.set_path(name);
    debug_assert!(named.is_ok(), "{name}");
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}

/// The header of the head itself.
pub(super) fn head_header(size: u64) -> [u8; BLOCK as usize] {
    header(HEAD, size, PLAIN)
}

/// All members in their order, with their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The head first; the blobs last, by digest.
    pub members: Vec<Member>,
    /// Length of the whole tar in bytes.
    pub size: u64,
}

impl Layout {
    /// The layout that this head, written as `text`, has.
    pub(super) fn new(head: &Head, text: &[u8]) -> Self {
        let plain = |name: &str, descriptor| Member::new(name.to_owned(), descriptor, PLAIN);
        let first = [
            plain(HEAD, Descriptor::of(text)),
            plain(OCI_LAYOUT, Descriptor::of(OCI_LAYOUT_TEXT)),
            plain(INDEX, head.index),
        ];
        let programs = head.programs.iter().map(|program| Member::new(program.name(), program.file, RUNS));
        let blobs = head.blobs.iter().map(|blob| plain(&blob_name(blob), *blob));
        let mut members: Vec<Member> = first.into_iter().chain(programs).chain(blobs).collect();
        let mut at = 0;
        for member in &mut members {
            member.at = at;
            at = member.end();
        }
        Self { members, size: at + END }
    }
}

impl Program {
    /// The name of the member and of the file that it is unpacked to.
    pub fn name(&self) -> String {
        format!("ztlab-{}", self.platform)
    }
}

pub(super) fn blob_name(blob: &Descriptor) -> String {
    format!("blobs/sha256/{}", blob.digest.hex())
}
