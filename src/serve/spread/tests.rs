//! A room of laptops in numbers, and the rules one by one.

use super::*;
use crate::base::Digest;

const MEGABYTE: u64 = 1_000_000;

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(number).unwrap()], 4000))
}

fn hello(have: &[usize], want: &[usize], failed: Vec<Part>) -> Hello {
    let set = |places: &[usize]| {
        let mut set = BlobSet::default();
        places.iter().for_each(|place| set.insert(*place));
        set
    };
    Hello { lab_id: Digest::of(b"lab"), port: 4000, jobs: 8, have: set(have), want: set(want), failed }
}

/// What is to be taken, as pairs of blob and source.
fn takes(answer: &Answer) -> Vec<(usize, Option<SocketAddr>)> {
    let pairs = answer.take.iter().flat_map(|part| part.blobs.places().map(|place| (place, part.from)));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort();
    pairs
}

/// A laptop of the simulation.
#[derive(Clone)]
struct Laptop {
    have: Vec<bool>,
    /// Blob → source and bytes to come.
    comes: BTreeMap<usize, (Option<SocketAddr>, f64)>,
    from: f64,
    done: Option<f64>,
    up: bool,
}

/// A room with links of these speeds in bytes a second, in steps of a tenth of a second. Returns the labs that
/// left the server, and when everybody was done.
fn simulate(
    sizes: &[u64],
    begins: &[f64],
    server: f64,
    link: f64,
    mut each: impl FnMut(f64, &mut Vec<Laptop>),
) -> (f64, f64) {
    let mut spread = Spread::new(sizes.to_vec());
    let new = Laptop { have: vec![false; sizes.len()], comes: BTreeMap::new(), from: 0.0, done: None, up: true };
    let mut room: Vec<Laptop> = begins.iter().map(|from| Laptop { from: *from, ..new.clone() }).collect();
    let (began, step) = (Instant::now(), 0.1);
    let mut from_server = 0.0;
    for tick in 0..40_000_usize {
        let time = tick as f64 * step;
        each(time, &mut room);
        for (number, laptop) in room.iter_mut().enumerate() {
            // Each speaks twice a second, and not all at once.
            if !laptop.up || time < laptop.from || (tick + number) % 5 != 0 {
                continue;
            }
            let places = |test: &dyn Fn(usize) -> bool| (0..sizes.len()).filter(|place| test(*place)).collect();
            let have: Vec<usize> = places(&|place| laptop.have[place]);
            let want: Vec<usize> = places(&|place| !laptop.have[place] && !laptop.comes.contains_key(&place));
            let now = began + Duration::from_secs_f64(time);
            let answer = spread.hello(now, address(number), &hello(&have, &want, Vec::new())).unwrap();
            let leases: BTreeMap<usize, Option<SocketAddr>> = takes(&answer).into_iter().collect();
            laptop.comes.retain(|place, (from, _)| leases.get(place).is_none_or(|leased| leased == from));
            for (place, from) in leases {
                if !laptop.have[place] {
                    laptop.comes.entry(place).or_insert((from, sizes[place] as f64));
                }
            }
        }
        // Whose source was closed has noticed.
        let closed: BTreeSet<SocketAddr> =
            room.iter().enumerate().filter(|(_, laptop)| !laptop.up).map(|(number, _)| address(number)).collect();
        for laptop in &mut room {
            laptop.comes.retain(|_, (from, _)| from.is_none_or(|from| !closed.contains(&from)));
        }
        let mut gives: BTreeMap<Option<SocketAddr>, f64> = BTreeMap::new();
        for (from, _) in room.iter().filter(|laptop| laptop.up).flat_map(|laptop| laptop.comes.values()) {
            *gives.entry(*from).or_default() += 1.0;
        }
        for laptop in room.iter_mut().filter(|laptop| laptop.up) {
            let takes = laptop.comes.len() as f64;
            for (place, (from, left)) in &mut laptop.comes {
                let line = if from.is_none() { server } else { link };
                let bytes = (line / gives[from]).min(link / takes) * step;
                from_server += if from.is_none() { bytes.min(*left) } else { 0.0 };
                *left -= bytes;
                if *left <= 0.0 {
                    laptop.have[*place] = true;
                }
            }
            laptop.comes.retain(|_, (_, left)| *left > 0.0);
            if laptop.done.is_none() && laptop.have.iter().all(|has| *has) {
                laptop.done = Some(time);
            }
        }
        if room.iter().all(|laptop| !laptop.up || laptop.done.is_some()) {
            return (from_server / sizes.iter().sum::<u64>() as f64, time);
        }
    }
    panic!("somebody waits for ever");
}

/// As the real lab: one of 450 MB, some large, many small.
fn lab() -> Vec<u64> {
    let mut sizes = vec![450 * MEGABYTE];
    sizes.extend([100, 90, 80, 70, 60, 50].map(|size| size * MEGABYTE));
    sizes.extend((0..40).map(|number| (number + 1) * MEGABYTE / 2));
    sizes.extend([4_000; 80]);
    sizes
}

#[test]
fn thirty_laptops_at_once_take_few_labs_from_the_server_and_less_time() {
    let (server, link) = (25.0e6, 12.5e6);
    let (labs, took) = simulate(&lab(), &[0.0; 30], server, link, |_, _| {});
    let alone = 30.0 * lab().iter().sum::<u64>() as f64 / server;
    assert!(labs <= 4.0, "{labs} labs");
    assert!(took < alone / 3.0, "{took} s; without sharing {alone} s");
}

