//! The lying-peer test: many runs, each with its own lab and peers of every kind of dishonesty, and one honest source
//! somewhere among them. No wrong byte is ever accepted, every run ends complete, and nobody honest is called a liar.
//!
//! ```text
//! cargo test --test supply_fetch liars                      some runs
//! ZTLAB_LIARS=1000 cargo test --release --test supply_fetch liars     a thousand
//! ZTLAB_SEED=123 …                                           the same runs again
//! ```

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};

use crate::{
    lanes::{Ran, fetch, policy},
    peers::{Act, Ask, Blobs, Manner, Peer, beginning, blobs, head, right_head, whole},
};

/// Runs of an ordinary `cargo test`.
const FEW: u64 = 40;
/// Runs at the same time: most of a run is waiting for peers that say nothing.
const AT_ONCE: usize = 24;

/// SplitMix64 (Steele, Lea, Flood, 2014): small, and the same numbers on every machine.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// What a peer does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// One bit, in the first bytes.
    FlippedEarly,
    /// One bit, in the last byte.
    FlippedLate,
    /// Announces less and sends less.
    Short,
    /// Announces everything and ends early.
    CutOff,
    /// Announces and sends more.
    TooLong,
    /// Sends more than it should without announcing a length.
    Endless,
    /// Answers a range with another one, and everything with a part.
    WrongRange,
    /// The whole blob where a part was asked for, and wrong.
    IgnoresRange,
    /// Another blob of the same lab.
    OtherBlob,
    /// A login page, with status 200.
    LoginPage,
    /// The same, called bytes.
    LoginPageAsBytes,
    /// Some bytes, then silence.
    Stalls,
    /// Silence.
    Mute,
    /// Some right bytes, then a reset.
    Resets,
    /// Some wrong bytes, then a reset: who goes on from there ends with a wrong whole.
    PoisonsAndResets,
    /// Some wrong bytes, then silence.
    PoisonsAndStalls,
    /// One byte at a time.
    Drips,
    /// Right and wrong by turns.
    ChangesItsMind,
    /// Right from the start, wrong from the middle.
    LiesOnResume,
    /// Breaks off, and then lies about the rest.
    BreaksOffAndLies,
    /// Says that it has nothing.
    HasNothing,
    /// Says that it is busy, for ever.
    Busy,
    /// Something that is no HTTP.
    Babbles,
}

const KINDS: [Kind; 23] = [
    Kind::FlippedEarly,
    Kind::FlippedLate,
    Kind::Short,
    Kind::CutOff,
    Kind::TooLong,
    Kind::Endless,
    Kind::WrongRange,
    Kind::IgnoresRange,
    Kind::OtherBlob,
    Kind::LoginPage,
    Kind::LoginPageAsBytes,
    Kind::Stalls,
    Kind::Mute,
    Kind::Resets,
    Kind::PoisonsAndResets,
    Kind::PoisonsAndStalls,
    Kind::Drips,
    Kind::ChangesItsMind,
    Kind::LiesOnResume,
    Kind::BreaksOffAndLies,
    Kind::HasNothing,
    Kind::Busy,
    Kind::Babbles,
];

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut wrong = bytes.to_vec();
    let at = at.min(wrong.len() - 1);
    wrong[at] ^= 0x20;
    wrong
}

