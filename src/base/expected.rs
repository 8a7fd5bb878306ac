//! What is known of a blob before its bytes are here.

use serde::{Deserialize, Serialize};

use super::{Descriptor, Digest};

/// A blob's digest and size as far as they are known.
///
/// A release page may publish a digest without a size; such a digest is an expectation that the
/// bytes must meet, never a thing to overwrite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// SHA-256, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Length in bytes, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Expected {
    /// Nothing is known.
    pub const NOTHING: Self = Self { digest: None, size: None };

    /// The descriptor, once both halves are known.
    pub fn complete(&self) -> Option<Descriptor> {
        Some(Descriptor { digest: self.digest?, size: self.size? })
    }

    /// Whether these bytes may be the expected ones.
    pub fn admits(&self, found: &Descriptor) -> bool {
        self.digest.is_none_or(|digest| digest == found.digest) && self.size.is_none_or(|size| size == found.size)
    }
}

impl From<Descriptor> for Expected {
    fn from(descriptor: Descriptor) -> Self {
        Self { digest: Some(descriptor.digest), size: Some(descriptor.size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_half_decides() {
        let found = Descriptor::of(b"abc");
        assert!(Expected::NOTHING.admits(&found));
        assert!(Expected { digest: Some(found.digest), size: None }.admits(&found));
        assert!(!Expected { digest: Some(found.digest), size: Some(4) }.admits(&found));
        assert!(!Expected { digest: Some(Digest::of(b"abd")), size: None }.admits(&found));
        assert_eq!(Expected { digest: Some(found.digest), size: None }.complete(), None);
        assert_eq!(Expected::from(found).complete(), Some(found));
    }
}