#[test]
fn laptops_that_come_one_after_the_other_take_from_each_other() {
    let begins: Vec<f64> = (0..30).map(|number| f64::from(number) * 20.0).collect();
    let (labs, _) = simulate(&lab(), &begins, 25.0e6, 12.5e6, |_, _| {});
    assert!(labs <= 4.0, "{labs} labs");
}

#[test]
fn laptops_that_are_closed_are_done_without() {
    let close = |time: f64, room: &mut Vec<Laptop>| {
        if time > 10.0 {
            room.iter_mut().take(8).for_each(|laptop| laptop.up = false);
        }
    };
    let (labs, _) = simulate(&lab(), &[0.0; 30], 25.0e6, 12.5e6, close);
    assert!(labs <= 6.0, "{labs} labs");
}

#[test]
fn a_blob_leaves_the_server_once_and_then_goes_from_laptop_to_laptop() {
    let mut spread = Spread::new(vec![MEGABYTE]);
    let now = Instant::now();
    let first = spread.hello(now, address(1), &hello(&[], &[0], Vec::new())).unwrap();
    assert_eq!((takes(&first), first.lacking), (vec![(0, None)], 0));
    let second = spread.hello(now, address(2), &hello(&[], &[0], Vec::new())).unwrap();
    assert_eq!((takes(&second), second.lacking), (vec![], 1));
    let later = now + Duration::from_secs(1);
    assert!(takes(&spread.hello(later, address(1), &hello(&[0], &[], Vec::new())).unwrap()).is_empty());
    let second = spread.hello(later, address(2), &hello(&[], &[0], Vec::new())).unwrap();
    assert_eq!((takes(&second), second.lacking), (vec![(0, Some(address(1)))], 0));
}

#[test]
fn who_does_not_get_it_from_a_laptop_gets_it_from_another_and_then_from_the_server() {
    let mut spread = Spread::new(vec![MEGABYTE]);
    let now = Instant::now();
    for number in [1, 2] {
        spread.hello(now, address(number), &hello(&[0], &[], Vec::new())).unwrap();
    }
    let mut failed = Vec::new();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let answer = spread.hello(now, address(3), &hello(&[], &[0], failed.clone())).unwrap();
        let (_, from) = takes(&answer)[0];
        asked.push(from);
        let mut blobs = BlobSet::default();
        blobs.insert(0);
        failed = vec![Part { from, blobs }];
    }
    assert_eq!(asked[2], None);
    let peers: BTreeSet<_> = asked[..2].iter().flatten().copied().collect();
    assert_eq!(peers, BTreeSet::from([address(1), address(2)]));
    // Another one that reaches them still does.
    let other = spread.hello(now, address(4), &hello(&[], &[0], Vec::new())).unwrap();
    assert!(takes(&other)[0].1.is_some());
}

#[test]
fn who_takes_a_blob_and_never_ends_is_not_waited_for() {
    let mut spread = Spread::new(vec![MEGABYTE]);
    let now = Instant::now();
    assert_eq!(takes(&spread.hello(now, address(1), &hello(&[], &[0], Vec::new())).unwrap()), [(0, None)]);
    let mut waited = 0;
    loop {
        let moment = now + Duration::from_secs(waited);
        // It is there, and takes the blob for ever.
        spread.hello(moment, address(1), &hello(&[], &[], Vec::new())).unwrap();
        if !takes(&spread.hello(moment, address(2), &hello(&[], &[0], Vec::new())).unwrap()).is_empty() {
            break;
        }
        waited += 1;
    }
    assert!((8..=20).contains(&waited), "{waited} s");
}

#[test]
fn who_says_nothing_any_more_is_forgotten_and_the_list_is_bounded() {
    let mut spread = Spread::new(vec![MEGABYTE]);
    let now = Instant::now();
    spread.hello(now, address(1), &hello(&[0], &[], Vec::new())).unwrap();
    let later = now + SILENT;
    let answer = spread.hello(later, address(2), &hello(&[], &[0], Vec::new())).unwrap();
    assert_eq!((takes(&answer), spread.addresses(later)), (vec![(0, None)], vec![address(2)]));
    let port = |port: u16| SocketAddr::new(address(9).ip(), port);
    for number in 0..MOST_OF_ONE_ADDRESS {
        spread.hello(later, port(number as u16 + 1), &hello(&[], &[], Vec::new())).unwrap();
    }
    assert_eq!(spread.hello(later, port(999), &hello(&[], &[], Vec::new())), Err(Full));
    assert!(spread.hello(later, port(1), &hello(&[], &[], Vec::new())).is_ok(), "who is known stays");
    for number in 0..400_u16 {
        let who = SocketAddr::from(([10, 1, (number / 200) as u8, (number % 200) as u8], 1));
        let _ = spread.hello(later, who, &hello(&[], &[], Vec::new()));
    }
    assert_eq!(spread.addresses(later).len(), MOST_SHARERS);
}

#[test]
fn small_blobs_come_at_once_and_numbers_that_no_blob_has_are_nothing() {
    let mut spread = Spread::new(vec![10, MEGABYTE, 20]);
    let answer = spread.hello(Instant::now(), address(1), &hello(&[77], &[0, 1, 2, 3, 900], Vec::new())).unwrap();
    assert_eq!(takes(&answer), [(0, None), (1, None), (2, None)]);
}