impl Kind {
    /// What it answers. `blobs` are all of the lab's; `dice` differ from request to request.
    fn answer(self, ask: &Ask, blobs: &Blobs, mut dice: Random) -> Vec<Act> {
        let (bytes, from) = (&ask.bytes, ask.from);
        let start = from.unwrap_or(0);
        let some = 1 + dice.below(bytes.len());
        let then = |acts: Vec<Act>, end: Act| [acts, vec![end]].concat();
        match self {
            Self::FlippedEarly => whole(&flipped(bytes, start + dice.below(8)), from),
            Self::FlippedLate => whole(&flipped(bytes, bytes.len() - 1), from),
            Self::Short => {
                let body = bytes[start..start + (bytes.len() - start) / 2].to_vec();
                let more =
                    from.map(|from| format!("Content-Range: bytes {from}-{}/{}\r\n", from + body.len(), bytes.len()));
                let status = if from.is_some() { 206 } else { 200 };
                vec![Act::Send(head(status, body.len(), &more.unwrap_or_default())), Act::Send(body)]
            }
            Self::CutOff => beginning(bytes, from, some - 1),
            Self::TooLong => {
                let longer = [&bytes[..], b"and more"].concat();
                let mut acts = whole(&longer, from);
                if let Some(from) = from {
                    // The right total in the head, so that only the body betrays it.
                    let more = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                    acts[0] = Act::Send(head(206, longer.len() - from, &more));
                }
                acts
            }
            Self::Endless => {
                let text = match from {
                    Some(from) => format!("206 P\r\nContent-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len()),
                    None => "200 OK".to_owned(),
                };
                let text = format!("HTTP/1.1 {text}\r\nConnection: close\r\n\r\n");
                vec![Act::Send(text.into_bytes()), Act::Send(bytes[start..].to_vec()), Act::Send(vec![b'x'; 100_000])]
            }
            Self::WrongRange => {
                let wrong = if start == 0 { bytes.len() / 2 } else { start - 1 };
                whole(bytes, Some(wrong))
            }
            Self::IgnoresRange => whole(&flipped(bytes, dice.below(bytes.len())), None),
            Self::OtherBlob => {
                let other = blobs.values().find(|other| *other != bytes).unwrap_or(bytes);
                whole(other, from.filter(|from| *from < other.len()))
            }
            Self::LoginPage | Self::LoginPageAsBytes => {
                let page = b"<!DOCTYPE html><title>Welcome to the hotel</title>".to_vec();
                let kind = if self == Self::LoginPage { "text/html" } else { "application/octet-stream" };
                vec![Act::Send(head(200, page.len(), &format!("Content-Type: {kind}\r\n"))), Act::Send(page)]
            }
            Self::Stalls => then(beginning(bytes, from, some - 1), Act::Hang),
            Self::Mute => vec![Act::Hang],
            Self::Resets => then(beginning(bytes, from, some - 1), Act::Reset),
            Self::PoisonsAndResets => then(beginning(&flipped(bytes, start), from, some), Act::Reset),
            Self::PoisonsAndStalls => then(beginning(&flipped(bytes, start), from, some), Act::Hang),
            Self::Drips => {
                let drops = bytes[start..].iter().take(2_000);
                let drop = |byte: &u8| [Act::Send(vec![*byte]), Act::Pause(Duration::from_millis(15))];
                [vec![Act::Send(right_head(bytes.len(), from))], drops.flat_map(drop).collect()].concat()
            }
            Self::ChangesItsMind if ask.before.is_multiple_of(2) => whole(bytes, from),
            Self::ChangesItsMind => whole(&flipped(bytes, start), from),
            Self::LiesOnResume if from.is_none() => then(beginning(bytes, from, some - 1), Act::Reset),
            Self::LiesOnResume => whole(&flipped(bytes, start), from),
            Self::BreaksOffAndLies if from.is_none() => whole(bytes, from),
            Self::BreaksOffAndLies => then(beginning(&flipped(bytes, start), from, some), Act::Reset),
            Self::HasNothing => vec![Act::Send(head(404, 0, ""))],
            Self::Busy => vec![Act::Send(head(503, 0, "Retry-After: 1\r\n"))],
            Self::Babbles => vec![Act::Send(b"220 mail.example ESMTP ready\r\n".to_vec())],
        }
    }

    /// Whether wrong bytes leave it, as far as the answer that it gives to this request is concerned.
    fn lies(self, ask: &Ask) -> bool {
        match self {
            Self::Stalls | Self::Mute | Self::Resets | Self::Drips | Self::HasNothing | Self::Busy | Self::Babbles => {
                false
            }
            Self::Short | Self::CutOff => false,
            Self::ChangesItsMind => !ask.before.is_multiple_of(2),
            Self::LiesOnResume | Self::BreaksOffAndLies => ask.from.is_some(),
            _ => true,
        }
    }
}

/// A peer that is no good, and whether it has lied by now.
async fn bad(blobs: &Blobs, kind: Kind, seed: u64) -> (Peer, Arc<AtomicBool>) {
    let has_lied = Arc::new(AtomicBool::new(false));
    let (lied, all) = (Arc::clone(&has_lied), Arc::clone(blobs));
    let manner = move |ask: &Ask| {
        if kind.lies(ask) {
            lied.store(true, Ordering::Relaxed);
        }
        kind.answer(ask, &all, Random(seed ^ (ask.before as u64) << 32))
    };
    (Peer::start(Arc::clone(blobs), Arc::new(manner) as Manner).await, has_lied)
}

/// Where the honest source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Honest {
    Peer,
    Upstream,
    /// Upstream, and it is named, so that it takes turns with the liars.
    NamedUpstream,
}

