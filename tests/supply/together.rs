//! Many blobs at once: one scheduler, shared waits for the disk, several fetches into one store.

use std::{collections::BTreeSet, sync::Arc};

use ztlab::{
    base::{Descriptor, report::Recording},
    fetch::{Client, Failure, Lanes, Network, fetch_all},
    lockfile,
    plan::PlannedBlob,
    store::{Slot, Store},
};

use crate::origin::{Fault, Origin};

/// Larger than what is gathered before a write, and no multiple of anything.
const LARGE: usize = 3_000_017;

fn body(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

/// Serves bytes and returns the blob of a plan that wants them.
fn planned(origin: &Origin, path: &str, bytes: &[u8]) -> PlannedBlob {
    origin.serve(path, bytes);
    PlannedBlob {
        descriptor: Descriptor::of(bytes),
        origins: vec![lockfile::Origin::Url(origin.url(path))],
        needed_by: BTreeSet::from(["file.it".to_owned()]),
        label: format!("file.it {path}"),
    }
}

async fn fetch(store: &Store, wanted: Vec<PlannedBlob>, jobs: usize) -> Vec<Failure> {
    let client = Arc::new(Client::new(Network::default(), Arc::new(Recording::default())).unwrap());
    fetch_all(&client, store, wanted, jobs, &Lanes::upstream(&client)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_that_break_at_odd_places_arrive_whole() {
    let origin = Origin::start().await;
    let (one, other) = (body(1, LARGE), body(2, LARGE));
    let wanted = vec![planned(&origin, "/one", &one), planned(&origin, "/other", &other)];
    origin.faults("/one", &[Fault::Cut(1_000_003), Fault::Cut(70_001)]);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(fetch(&store, wanted, 2).await.is_empty());
    for bytes in [&one, &other] {
        assert_eq!(&store.blob(Descriptor::of(bytes)).unwrap().read().unwrap(), bytes);
    }
    let ranges: Vec<Option<String>> = origin.asked("/one").into_iter().map(|seen| seen.range).collect();
    let from = |byte: usize| Some(format!("bytes={byte}-{}", LARGE - 1));
    assert_eq!(ranges, [None, from(1_000_003), from(1_070_004)]);
}

#[tokio::test]
async fn what_was_whole_when_a_run_was_killed_is_not_asked_for_again() {
    let origin = Origin::start().await;
    let bytes = body(3, 1000);
    let wanted = planned(&origin, "/whole", &bytes);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let name = wanted.descriptor.digest.hex();
    let Some(Slot::Empty(mut ingest)) = store.try_begin(wanted.descriptor.into(), &name).unwrap() else {
        panic!("occupied")
    };
    ingest.append(&bytes).unwrap();
    drop(ingest);
    assert!(fetch(&store, vec![wanted.clone()], 1).await.is_empty());
    assert!(store.blob(wanted.descriptor).is_some());
    assert!(origin.seen().is_empty());
}

/// Each holds a blob that the other waits for: were names given only at the end, both would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn fetches_that_wait_for_each_other_both_end_and_bring_each_blob_once() {
    let origin = Origin::start().await;
    let wanted: Vec<PlannedBlob> =
        (0..6).map(|number| planned(&origin, &format!("/{number}"), &body(number, 5000))).collect();
    let folder = tempfile::tempdir().unwrap();
    let stores = [Store::open(folder.path()).unwrap(), Store::open(folder.path()).unwrap()];
    let backwards = wanted.iter().rev().cloned().collect();
    let (one, other) = tokio::join!(fetch(&stores[0], wanted.clone(), 1), fetch(&stores[1], backwards, 1));
    assert!(one.is_empty() && other.is_empty(), "{one:?} {other:?}");
    assert!(wanted.iter().all(|blob| stores[0].blob(blob.descriptor).is_some()));
    assert_eq!(origin.seen().len(), wanted.len());
}

#[tokio::test]
async fn a_blob_that_nobody_has_does_not_keep_the_others_away() {
    let origin = Origin::start().await;
    let mut absent = planned(&origin, "/absent", b"not there");
    absent.origins = vec![lockfile::Origin::Url(origin.url("/elsewhere"))];
    let there = planned(&origin, "/there", b"there");
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let failures = fetch(&store, vec![absent.clone(), there.clone()], 1).await;
    let failed: Vec<&PlannedBlob> = failures.iter().map(|failure| &failure.blob).collect();
    assert_eq!(failed, [&absent]);
    assert!(store.blob(there.descriptor).is_some());
}
