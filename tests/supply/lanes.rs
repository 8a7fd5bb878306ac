//! Several sources at once: how bytes are spread, how a blob goes on elsewhere, and who is named for what.

use std::{sync::Arc, time::Duration};

use ztlab::{
    base::{Event, report::Recording},
    fetch::{Client, Failure, LanePolicy, Lanes, Network, Source, SourceReport, fetch_all},
    lockfile::Lock,
    store::Store,
};

use crate::{
    lies,
    peers::{Act, Ask, Blobs, Manner, Peer, beginning, blobs, planned, whole},
};

/// Everything that came of a run.
pub(crate) struct Ran {
    pub(crate) failures: Vec<Failure>,
    pub(crate) report: Vec<SourceReport>,
    pub(crate) store: Store,
    pub(crate) events: Vec<Event>,
    _folder: tempfile::TempDir,
}

impl Ran {
    pub(crate) fn of(&self, source: &str) -> &SourceReport {
        self.report.iter().find(|report| report.source == source).unwrap()
    }

    fn lie_of(&self, source: &str) -> Option<&str> {
        self.of(source).dropped.as_ref().filter(|dropped| dropped.lied).map(|dropped| dropped.what.as_str())
    }

    /// Whether every blob is in the store with its own bytes.
    pub(crate) fn is_complete(&self, contents: &[Vec<u8>]) -> bool {
        let has = |bytes: &Vec<u8>| {
            let blob = self.store.blob(ztlab::base::Descriptor::of(bytes));
            blob.is_some_and(|blob| fs_err::read(blob.path()).unwrap() == *bytes)
        };
        contents.iter().all(has) && self.store.present().unwrap().len() <= contents.len()
    }
}

/// Gives up on silence soon.
pub(crate) fn policy() -> LanePolicy {
    LanePolicy {
        strikes: 3,
        first_rest: Duration::from_millis(2),
        longest_rest: Duration::from_millis(8),
        silence: Duration::from_millis(150),
        watch: Duration::from_millis(120),
        floor: 16 * 1024,
    }
}

/// Fetches these blobs from these sources.
pub(crate) async fn fetch(contents: &[Vec<u8>], sources: &[&str], upstream: &str, policy: LanePolicy) -> Ran {
    fetch_with(contents, sources, upstream, policy, 4).await
}

async fn fetch_with(contents: &[Vec<u8>], sources: &[&str], upstream: &str, policy: LanePolicy, jobs: usize) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let recording = Arc::new(Recording::default());
    let network = Network { lanes: policy, ..lies::network() };
    let client = Arc::new(Client::new(network, Arc::<Recording>::clone(&recording) as _).unwrap());
    let sources: Vec<Source> = sources.iter().map(|text| Source::parse(text, folder.path()).unwrap()).collect();
    let lanes = Lanes::new(&client, &sources, &Lock::default());
    let failures = fetch_all(&client, &store, planned(contents, upstream), jobs, &lanes).await;
    Ran { failures, report: lanes.report(), store, events: recording.events(), _folder: folder }
}

fn contents(count: u8, size: usize) -> Vec<Vec<u8>> {
    (0..count).map(|seed| (0..size).map(|at| (at * 31 + usize::from(seed) * 7 + at / 251) as u8).collect()).collect()
}

async fn with_manner(blobs: &Blobs, manner: impl Fn(&Ask) -> Vec<Act> + Send + Sync + 'static) -> Peer {
    Peer::start(Arc::clone(blobs), Arc::new(manner) as Manner).await
}

/// Sends a blob in slices, with a pause before each.
fn slowly(ask: &Ask, slice: usize, pause: Duration) -> Vec<Act> {
    let mut acts = beginning(&ask.bytes, ask.from, 0);
    for piece in ask.bytes[ask.from.unwrap_or(0)..].chunks(slice) {
        acts.extend([Act::Pause(pause), Act::Send(piece.to_vec())]);
    }
    acts
}

