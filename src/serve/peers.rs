//! Laptops that share, as the room's server hears of them. Their addresses are those that they ask from: so nobody sends
//! others to a third machine.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    base::Digest,
    fetch::share::{Answer, Hello},
};

use super::spread::{Full, Spread};

/// A question that gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It makes no sense.
    Nonsense(&'static str),
    /// It is about another lab.
    OtherLab,
    /// So many laptops are not listed.
    Full,
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Peers {
    lab_id: Digest,
    spread: Mutex<Spread>,
}

impl Peers {
    /// `sizes`: of the lab's blobs, in the order of their digests.
    pub(super) fn new(lab_id: Digest, sizes: Vec<u64>) -> Self {
        Self { lab_id, spread: Mutex::new(Spread::new(sizes)) }
    }

    /// Answers a laptop at this address.
    ///
    /// # Errors
    /// When it is no question of this lab, or there are too many.
    pub(super) fn answer(&self, client: IpAddr, body: &[u8]) -> Result<Answer, Refusal> {
        let hello: Hello = serde_json::from_slice(body)
            .map_err(|_| Refusal::Nonsense("this is no question of a laptop that shares"))?;
        if hello.port == 0 {
            return Err(Refusal::Nonsense("nobody serves on port 0"));
        }
        if hello.lab_id != self.lab_id {
            return Err(Refusal::OtherLab);
        }
        let who = SocketAddr::new(client, hello.port);
        self.spread().hello(Instant::now(), who, &hello).map_err(|Full| Refusal::Full)
    }

    /// The addresses that share now, and how many laptops that are.
    pub(super) fn sharing(&self) -> (BTreeSet<IpAddr>, usize) {
        let addresses = self.spread().addresses(Instant::now());
        (addresses.iter().map(SocketAddr::ip).collect(), addresses.len())
    }

    fn spread(&self) -> MutexGuard<'_, Spread> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
