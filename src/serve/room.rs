//! Who got how much: numbers for the page, the terminal and the end. No address leaves this file.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

/// Addresses that are told apart; more are only counted in the sum.
const MOST_MACHINES: usize = 1024;
/// Over which the rate is an average.
const RATE_SPAN: Duration = Duration::from_secs(5);

/// The room in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RoomDocument {
    /// Addresses that took at least one blob.
    pub machines: usize,
    /// Blobs that are on their way now.
    pub transfers: usize,
    /// Bytes of blobs that left, since the beginning.
    pub bytes: u64,
    /// Bytes a second, of late.
    pub rate: u64,
    /// Laptops that serve what they have to others.
    pub sharing: usize,
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Room {
    transfers: AtomicUsize,
    bytes: AtomicU64,
    machines: Mutex<HashMap<IpAddr, u64>>,
    rate: Mutex<Rate>,
}

#[derive(Debug)]
struct Rate {
    since: Instant,
    bytes: u64,
    value: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            transfers: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            machines: Mutex::default(),
            rate: Mutex::new(Rate { since: Instant::now(), bytes: 0, value: 0 }),
        }
    }
}

impl Room {
    /// A blob begins to leave; the value counts it until it is dropped.
    pub(super) fn begin(&self, address: IpAddr) -> Underway<'_> {
        self.transfers.fetch_add(1, Ordering::Relaxed);
        Underway { room: self, address, bytes: 0 }
    }

    pub(super) fn document(&self) -> RoomDocument {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = rate.since.elapsed();
        if passed >= RATE_SPAN {
            rate.value = ((bytes - rate.bytes) as f64 / passed.as_secs_f64()) as u64;
            rate.since = Instant::now();
            rate.bytes = bytes;
        }
        RoomDocument {
            machines: self.machines.lock().unwrap_or_else(PoisonError::into_inner).len(),
            transfers: self.transfers.load(Ordering::Relaxed),
            bytes,
            rate: rate.value,
            sharing: 0,
        }
    }
}

/// A blob on its way.
#[derive(Debug)]
pub(super) struct Underway<'room> {
    room: &'room Room,
    address: IpAddr,
    bytes: u64,
}

impl Underway<'_> {
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.room.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.room.transfers.fetch_sub(1, Ordering::Relaxed);
        let mut machines = self.room.machines.lock().unwrap_or_else(PoisonError::into_inner);
        if machines.len() < MOST_MACHINES || machines.contains_key(&self.address) {
            *machines.entry(self.address).or_default() += self.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_and_bytes_are_counted() {
        let room = Room::default();
        let mut one = room.begin(IpAddr::from([10, 0, 0, 1]));
        one.sent(100);
        assert_eq!((room.document().transfers, room.document().bytes), (1, 100));
        drop(one);
        room.begin(IpAddr::from([10, 0, 0, 1])).sent(50);
        room.begin(IpAddr::from([10, 0, 0, 2])).sent(1);
        let document = room.document();
        assert_eq!((document.machines, document.transfers, document.bytes), (2, 0, 151));
    }

    #[test]
    fn a_crowd_of_addresses_does_not_grow_the_list() {
        let room = Room::default();
        for number in 0..u32::try_from(MOST_MACHINES).unwrap() + 10 {
            room.begin(IpAddr::from(number.to_be_bytes())).sent(1);
        }
        assert_eq!(room.document().machines, MOST_MACHINES);
        assert_eq!(room.document().bytes, MOST_MACHINES as u64 + 10);
    }
}
