//! Who may be connected. Places are limited in all and for each address; when they are all taken, somebody who waits,
//! takes more than others or does not move gives way to a newcomer.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

/// A transfer that has not moved for so long may be asked to leave for a newcomer.
const SLOW: Duration = Duration::from_secs(5);

/// Below this, system calls would cost more than fairness is worth.
const SHORTEST_TURN: u64 = 64 * 1024;

/// What clients may take. Times are for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub per_address: usize,
    /// From the first byte of a request's head to its last, and for the body of a POST.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// In each span of this length, [`Limits::progress`] bytes of an answer have to leave.
    pub span: Duration,
    /// Bytes in each span. 32 KiB in 30 s is less than the slowest radio link that a class could work over.
    pub progress: u64,
    /// How long running transfers may go on after the end was asked for.
    pub closing: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            // Thirty laptops with two connections each may share one address.
            per_address: 64,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            span: Duration::from_secs(30),
            progress: 32 * 1024,
            closing: Duration::from_secs(5),
        }
    }
}

/// The list of all connections.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    began: Instant,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    by_id: HashMap<u64, Arc<Guest>>,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) address: IpAddr,
    /// Set when it has to give way.
    pub(super) leave: CancellationToken,
    /// No answer is under way.
    waits: AtomicBool,
    /// Milliseconds since the server began: the last time that enough had left.
    moved: AtomicU64,
}

/// A place. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Admitted {
    id: u64,
    guest: Arc<Guest>,
    admission: Arc<Admission>,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, began: Instant::now(), guests: Mutex::default() }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// How many bytes a connection of this address sends before it is the others' turn. Whoever opens many
    /// connections gets no more of them in a round than who opens one, as long as there is anybody else.
    pub(super) fn turn(&self, address: IpAddr, whole: u64) -> u64 {
        let guests = self.guests();
        let own = guests.by_address.get(&address).copied().unwrap_or(1).max(1) as u64;
        if guests.by_address.len() > 1 { (whole / own).max(SHORTEST_TURN) } else { whole }
    }

    /// Takes a newcomer, or `None` when neither a place is free nor anybody there has less right to one.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let mut guests = self.guests();
        let own = guests.by_address.get(&address).copied().unwrap_or(0);
        if own >= self.limits.per_address {
            // Its own connection that waits for nothing may as well be replaced.
            guests.evict(|guest, _| (guest.address == address && guest.waits()).then_some(guest.still(self.now())))?;
        } else if guests.by_id.len() >= self.limits.connections {
            let now = self.now();
            guests.evict(|guest, taken| {
                let still = guest.still(now);
                let may = guest.waits() || taken > own + 1 || still >= SLOW;
                may.then_some((guest.waits(), taken, still))
            })?;
        }
        let id = guests.next;
        guests.next += 1;
        let guest = Arc::new(Guest {
            address,
            leave: CancellationToken::new(),
            waits: AtomicBool::new(true),
            moved: AtomicU64::new(self.now()),
        });
        guests.by_id.insert(id, Arc::clone(&guest));
        *guests.by_address.entry(address).or_default() += 1;
        drop(guests);
        Some(Admitted { id, guest, admission: Arc::clone(self) })
    }

    /// Asks everybody to leave at once.
    pub(super) fn dismiss(&self) {
        self.guests().by_id.values().for_each(|guest| guest.leave.cancel());
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    /// Sends away the guest with the highest rank; `None` when nobody has one. `rank` gets a guest and how many
    /// connections its address has.
    fn evict<R: Ord>(&mut self, rank: impl Fn(&Guest, usize) -> Option<R>) -> Option<()> {
        let ranked = self.by_id.iter().filter_map(|(id, guest)| {
            let taken = self.by_address.get(&guest.address).copied().unwrap_or(0);
            Some((rank(guest, taken)?, *id))
        });
        let (_, id) = ranked.max()?;
        let guest = self.remove(id)?;
        guest.leave.cancel();
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Guest>> {
        let guest = self.by_id.remove(&id)?;
        if let Some(count) = self.by_address.get_mut(&guest.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&guest.address);
            }
        }
        Some(guest)
    }
}