/// One run: everything in it follows from its seed. Returns the kinds that took part and those that were called liars.
async fn run(seed: u64) -> (BTreeSet<Kind>, BTreeSet<Kind>) {
    let mut dice = Random(seed);
    let sizes = [1, 7, 300, 5_000, 40_000, 150_000];
    let contents: Vec<Vec<u8>> = (0..2 + dice.below(4))
        .map(|_| {
            let size = 1 + dice.below(sizes[dice.clone().below(sizes.len())]);
            let mut fill = Random(dice.next());
            (0..size + 8).map(|_| fill.next() as u8).collect()
        })
        .collect();
    let blobs = blobs(&contents);
    let kinds: Vec<Kind> = (0..1 + dice.below(4)).map(|_| KINDS[dice.below(KINDS.len())]).collect();
    let honest = [Honest::Peer, Honest::Upstream, Honest::NamedUpstream][dice.below(3)];
    let truth = Peer::honest(&blobs).await;
    let mut peers = Vec::new();
    for kind in &kinds {
        peers.push((*kind, bad(&blobs, *kind, dice.next()).await));
    }
    let mut sources: Vec<String> = peers.iter().map(|(_, (peer, _))| peer.url()).collect();
    let place = dice.below(sources.len() + 1);
    let upstream = match honest {
        Honest::Peer => {
            sources.insert(place, truth.url());
            // Nobody listens there.
            "http://127.0.0.1:9/".to_owned()
        }
        Honest::Upstream => truth.url(),
        Honest::NamedUpstream => {
            sources.insert(place, "upstream".to_owned());
            truth.url()
        }
    };
    let named: Vec<&str> = sources.iter().map(String::as_str).collect();
    let ran = fetch(&contents, &named, &upstream, policy()).await;
    let story = || format!("seed {seed}: {kinds:?}, honest {honest:?}; {:?}; {:?}", ran.failures, ran.report);
    assert!(ran.is_complete(&contents), "{}", story());
    assert!(ran.failures.is_empty(), "{}", story());
    let blamed = blamed(&ran, &peers, &story);
    (kinds.into_iter().collect(), blamed)
}

/// Holds each accusation against what the peers really did.
fn blamed(ran: &Ran, peers: &[(Kind, (Peer, Arc<AtomicBool>))], story: &dyn Fn() -> String) -> BTreeSet<Kind> {
    let mut blamed = BTreeSet::new();
    for report in &ran.report {
        if !report.dropped.as_ref().is_some_and(|dropped| dropped.lied) {
            continue;
        }
        let peer = peers.iter().find(|(_, (peer, _))| peer.url() == report.source);
        let (kind, (_, has_lied)) = peer.unwrap_or_else(|| panic!("{} is honest: {}", report.source, story()));
        assert!(has_lied.load(Ordering::Relaxed), "{kind:?} has not lied: {}", story());
        blamed.insert(*kind);
    }
    blamed
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[allow(clippy::print_stdout, reason = "who sees a run fail needs its seed")]
async fn no_wrong_byte_is_accepted_from_peers_that_lie_and_every_run_ends_complete() {
    let runs = setting("ZTLAB_LIARS").unwrap_or(FEW);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = setting("ZTLAB_SEED").unwrap_or(now.as_millis() as u64);
    println!("{runs} runs; the same again with ZTLAB_SEED={seed}");
    let (seen, blamed) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    let mut dice = Random(seed);
    let seeds: Vec<u64> = (0..runs).map(|_| dice.next()).collect();
    stream::iter(seeds)
        .for_each_concurrent(AT_ONCE, |seed| {
            let (seen, blamed) = (&seen, &blamed);
            async move {
                let (kinds, liars) = tokio::spawn(run(seed)).await.unwrap();
                seen.lock().unwrap().extend(kinds);
                blamed.lock().unwrap().extend(liars);
            }
        })
        .await;
    if runs >= 300 {
        let (seen, blamed) = (seen.into_inner().unwrap(), blamed.into_inner().unwrap());
        assert_eq!(seen.len(), KINDS.len(), "every kind took part");
        for kind in
            [Kind::FlippedEarly, Kind::FlippedLate, Kind::TooLong, Kind::Endless, Kind::WrongRange, Kind::OtherBlob]
                .into_iter()
                .chain([Kind::LoginPage, Kind::PoisonsAndResets, Kind::ChangesItsMind, Kind::LiesOnResume])
        {
            assert!(blamed.contains(&kind), "{kind:?} was never named: {blamed:?}");
        }
    }
}
