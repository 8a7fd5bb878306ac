//! What a laptop that shares and the room's server say to each other: one question with its answer, as JSON. Both know
//! the lock, so a blob is a number: its place in the sorted list of the lab's digests.

use std::{collections::BTreeSet, net::SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    base::{Descriptor, Digest},
    lockfile::Lock,
};

/// Where the question is asked, by POST.
pub const PEERS: &str = "/peers";
/// Blobs of a lab that can be named; a lab has a few hundred.
const MOST_BLOBS: usize = 8192;

/// The blobs of a lab in the order that gives them their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobOrder(Vec<Descriptor>);

impl BlobOrder {
    /// Every blob that the lock names, by digest.
    pub fn of(lock: &Lock) -> Self {
        let named = lock.artifacts().into_iter().flat_map(|artifact| artifact.blobs);
        let blobs: BTreeSet<Descriptor> = named.map(|blob| blob.descriptor).collect();
        let mut blobs: Vec<Descriptor> = blobs.into_iter().collect();
        blobs.sort_by_key(|blob| blob.digest);
        Self(blobs)
    }

    /// The blobs, each at its place.
    pub fn blobs(&self) -> &[Descriptor] {
        &self.0
    }

    /// These of them, as numbers; others are left out.
    pub fn set(&self, digests: impl IntoIterator<Item = Digest>) -> BlobSet {
        let mut set = BlobSet::default();
        for digest in digests {
            if let Ok(place) = self.0.binary_search_by_key(&digest, |blob| blob.digest) {
                set.insert(place);
            }
        }
        set
    }

    /// What these numbers stand for.
    pub fn digests(&self, set: &BlobSet) -> BTreeSet<Digest> {
        set.places().filter_map(|place| Some(self.0.get(place)?.digest)).collect()
    }
}

/// Some of a lab's blobs. As text: a bit each, eight to a byte from the lowest, in hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobSet(Vec<u8>);

impl BlobSet {
    /// Adds the blob of this number.
    pub fn insert(&mut self, place: usize) {
        if place < MOST_BLOBS {
            if self.0.len() <= place / 8 {
                self.0.resize(place / 8 + 1, 0);
            }
            self.0[place / 8] |= 1 << (place % 8);
        }
    }

    /// Whether the blob of this number is one of them.
    pub fn contains(&self, place: usize) -> bool {
        self.0.get(place / 8).is_some_and(|byte| byte & (1 << (place % 8)) != 0)
    }

    /// Their numbers, in order.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 8).filter(|place| self.contains(*place))
    }

    /// Whether it is none of them.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

impl Serialize for BlobSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for BlobSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(text).map_err(serde::de::Error::custom)?;
        if bytes.len() > MOST_BLOBS / 8 {
            return Err(serde::de::Error::custom("no lab has so many blobs"));
        }
        Ok(Self(bytes))
    }
}

/// Blobs of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Who; nobody is the server itself.
    pub from: Option<SocketAddr>,
    /// What.
    pub blobs: BlobSet,
}

/// The question: what a laptop has, and what it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Of which lab.
    pub lab_id: Digest,
    /// Where it serves, at the address that the question comes from.
    pub port: u16,
    /// Transfers that it has room for at once.
    pub jobs: u16,
    /// What it serves.
    pub have: BlobSet,
    /// What it lacks and does not take from anybody at this moment.
    pub want: BlobSet,
    /// What it could not have from whom.
    pub failed: Vec<Part>,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What to take from whom. Everything that holds at this moment, transfers under way included.
    pub take: Vec<Part>,
    /// Other laptops that share and lack something.
    pub lacking: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_bits_in_hexadecimal_digits() {
        let mut set = BlobSet::default();
        assert!(set.is_empty());
        for place in [0, 9, 10] {
            set.insert(place);
        }
        assert_eq!(serde_json::to_string(&set).unwrap(), "\"0106\"");
        let read: BlobSet = serde_json::from_str("\"0106\"").unwrap();
        assert_eq!(read.places().collect::<Vec<_>>(), [0, 9, 10]);
        assert!(read.contains(9) && !read.contains(8) && !read.contains(100_000));
    }

    #[test]
    fn what_is_no_set_or_too_large_is_refused() {
        for text in ["\"0\"", "\"xy\"", "17", &format!("\"{}\"", "00".repeat(MOST_BLOBS / 8 + 1))] {
            assert!(serde_json::from_str::<BlobSet>(text).is_err(), "{text}");
        }
        let mut set = BlobSet::default();
        set.insert(usize::MAX);
        assert!(set.is_empty(), "and none grows beyond");
    }
}