impl Guest {
    fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// How long nothing worth mentioning has moved.
    fn still(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.moved.load(Ordering::Relaxed)))
    }
}

impl Admitted {
    pub(super) fn address(&self) -> IpAddr {
        self.guest.address
    }

    /// Ends when the connection has to give way.
    pub(super) fn leave(&self) -> &CancellationToken {
        &self.guest.leave
    }

    /// An answer begins or has ended.
    pub(super) fn set_waits(&self, waits: bool) {
        self.guest.waits.store(waits, Ordering::Relaxed);
        self.moved();
    }

    /// Enough has moved.
    pub(super) fn moved(&self) {
        self.guest.moved.store(self.admission.now(), Ordering::Relaxed);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.guests().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, per_address: usize) -> Arc<Admission> {
        Arc::new(Admission::new(Limits { connections, per_address, ..Limits::default() }))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn busy(admission: &Arc<Admission>, last: u8) -> Admitted {
        let admitted = admission.admit(address(last)).unwrap();
        admitted.set_waits(false);
        admitted
    }

    #[test]
    fn one_address_has_no_more_than_its_places_and_gets_them_back() {
        let admission = admission(10, 2);
        let (one, two) = (busy(&admission, 1), busy(&admission, 1));
        assert!(admission.admit(address(1)).is_none());
        assert!(admission.admit(address(2)).is_some());
        drop(one);
        let three = busy(&admission, 1);
        // One that waits for nothing gives way to the next of the same address.
        two.set_waits(true);
        assert!(admission.admit(address(1)).is_some());
        assert!(two.leave().is_cancelled() && !three.leave().is_cancelled());
    }

    #[test]
    fn a_full_house_makes_room_for_who_has_less() {
        let admission = admission(4, 4);
        let greedy: Vec<Admitted> = (0..3).map(|_| busy(&admission, 1)).collect();
        let modest = busy(&admission, 2);
        let newcomer = busy(&admission, 3);
        assert_eq!(greedy.iter().filter(|guest| guest.leave().is_cancelled()).count(), 1);
        assert!(!modest.leave().is_cancelled() && !newcomer.leave().is_cancelled());
        let places = admission.guests().by_id.len();
        assert_eq!((places, admission.guests().by_address.len()), (4, 3));
        // Now 2, 1, 1: the greedy one gets nothing more while all of it moves.
        assert!(admission.admit(address(1)).is_none());
    }

    #[test]
    fn many_connections_share_the_turn_of_one() {
        let admission = admission(20, 20);
        let greedy: Vec<Admitted> = (0..4).map(|_| busy(&admission, 1)).collect();
        assert_eq!(admission.turn(address(1), 1 << 20), 1 << 20, "nobody else is there");
        let modest = busy(&admission, 2);
        assert_eq!(admission.turn(address(1), 1 << 20), 1 << 18);
        assert_eq!(admission.turn(address(2), 1 << 20), 1 << 20);
        assert_eq!(admission.turn(address(1), 1 << 10), SHORTEST_TURN);
        drop((greedy, modest));
    }

    #[test]
    fn a_full_house_of_many_addresses_lets_go_of_who_waits_or_does_not_move() {
        let admission = admission(3, 3);
        let guests: Vec<Admitted> = (1..=3).map(|last| busy(&admission, last)).collect();
        assert!(admission.admit(address(9)).is_none(), "all have one, and all move");
        guests[1].set_waits(true);
        let newcomer = busy(&admission, 9);
        assert!(guests[1].leave().is_cancelled());
        // As if six seconds had passed for the first.
        let late = Admission {
            began: Instant::now().checked_sub(Duration::from_secs(6)).unwrap(),
            ..Admission::new(admission.limits())
        };
        let late = Arc::new(late);
        let slow = busy(&late, 1);
        slow.guest.moved.store(0, Ordering::Relaxed);
        let quick = [busy(&late, 2), busy(&late, 3)];
        assert!(late.admit(address(9)).is_some());
        assert!(slow.leave().is_cancelled() && quick.iter().all(|guest| !guest.leave().is_cancelled()));
        drop(newcomer);
    }
}
