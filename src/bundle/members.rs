//! The members of an open bundle: read, and compared with what each has to be.

use std::{collections::BTreeMap, io};

use crate::base::{Descriptor, Digest, Hasher};

use super::{
    BundleError, Member,
    layout::{self, BLOCK, END, Layout},
    parts::Source,
};

/// Read size where no other thread writes.
const PIECE: usize = 512 * 1024;

/// Where the bytes are, and where each member is in them.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) source: Source,
    pub(super) layout: Layout,
    /// What people call the blobs; empty until the lock is read.
    pub(super) labels: BTreeMap<Digest, String>,
}

impl Members {
    /// The member of this blob.
    pub(super) fn member(&self, blob: Descriptor) -> Option<&Member> {
        let name = layout::blob_name(&blob);
        self.layout.members.iter().find(|member| member.descriptor == blob && member.name == name)
    }

    /// What people call a member.
    pub(super) fn label(&self, member: &Member) -> String {
        self.labels.get(&member.descriptor.digest).unwrap_or(&member.name).clone()
    }

    /// The bytes of a member from `skip` on. Not checked: whoever takes them compares their digest.
    pub(super) fn reader<'a>(
        &'a self,
        member: &Member,
        skip: u64,
    ) -> impl FnMut(&mut [u8]) -> io::Result<usize> + use<'a> {
        let mut at = member.data_at() + skip;
        let end = member.data_at() + member.descriptor.size;
        move |bytes: &mut [u8]| {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
            let mut count = 0;
            // Whole blocks over the seam of two parts.
            while count < wanted {
                match self.source.read_at(&mut bytes[count..wanted], at)? {
                    0 => break,
                    more => {
                        count += more;
                        at += more as u64;
                    }
                }
            }
            Ok(count)
        }
    }

    /// Hashes a member as it is read.
    ///
    /// # Errors
    /// When its bytes are others, its header or padding are.
    pub(super) fn check_member(&self, member: &Member, mut took: impl FnMut(u64)) -> Result<(), BundleError> {
        self.check_frame(member)?;
        let (mut read, mut hasher, mut count) = (self.reader(member, 0), Hasher::default(), 0);
        let mut piece = vec![0; usize::try_from(member.descriptor.size).unwrap_or(PIECE).clamp(1, PIECE)];
        loop {
            match read(&mut piece).map_err(BundleError::Read)? {
                0 => break,
                more => {
                    hasher.update(&piece[..more]);
                    count += more as u64;
                    took(more as u64);
                }
            }
        }
        let found = Descriptor { digest: hasher.finish(), size: count };
        if found == member.descriptor { Ok(()) } else { Err(self.damaged(member, found)) }
    }

    /// The error of a member with other bytes.
    pub(super) fn damaged(&self, member: &Member, found: Descriptor) -> BundleError {
        let said = |descriptor: Descriptor| format!("{} ({} bytes)", descriptor.digest, descriptor.size);
        let label = self.labels.get(&member.descriptor.digest).map(|label| format!(" ({label})"));
        self.error(member, label.as_deref().unwrap_or_default(), said(member.descriptor), said(found))
    }

    pub(super) fn error(&self, member: &Member, what: &str, expected: String, found: String) -> BundleError {
        let end = member.data_at() + member.descriptor.size + member.padding();
        let parts = self.source.holding(member.at, end);
        BundleError::Member { member: format!("{}{what}", member.name), expected, found, parts }
    }

    /// Compares a member's header and padding with what they have to be.
    pub(super) fn check_frame(&self, member: &Member) -> Result<(), BundleError> {
        let mut found = [0; BLOCK as usize];
        self.source.read_exact_at(&mut found, member.at).map_err(BundleError::Read)?;
        self.compare(member, "'s header", &member.header(), &found)?;
        let padding = usize::try_from(member.padding()).unwrap_or_default();
        let found = &mut found[..padding];
        self.source.read_exact_at(found, member.data_at() + member.descriptor.size).map_err(BundleError::Read)?;
        self.compare(member, "'s padding", &[0; BLOCK as usize][..padding], found)
    }

    /// Compares the end of the tar with what it has to be.
    pub(super) fn check_end(&self) -> Result<(), BundleError> {
        let mut found = [0; END as usize];
        self.source.read_exact_at(&mut found, self.layout.size - END).map_err(BundleError::Read)?;
        let Some(last) = self.layout.members.last() else { return Ok(()) };
        self.compare(last, "'s successor, the end of the bundle,", &[0; END as usize], &found)
    }

    fn compare(&self, member: &Member, what: &str, expected: &[u8], found: &[u8]) -> Result<(), BundleError> {
        let Some(at) = expected.iter().zip(found).position(|(one, other)| one != other) else { return Ok(()) };
        let said = |bytes: &[u8]| format!("{:#04x} at byte {at}", bytes[at]);
        Err(self.error(member, what, said(expected), said(found)))
    }
}
