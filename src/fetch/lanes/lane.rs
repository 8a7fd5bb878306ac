//! One source, and what is known of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use url::Url;

use crate::{
    base::Digest,
    fetch::{
        Client, FetchError, Home, RegistryAddress,
        source::{Access, Location, Part},
    },
    lockfile::Origin,
    plan::PlannedBlob,
};

use super::{
    health::Health,
    meter::Meter,
    policy::{LaneView, Rank},
};

/// Where a lane's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whoever the lock names, or their mirrors.
    Upstream,
    /// A store behind a web server: `URL/blobs/sha256/…`.
    Store(Url),
    /// A lab in a registry, whose layout follows from the lock.
    Registry { address: RegistryAddress, homes: Arc<BTreeMap<Digest, Vec<Home>>> },
    /// A laptop that shares, as the room's server named it.
    Peer(SocketAddr),
}

/// What a source may be asked for at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offers {
    /// Whatever it may have.
    All,
    /// These blobs and no others, as the room's server said.
    These(BTreeSet<Digest>),
}

impl Kind {
    /// What people call it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Upstream => super::UPSTREAM.to_owned(),
            Self::Store(url) => crate::fetch::source::shown(url),
            Self::Registry { address, .. } => address.to_string(),
            Self::Peer(address) => format!("http://{address}/"),
        }
    }

    /// Whether it can have such a blob at all. An archive's members are read out of the archive, which comes anyway.
    pub(super) fn may_have(&self, blob: &PlannedBlob) -> bool {
        match self {
            Self::Upstream => blob.origins.iter().any(is_published),
            Self::Registry { homes, .. } => homes.contains_key(&blob.descriptor.digest),
            Self::Store(_) | Self::Peer(_) => {
                !blob.origins.iter().all(|origin| matches!(origin, Origin::Member { .. }))
            }
        }
    }

    /// The addresses to try in turn.
    pub(super) fn locations(&self, client: &Client, blob: &PlannedBlob) -> Result<Vec<Location>, FetchError> {
        match self {
            Self::Upstream => {
                let mut locations = Vec::new();
                for origin in &blob.origins {
                    locations.extend(locate(client, origin, &blob.descriptor.digest)?);
                }
                Ok(locations)
            }
            Self::Store(base) => {
                let mut url = base.clone();
                let folder = base.path().trim_end_matches('/');
                url.set_path(&format!("{folder}/blobs/sha256/{}", blob.descriptor.digest.hex()));
                Ok(vec![Location::plain(url)])
            }
            Self::Registry { address, homes } => {
                let digest = blob.descriptor.digest.to_string();
                let homes = homes.get(&blob.descriptor.digest).into_iter().flatten();
                let locate = |home: &Home| {
                    let part = if home.is_manifest { Part::Manifest(&digest) } else { Part::Blob(&digest) };
                    address.part(address.repository_of(home.repository.as_deref()), part, Access::Pull)
                };
                homes.map(locate).collect()
            }
            Self::Peer(address) => {
                Ok(vec![Location::peer(*address, &format!("/blobs/sha256/{}", blob.descriptor.digest.hex()))?])
            }
        }
    }
}

fn locate(client: &Client, origin: &Origin, digest: &Digest) -> Result<Vec<Location>, FetchError> {
    match origin {
        Origin::Url(url) => client.file_locations(url),
        Origin::RegistryManifest(reference) => client.manifest_locations(reference, &digest.to_string()),
        Origin::RegistryBlob(reference) => client.blob_locations(reference, &digest.to_string()),
        Origin::Member { .. } | Origin::Built { .. } => Ok(Vec::new()),
    }
}

pub(super) fn is_published(origin: &Origin) -> bool {
    matches!(origin, Origin::Url(_) | Origin::RegistryManifest(_) | Origin::RegistryBlob(_))
}

/// A source at work.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) kind: Kind,
    pub(super) name: String,
    rank: Rank,
    places: usize,
    pub(super) offers: Offers,
    pub(super) health: Health,
    pub(super) meter: Meter,
    /// Bytes of its transfers under way that have not come yet.
    pub(super) outstanding: u64,
    /// Transfers under way.
    pub(super) busy: usize,
    /// Blobs that it brought to their end.
    pub(super) blobs: usize,
    /// Bytes that it sent.
    pub(super) bytes: u64,
    /// When bytes came last, or something was asked of it while it had nothing to do.
    heard: Option<Instant>,
}

impl Lane {
    /// `places`: transfers at once.
    pub(super) fn new(kind: Kind, rank: Rank, places: usize) -> Self {
        let name = kind.shown();
        let health = Health::new(kind == Kind::Upstream);
        let (offers, meter) = (Offers::All, Meter::default());
        Self {
            kind,
            name,
            rank,
            places,
            offers,
            health,
            meter,
            outstanding: 0,
            busy: 0,
            blobs: 0,
            bytes: 0,
            heard: None,
        }
    }

    /// The laptop that it is, if it is one.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self.kind {
            Kind::Peer(address) => Some(address),
            Kind::Store(_) | Kind::Registry { .. } | Kind::Upstream => None,
        }
    }

    /// Whether it may be asked for this blob now.
    pub(super) fn offers(&self, digest: &Digest) -> bool {
        match &self.offers {
            Offers::All => true,
            Offers::These(blobs) => blobs.contains(digest),
        }
    }

    pub(super) fn is_upstream(&self) -> bool {
        self.kind == Kind::Upstream
    }

    pub(super) fn view(&self, now: Instant) -> LaneView {
        LaneView {
            rank: if self.health.is_benched() { Rank::Benched } else { self.rank },
            rate: self.meter.rate(now),
            outstanding: self.outstanding,
            busy: self.busy,
            // Who is not there makes one transfer wait, not eight.
            places: if self.health.is_untested() { 1 } else { self.places },
            silent: self.heard.map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard)),
            rests: self.health.rests_until(now).is_some(),
            cost: 1.0,
        }
    }

    pub(super) fn begin(&mut self, now: Instant, bytes: u64) {
        if self.busy == 0 {
            self.heard = Some(now);
        }
        self.busy += 1;
        self.outstanding += bytes;
        self.meter.begin(now);
    }

    pub(super) fn take(&mut self, now: Instant, bytes: u64, expected: u64) {
        self.outstanding = self.outstanding.saturating_sub(expected);
        self.meter.take(now, bytes);
        self.heard = Some(now);
        self.health.progressed(bytes);
        self.bytes += bytes;
    }

    /// `left`: what of the bytes announced by [`Lane::begin`] is still counted as outstanding.
    pub(super) fn end(&mut self, now: Instant, left: u64) {
        self.busy = self.busy.saturating_sub(1);
        self.outstanding = self.outstanding.saturating_sub(left);
        self.meter.end(now);
    }
}
