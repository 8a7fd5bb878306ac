//! Laptops that share: who takes which blob from whom. Pure: time comes in as a value, no socket, no lock.
//!
//! A blob that no laptop has leaves the server once; from then on it goes from laptop to laptop. Each laptop asks every
//! moment ([`Hello`]) and hears all that it may take now ([`Answer`]): a lease for each blob. A lease ends when the blob
//! is there, when it fails, and when it takes much longer than blobs take in this room: then somebody else is named, so
//! nobody waits for ever for a laptop that was closed, crawls or lies.
//!
//! Everything here is what laptops say of themselves. It decides where they look, never what they keep.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::fetch::share::{Answer, BlobSet, Hello, Part};

/// Laptops in the list, and how many of them may have one address.
const MOST_SHARERS: usize = 256;
const MOST_OF_ONE_ADDRESS: usize = 8;
/// A laptop that says nothing for so long is gone; it speaks every two or three seconds.
const SILENT: Duration = Duration::from_secs(10);
/// Blobs up to this size come from the server at once: to spread them would be more talk than bytes.
const SMALL: u64 = 64 * 1024;
/// What one laptop takes at once, and how much of it from the server.
const MOST_LEASES: usize = 6;
const FROM_SERVER: usize = 2;
/// Blobs that one laptop gives at once, to all others and to one of them: with more, each copy takes longer, and a copy
/// helps when it is whole. Light ones do not count, up to so many bytes in all, and half of that to one.
const UPLOADS: usize = 2;
const OF_ONE: usize = 2;
const LIGHT: u64 = 8_000_000;
/// Where all who have a blob are busy the server helps, with so many blobs at once, and so many labs in all.
const HELPS_AT_ONCE: usize = 2;
const HELPS: u64 = 2;
/// A blob that was not begun so long after everything else of its source should have come will not be.
const START: Duration = Duration::from_secs(15);
/// A blob may take this long, and so many times as long as blobs of its size usually take.
const LEAST_PATIENCE: Duration = Duration::from_secs(8);
const PATIENCE: f64 = 6.0;
/// Bytes per second before any blob was seen to arrive, and the size from which one says something about it.
const UNKNOWN_RATE: f64 = 1_000_000.0;
const TELLING: u64 = 128 * 1024;
/// A laptop that had so many leases of the server and did not use them is not waited for any more.
const MOST_LAPSES: u32 = 2;

/// Why a laptop is not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Spread {
    sizes: Vec<u64>,
    sharers: BTreeMap<SocketAddr, Sharer>,
    /// Bytes per second at which blobs arrive, of late.
    usual: Option<f64>,
    /// Bytes that the server gave to help.
    helped: u64,
}

#[derive(Debug)]
struct Sharer {
    heard: Instant,
    have: BlobSet,
    want: BlobSet,
    leases: BTreeMap<usize, Lease>,
    /// What it could not have from whom.
    failed: BTreeSet<(usize, SocketAddr)>,
    lapses: u32,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    /// Nobody is the server.
    from: Option<SocketAddr>,
    since: Instant,
}

impl Sharer {
    fn lacks(&self) -> bool {
        !self.want.is_empty() || !self.leases.is_empty()
    }
}

impl Spread {
    /// `sizes`: of each blob, in the lab's order.
    pub(super) fn new(sizes: Vec<u64>) -> Self {
        Self { sizes, sharers: BTreeMap::new(), usual: None, helped: 0 }
    }

    /// Who shares.
    pub(super) fn addresses(&mut self, now: Instant) -> Vec<SocketAddr> {
        self.forget_silent(now);
        self.sharers.keys().copied().collect()
    }

    /// Takes what a laptop says, and tells it what to take from whom.
    ///
    /// # Errors
    /// When the list is full.
    pub(super) fn hello(&mut self, now: Instant, who: SocketAddr, hello: &Hello) -> Result<Answer, Full> {
        self.forget_silent(now);
        let known = self.sharers.remove(&who);
        let is_new = known.is_none();
        let of_address = self.sharers.keys().filter(|other| other.ip() == who.ip()).count();
        if is_new && (self.sharers.len() >= MOST_SHARERS || of_address >= MOST_OF_ONE_ADDRESS) {
            return Err(Full);
        }
        let mut sharer = known.unwrap_or_else(|| Sharer {
            heard: now,
            have: BlobSet::default(),
            want: BlobSet::default(),
            leases: BTreeMap::new(),
            failed: BTreeSet::new(),
            lapses: 0,
        });
        sharer.heard = now;
        sharer.have = self.known(&hello.have);
        sharer.want = self.known(&hello.want);
        self.settle(now, &mut sharer, &hello.failed);
        self.lease(now, who, &mut sharer, usize::from(hello.jobs), is_new);
        let take = self.take(&sharer);
        self.sharers.insert(who, sharer);
        let lacking = self.sharers.iter().filter(|(address, sharer)| **address != who && sharer.lacks()).count();
        Ok(Answer { take, lacking })
    }

