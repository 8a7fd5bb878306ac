//! Laptops that share: the room's server says which blob may be asked of whom. What it says decides about questions,
//! never about bytes. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use url::Url;

use crate::base::Digest;

use super::{
    Lanes,
    job::Job,
    lane::{Kind, Lane, Offers},
    policy::Rank,
};

/// Laptops that are known in one run; a class has some thirty.
const MOST_PEERS: usize = 128;
/// Blobs at once from one laptop.
const PEER_PLACES: usize = 2;

/// How a run stands, for the room's server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Blobs that nobody brings yet.
    pub(crate) waiting: Vec<Digest>,
    /// What of them could not be had from whom; nobody is the room's server.
    pub(crate) failed: BTreeMap<Option<SocketAddr>, Vec<Digest>>,
    /// Bytes that came, from everybody.
    pub(crate) received: u64,
}

impl Lanes {
    /// The same sources, for somebody else who looks at them.
    pub(crate) fn shared(&self) -> Self {
        Self { room: Arc::clone(&self.room) }
    }

    /// From now on this source says who may be asked for what: nobody, until [`Lanes::offer`].
    pub(crate) fn follow(&self, server: &Url) {
        let mut state = self.room.state();
        let lanes = state.lanes.iter_mut().enumerate();
        let mut named = lanes.filter(|(_, lane)| matches!(&lane.kind, Kind::Store(url) if url == server));
        if let Some((index, lane)) = named.next() {
            lane.health.answered();
            lane.offers = Offers::These(BTreeSet::new());
            state.leader = Some(index);
        }
    }

    /// These may be asked, and for these blobs only; nobody is the room's server. Laptops that were not known are now.
    pub(crate) fn offer(&self, mut offers: BTreeMap<Option<SocketAddr>, BTreeSet<Digest>>) {
        let mut state = self.room.state();
        let leader = state.leader;
        for (index, lane) in state.lanes.iter_mut().enumerate() {
            match lane.peer() {
                Some(address) => lane.offers = Offers::These(offers.remove(&Some(address)).unwrap_or_default()),
                None if Some(index) == leader => {
                    lane.offers = Offers::These(offers.remove(&None).unwrap_or_default());
                }
                None => {}
            }
        }
        let known = state.lanes.iter().filter(|lane| lane.peer().is_some()).count();
        let lied = |lane: &Lane| lane.health.has_lied().then(|| lane.peer()).flatten();
        let liars: BTreeSet<IpAddr> = state.lanes.iter().filter_map(lied).map(|peer| peer.ip()).collect();
        let new = offers.into_iter().filter_map(|(address, blobs)| Some((address?, blobs)));
        for (address, blobs) in new.take(MOST_PEERS.saturating_sub(known)) {
            let mut lane = Lane::new(Kind::Peer(address), Rank::Named, PEER_PLACES);
            lane.offers = Offers::These(blobs);
            if liars.contains(&address.ip()) {
                lane.health.distrust();
            }
            state.lanes.push(lane);
        }
        drop(state);
        self.room.changed.notify_waiters();
    }

    /// Nobody says any more who has what: everybody may be asked for everything.
    pub(crate) fn offer_everything(&self) {
        let mut state = self.room.state();
        state.lanes.iter_mut().for_each(|lane| lane.offers = Offers::All);
        drop(state);
        self.room.changed.notify_waiters();
    }

    /// Whether there is nothing to bring.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.room.state();
        state.waiting.is_empty() && state.under_way == 0
    }

    /// How the run stands.
    pub(crate) fn standing(&self) -> Standing {
        let state = self.room.state();
        let digest = |job: &Job| job.blob.descriptor.digest;
        let mut failed = BTreeMap::new();
        for (index, lane) in state.lanes.iter().enumerate() {
            let is_out = lane.health.is_gone() || lane.health.is_benched();
            let has_failed = |job: &&Job| match lane.peer() {
                Some(_) => is_out || job.tries.contains_key(&index),
                None => job.tries.contains_key(&index) && lane.offers(&digest(job)),
            };
            if lane.peer().is_some() || Some(index) == state.leader {
                let blobs: Vec<Digest> = state.waiting.iter().filter(has_failed).map(digest).collect();
                if !blobs.is_empty() {
                    failed.insert(lane.peer(), blobs);
                }
            }
        }
        let waiting = state.waiting.iter().map(digest).collect();
        Standing { waiting, failed, received: state.lanes.iter().map(|lane| lane.bytes).sum() }
    }

    /// Bytes from the room's server, bytes from laptops, and from how many of them.
    pub fn shares(&self) -> (u64, u64, usize) {
        let state = self.room.state();
        let server = state.leader.map_or(0, |leader| state.lanes[leader].bytes);
        let gave = state.lanes.iter().filter(|lane| lane.peer().is_some() && lane.bytes > 0);
        let (bytes, laptops) = gave.fold((0, 0), |(bytes, laptops), lane| (bytes + lane.bytes, laptops + 1));
        (server, bytes, laptops)
    }
}