#[tokio::test]
async fn a_faster_source_gives_more_and_upstream_is_left_alone() {
    let contents = contents(24, 40_000);
    let blobs = blobs(&contents);
    let slow = with_manner(&blobs, |ask| slowly(ask, 2_000, Duration::from_millis(5))).await;
    let fast = with_manner(&blobs, |ask| slowly(ask, 16_000, Duration::from_millis(5))).await;
    let upstream = Peer::honest(&blobs).await;
    let patient = LanePolicy::default();
    let ran = fetch_with(&contents, &[&slow.url(), &fast.url()], &upstream.url(), patient, 2).await;
    assert!(ran.failures.is_empty() && ran.is_complete(&contents));
    let (slow, fast) = (ran.of(&slow.url()), ran.of(&fast.url()));
    assert!(slow.blobs > 0 && fast.blobs > 2 * slow.blobs, "{slow:?} {fast:?}");
    assert_eq!((slow.bytes + fast.bytes, upstream.asked().len()), (24 * 40_000, 0));
    let told = |source: &str| {
        ran.events
            .iter()
            .filter(|event| matches!(event, Event::TransferFrom { source: from, .. } if from == source))
            .count()
    };
    assert_eq!((told(&slow.source), told(&fast.source)), (slow.blobs, fast.blobs));
}

#[tokio::test]
async fn upstream_is_a_source_like_the_others_when_it_is_named() {
    let contents = contents(12, 40_000);
    let blobs = blobs(&contents);
    let peer = with_manner(&blobs, |ask| slowly(ask, 8_000, Duration::from_millis(4))).await;
    let upstream = with_manner(&blobs, |ask| slowly(ask, 8_000, Duration::from_millis(4))).await;
    let ran = fetch(&contents, &[&peer.url(), "upstream"], &upstream.url(), LanePolicy::default()).await;
    assert!(ran.failures.is_empty() && ran.is_complete(&contents));
    assert!(ran.of("upstream").blobs > 0 && ran.of(&peer.url()).blobs > 0, "{:?}", ran.report);
}

#[tokio::test]
async fn a_blob_goes_on_elsewhere_from_where_it_stopped() {
    let contents = contents(1, 50_000);
    let blobs = blobs(&contents);
    let dying = with_manner(&blobs, |ask| [beginning(&ask.bytes, ask.from, 20_000), vec![Act::Reset]].concat()).await;
    let other = Peer::honest(&blobs).await;
    // Many strikes: it is one break that is looked at.
    let ran = fetch(&contents, &[&dying.url(), &other.url()], "http://127.0.0.1:9/", policy()).await;
    assert!(ran.failures.is_empty() && ran.is_complete(&contents));
    let resumed = other.asked();
    assert!(matches!(resumed[..], [Some(from)] if from > 0), "the rest only: {resumed:?}");
    assert_eq!(ran.report.iter().map(|report| report.bytes).sum::<u64>(), 50_000, "no byte came twice");
}

#[tokio::test]
async fn whose_part_was_wrong_is_found_with_the_right_bytes() {
    let contents = contents(1, 50_000);
    let blobs = blobs(&contents);
    let liar = with_manner(&blobs, |ask| {
        let mut wrong = ask.bytes.clone();
        wrong[100] ^= 1;
        [beginning(&wrong, ask.from, 20_000), vec![Act::Reset]].concat()
    })
    .await;
    let honest = Peer::honest(&blobs).await;
    let ran = fetch(&contents, &[&liar.url(), &honest.url()], "http://127.0.0.1:9/", policy()).await;
    assert!(ran.failures.is_empty() && ran.is_complete(&contents));
    let what = ran.lie_of(&liar.url()).unwrap();
    assert!(what.starts_with("bytes 0 to ") && what.ends_with(" of file.0 are not the locked ones"), "{what}");
    assert_eq!(ran.lie_of(&honest.url()), None);
    let first = honest.asked();
    assert!(matches!(first[..], [Some(_), None]), "the rest, then everything: {first:?}");
    let dropped =
        |event: &Event| matches!(event, Event::SourceDropped { source, lied: true, .. } if *source == liar.url());
    assert_eq!(ran.events.iter().filter(|event| dropped(event)).count(), 1);
}

#[tokio::test]
async fn who_lies_only_about_the_rest_is_found() {
    let contents = contents(1, 50_000);
    let blobs = blobs(&contents);
    let breaking = with_manner(&blobs, |ask| match ask.before {
        0 => [beginning(&ask.bytes, ask.from, 20_000), vec![Act::Reset]].concat(),
        _ => whole(&ask.bytes, ask.from),
    })
    .await;
    let liar = with_manner(&blobs, |ask| {
        let mut wrong = ask.bytes.clone();
        if let Some(from) = ask.from {
            wrong[from + 5] ^= 1;
        }
        whole(&wrong, ask.from)
    })
    .await;
    let ran = fetch(&contents, &[&breaking.url(), &liar.url()], "http://127.0.0.1:9/", policy()).await;
    assert!(ran.failures.is_empty() && ran.is_complete(&contents));
    let what = ran.lie_of(&liar.url()).unwrap();
    assert!(what.ends_with(" to 49999 of file.0 are not the locked ones"), "{what}");
    assert_eq!(ran.lie_of(&breaking.url()), None);
}

