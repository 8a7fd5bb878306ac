//! A blob's name and length, as the OCI image specification pairs them.

use serde::{Deserialize, Serialize};

use super::Digest;

/// Digest and size of a blob (OCI image-spec v1.1, descriptor.md), without its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
}

impl Descriptor {
    /// Describes bytes that are in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}