    fn known(&self, set: &BlobSet) -> BlobSet {
        let mut known = BlobSet::default();
        set.places().take_while(|place| *place < self.sizes.len()).for_each(|place| known.insert(place));
        known
    }

    fn forget_silent(&mut self, now: Instant) {
        let before = self.sharers.len();
        self.sharers.retain(|_, sharer| now.saturating_duration_since(sharer.heard) < SILENT);
        if self.sharers.len() < before {
            let left: BTreeSet<SocketAddr> = self.sharers.keys().copied().collect();
            for sharer in self.sharers.values_mut() {
                sharer.leases.retain(|_, lease| lease.from.is_none_or(|from| left.contains(&from)));
                sharer.failed.retain(|(_, from)| left.contains(from));
            }
        }
    }

    /// Ends leases: well, badly, or because their time is over.
    fn settle(&mut self, now: Instant, sharer: &mut Sharer, failed: &[Part]) {
        for part in failed {
            for place in part.blobs.places() {
                if sharer.leases.get(&place).is_some_and(|lease| lease.from == part.from) {
                    sharer.leases.remove(&place);
                }
                if let Some(from) = part.from.filter(|from| self.sharers.contains_key(from)) {
                    sharer.failed.insert((place, from));
                }
            }
        }
        for (place, lease) in sharer.leases.clone() {
            let (age, size) = (now.saturating_duration_since(lease.since), self.sizes[place]);
            let waits = sharer.want.contains(place);
            // What comes from the same source may come one after the other.
            let same = sharer.leases.iter().filter(|(_, other)| other.from == lease.from);
            let before = same.map(|(place, _)| self.sizes[*place]).sum();
            if sharer.have.contains(place) {
                self.arrived(size, age);
                sharer.leases.remove(&place);
                sharer.lapses = 0;
            } else if (waits && age >= START + self.patience(before)) || (!waits && age >= self.patience(size)) {
                sharer.leases.remove(&place);
                match lease.from {
                    Some(from) => _ = sharer.failed.insert((place, from)),
                    None => sharer.lapses += 1,
                }
            }
        }
    }

    fn arrived(&mut self, size: u64, took: Duration) {
        if size >= TELLING {
            let rate = size as f64 / took.as_secs_f64().max(0.01);
            self.usual = Some(self.usual.map_or(rate, |usual| 0.8 * usual + 0.2 * rate));
        }
    }

    fn patience(&self, size: u64) -> Duration {
        let usual = self.usual.unwrap_or(UNKNOWN_RATE).max(1000.0);
        LEAST_PATIENCE + Duration::from_secs_f64(PATIENCE * size as f64 / usual)
    }

    /// Gives leases until the laptop has enough to do: what is rarest first, and of that the largest, which takes
    /// longest to reach everybody.
    fn lease(&mut self, now: Instant, who: SocketAddr, sharer: &mut Sharer, jobs: usize, is_new: bool) {
        let (most, from_server) = (jobs.clamp(1, MOST_LEASES), self.share_of_server(is_new));
        let mut wanted: Vec<_> = sharer
            .want
            .places()
            .filter(|place| !sharer.leases.contains_key(place) && self.sizes[*place] > SMALL)
            .map(|place| (self.copies(place), std::cmp::Reverse(self.sizes[place]), mixed(who, place as u64), place))
            .collect();
        wanted.sort_unstable();
        for (.., place) in wanted {
            if sharer.leases.len() >= most {
                return;
            }
            let own = sharer.leases.values().filter(|lease| lease.from.is_none()).count();
            if let Some(from) = self.source(who, sharer, place, own < from_server) {
                sharer.leases.insert(place, Lease { from, since: now });
            }
        }
    }