#[tokio::test]
async fn a_peer_that_lied_is_asked_nothing_more() {
    let contents = contents(20, 5_000);
    let blobs = blobs(&contents);
    let liar = with_manner(&blobs, |ask| whole(&vec![0; ask.bytes.len()], ask.from)).await;
    let honest = Peer::honest(&blobs).await;
    let ran = fetch(&contents, &[&liar.url(), &honest.url()], "http://127.0.0.1:9/", policy()).await;
    assert!(ran.failures.is_empty() && ran.is_complete(&contents));
    assert_eq!(liar.asked().len(), 1, "who was not tested has one transfer at a time");
    let what = ran.lie_of(&liar.url()).unwrap();
    assert!(what.contains("has other bytes than the locked ones: expected sha256:"), "{what}");
}

#[tokio::test]
async fn a_source_is_tested_with_a_small_blob_before_it_gets_a_large_one() {
    let contents = [contents(3, 200_000), contents(1, 300)].concat();
    let blobs = blobs(&contents);
    let first = Arc::new(std::sync::Mutex::new(None));
    let seen = Arc::clone(&first);
    let honest = with_manner(&blobs, move |ask| {
        seen.lock().unwrap().get_or_insert(ask.bytes.len());
        whole(&ask.bytes, ask.from)
    })
    .await;
    let ran = fetch(&contents, &[&honest.url()], "http://127.0.0.1:9/", policy()).await;
    assert!(ran.failures.is_empty() && ran.is_complete(&contents));
    assert_eq!(*first.lock().unwrap(), Some(300));
}

#[tokio::test]
async fn silence_and_a_drip_are_left_for_somebody_else() {
    for manner in [
        (|ask: &Ask| [beginning(&ask.bytes, ask.from, 1_000), vec![Act::Hang]].concat()) as fn(&Ask) -> Vec<Act>,
        |ask: &Ask| slowly(ask, 1, Duration::from_millis(20)),
        |_: &Ask| vec![Act::Hang],
    ] {
        let contents = contents(2, 30_000);
        let blobs = blobs(&contents);
        let bad = with_manner(&blobs, manner).await;
        let upstream = Peer::honest(&blobs).await;
        let ran = fetch(&contents, &[&bad.url()], &upstream.url(), policy()).await;
        assert!(ran.failures.is_empty() && ran.is_complete(&contents));
        assert!(ran.of("upstream").bytes >= 50_000 && ran.lie_of(&bad.url()).is_none(), "{:?}", ran.report);
    }
}

#[tokio::test]
async fn a_source_that_fails_and_is_the_only_one_is_asked_again() {
    let contents = contents(3, 30_000);
    let blobs = blobs(&contents);
    let shaky = with_manner(&blobs, |ask| match ask.before % 2 {
        0 => [beginning(&ask.bytes, ask.from, 10_000), vec![Act::Reset]].concat(),
        _ => whole(&ask.bytes, ask.from),
    })
    .await;
    let ran = fetch(&contents, &[&shaky.url()], "http://127.0.0.1:9/", policy()).await;
    assert!(ran.failures.is_empty() && ran.is_complete(&contents), "{:?}", ran.report);
}

#[tokio::test]
async fn when_nobody_is_left_each_blob_says_why() {
    let contents = contents(3, 5_000);
    let blobs = blobs(&contents);
    let liar = with_manner(&blobs, |ask| whole(&vec![0; ask.bytes.len()], ask.from)).await;
    let ran = fetch(&contents, &[&liar.url()], "http://127.0.0.1:9/", policy()).await;
    assert_eq!(ran.failures.len(), 3);
    assert_eq!(ran.failures.iter().filter(|failure| failure.error.is_integrity()).count(), 1);
    let rest = ran.failures.iter().filter(|failure| !failure.error.is_integrity());
    assert!(rest.into_iter().all(|failure| failure.error.to_string().contains("127.0.0.1:9")));
    assert!(ran.store.present().unwrap().is_empty());
}