    /// How many blobs a laptop takes from the server at once: as many as there are for each, or the first who ask
    /// would have all of them and be the only ones who work.
    fn share_of_server(&self, is_new: bool) -> usize {
        if is_new {
            return FROM_SERVER;
        }
        let alone =
            (0..self.sizes.len()).filter(|place| self.sizes[*place] > SMALL && self.copies(*place) == 0).count();
        let lacking = self.sharers.values().filter(|sharer| sharer.lacks()).count() + 1;
        (alone / lacking).clamp(FROM_SERVER, MOST_LEASES)
    }

    /// Whole copies with laptops, and those on their way.
    fn copies(&self, place: usize) -> usize {
        let counts = |sharer: &Sharer| {
            usize::from(sharer.have.contains(place)) + usize::from(sharer.leases.contains_key(&place))
        };
        self.sharers.values().map(counts).sum()
    }

    /// Whom this laptop may ask for a blob now; `Some(None)` is the server.
    fn source(
        &mut self,
        who: SocketAddr,
        sharer: &Sharer,
        place: usize,
        may_ask_server: bool,
    ) -> Option<Option<SocketAddr>> {
        let has = |(address, other): &(&SocketAddr, &Sharer)| other.have.contains(place) && **address != who;
        let holders: Vec<SocketAddr> = self.sharers.iter().filter(has).map(|(address, _)| *address).collect();
        let open = holders.iter().filter(|from| !sharer.failed.contains(&(place, **from)));
        let open: Vec<SocketAddr> = open.copied().collect();
        let loads = open.iter().map(|from| (self.load(Some(*from)), mixed(*from, place as u64), *from));
        let free: Vec<_> = loads.filter(|((blobs, bytes), ..)| *blobs < UPLOADS || *bytes < LIGHT).collect();
        // Two transfers from one laptop are no faster than one, but the second goes on while the next answer is waited for.
        let own = |from: SocketAddr| -> (usize, u64) {
            let of = sharer.leases.iter().filter(|(_, lease)| lease.from == Some(from));
            of.fold((0, 0), |(blobs, bytes), (place, _)| (blobs + 1, bytes + self.sizes[*place]))
        };
        let mine = free.iter().map(|(load, mixed, from)| (own(*from), *load, *mixed, *from));
        if let Some((.., from)) = mine.filter(|((blobs, bytes), ..)| *blobs < OF_ONE || *bytes < LIGHT / 2).min() {
            return Some(Some(from));
        }
        if !may_ask_server || !free.is_empty() {
            return None;
        }
        if open.is_empty() {
            // Who reaches nobody that has it need not wait for others either.
            let reaches_nobody = !holders.is_empty();
            return (reaches_nobody || !self.comes_from_server(place)).then_some(None);
        }
        let all: u64 = self.sizes.iter().sum();
        let size = self.sizes[place];
        let helps = self.load(None).0 < HELPS_AT_ONCE && self.helped + size <= HELPS * all;
        self.helped += if helps { size } else { 0 };
        helps.then_some(None)
    }

    /// Whether a laptop that can be relied on takes this blob from the server now.
    fn comes_from_server(&self, place: usize) -> bool {
        self.sharers.values().any(|sharer| {
            sharer.lapses < MOST_LAPSES && sharer.leases.get(&place).is_some_and(|lease| lease.from.is_none())
        })
    }

    /// Blobs that somebody gives now, and their bytes.
    fn load(&self, from: Option<SocketAddr>) -> (usize, u64) {
        let leases = self.sharers.values().flat_map(|sharer| &sharer.leases).filter(|(_, lease)| lease.from == from);
        leases.fold((0, 0), |(blobs, bytes), (place, _)| (blobs + 1, bytes + self.sizes[*place]))
    }

    /// All leases of a laptop by source, and what everybody takes from the server.
    fn take(&self, sharer: &Sharer) -> Vec<Part> {
        let mut by_source: BTreeMap<Option<SocketAddr>, BlobSet> = BTreeMap::new();
        for (place, lease) in &sharer.leases {
            by_source.entry(lease.from).or_default().insert(*place);
        }
        for place in sharer.want.places().filter(|place| self.sizes[*place] <= SMALL) {
            by_source.entry(None).or_default().insert(place);
        }
        by_source.into_iter().map(|(from, blobs)| Part { from, blobs }).collect()
    }
}

/// A number that looks like chance and is the same each time: so that not all take the same blob, or the same source,
/// where several are as good.
fn mixed(address: SocketAddr, place: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (address, place).hash(&mut hasher);
    hasher.finish()
}
