//! One blob from servers that lie: what is got through, what is refused, and by which name.

use std::{sync::Arc, time::Duration};

use ztlab::{
    base::{Descriptor, Expected, report::Recording},
    fetch::{Client, FetchError, Network, RetryPolicy, Wanted},
    store::{Slot, Store, StoredBlob},
};

use crate::origin::{Fault, Origin};

const BODY: &[u8] = b"the bytes of a layer, long enough to be cut into pieces";
const PATH: &str = "/files/layer";

struct Desk {
    origin: Origin,
    client: Client,
    store: Store,
    _folder: tempfile::TempDir,
}

fn network() -> Network {
    Network {
        idle_timeout: Duration::from_millis(400),
        retry: RetryPolicy {
            retries: 3,
            first_pause: Duration::from_millis(2),
            longest_pause: Duration::from_millis(10),
        },
        ..Network::default()
    }
}

impl Desk {
    async fn new(faults: &[Fault]) -> Self {
        Self::with(network(), faults).await
    }

    async fn with(network: Network, faults: &[Fault]) -> Self {
        let origin = Origin::start().await;
        origin.serve(PATH, BODY);
        origin.faults(PATH, faults);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let client = Client::new(network, Arc::new(Recording::default())).unwrap();
        Self { origin, client, store, _folder: folder }
    }

    async fn get(&self, expected: Expected) -> Result<StoredBlob, FetchError> {
        self.get_from(expected, &[self.origin.url(PATH)]).await
    }

    async fn get_from(&self, expected: Expected, urls: &[String]) -> Result<StoredBlob, FetchError> {
        let locations: Vec<_> = urls.iter().flat_map(|url| self.client.file_locations(url).unwrap()).collect();
        let wanted = Wanted { expected, label: "layer".to_owned() };
        self.client.blob(&self.store, &wanted, &locations).await
    }

    async fn get_body(&self) -> Result<StoredBlob, FetchError> {
        self.get(Descriptor::of(BODY).into()).await
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.origin.asked(PATH).into_iter().map(|seen| seen.range).collect()
    }
}

fn from(byte: usize) -> Option<String> {
    Some(format!("bytes={byte}-{}", BODY.len() - 1))
}

#[tokio::test]
async fn an_honest_server_is_asked_once() {
    let desk = Desk::new(&[]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.get_body().await.unwrap().descriptor(), Descriptor::of(BODY));
    assert_eq!(desk.ranges(), [None]);
    assert_eq!(desk.client.requests(), 1);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_said_so() {
    let desk = Desk::new(&[Fault::Status(429, Some("1")), Fault::Status(503, None)]).await;
    let begun = std::time::Instant::now();
    desk.get_body().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After was not waited for");
    assert_eq!(desk.ranges().len(), 3);
}

#[tokio::test]
async fn what_is_not_there_is_asked_for_once() {
    let desk = Desk::new(&[]).await;
    let error = desk.get_from(Descriptor::of(BODY).into(), &[desk.origin.url("/absent")]).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status, .. } if status == 404));
    assert_eq!(desk.origin.seen().len(), 1);
}

#[tokio::test]
async fn a_cut_body_is_resumed_where_it_was_cut() {
    let desk = Desk::new(&[Fault::Cut(20), Fault::Cut(10)]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(20), from(30)]);
}

#[tokio::test]
async fn a_stall_is_noticed_and_resumed() {
    let desk = Desk::new(&[Fault::Stall(7)]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(7)]);
}

#[tokio::test]
async fn a_server_that_stalls_for_ever_is_given_up_and_the_rest_kept() {
    let desk = Desk::new(&[Fault::Stall(5), Fault::Stall(0), Fault::Stall(0), Fault::Stall(0)]).await;
    assert!(matches!(desk.get_body().await.unwrap_err(), FetchError::Stalled { received: 5, .. }));
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges().last().unwrap(), &from(5));
}

#[tokio::test]
async fn a_body_that_ends_early_is_resumed() {
    let desk = Desk::new(&[Fault::EndEarly(12)]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(12)]);
}

#[tokio::test]
async fn a_range_that_is_ignored_starts_over() {
    let desk = Desk::new(&[Fault::Cut(20), Fault::IgnoreRange]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(20)]);
}

#[tokio::test]
async fn a_range_answered_wrongly_starts_over() {
    let desk = Desk::new(&[Fault::Cut(20), Fault::WrongRange]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(20), None]);
}

#[tokio::test]
async fn a_half_of_other_bytes_does_not_spoil_the_download() {
    let desk = Desk::new(&[]).await;
    let expected = Expected::from(Descriptor::of(BODY));
    let name = Descriptor::of(BODY).digest.hex();
    let Some(Slot::Empty(mut ingest)) = desk.store.try_begin(expected, &name).unwrap() else { panic!("occupied") };
    ingest.append(b"bytes of a file that upstream replaced").unwrap();
    drop(ingest);
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [from(38), None]);
}

#[tokio::test]
async fn a_login_page_is_called_one_and_not_stored() {
    let desk = Desk::new(&[Fault::LoginPage]).await;
    assert!(matches!(desk.get_body().await.unwrap_err(), FetchError::Html { .. }));
    assert_eq!(desk.origin.seen().len(), 1, "a login page does not go away by asking again");

    // The same page without its content type, for a file whose digest nobody knows yet.
    let desk = Desk::new(&[Fault::Instead(b"\n<html><body>Please log in</body></html>")]).await;
    assert!(matches!(desk.get(Expected::NOTHING).await.unwrap_err(), FetchError::Html { .. }));
    assert!(desk.store.present().unwrap().is_empty());
}

#[tokio::test]
async fn wrong_bytes_are_final_for_a_source_and_the_next_is_tried() {
    let wrong: &[u8] = &[b'x'; BODY.len()];
    let desk = Desk::new(&[Fault::Instead(wrong)]).await;
    let error = desk.get_body().await.unwrap_err();
    assert!(matches!(error, FetchError::WrongDigest { .. }) && error.is_integrity(), "{error}");
    assert_eq!(desk.origin.seen().len(), 1);
    assert!(desk.store.present().unwrap().is_empty());

    let other = Origin::start().await;
    other.serve(PATH, wrong);
    let both = [other.url(PATH), desk.origin.url(PATH)];
    desk.get_from(Descriptor::of(BODY).into(), &both).await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_too_long_is_cut_off_at_the_locked_size() {
    let longer: &[u8] = b"the bytes of a layer, long enough to be cut into pieces, and then some that nobody locked";
    let desk = Desk::new(&[Fault::Instead(longer)]).await;
    let limit = BODY.len() as u64;
    let error = desk.get_body().await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { limit: found, .. } if found == limit), "{error}");

    // Without a Content-Length the length shows only while reading.
    let desk = Desk::new(&[]).await;
    desk.origin.serve(PATH, longer);
    desk.origin.faults(PATH, &[Fault::EndEarly(longer.len())]);
    assert!(matches!(desk.get_body().await.unwrap_err(), FetchError::TooLong { .. }));
    assert!(desk.store.present().unwrap().is_empty());
}

#[tokio::test]
async fn offline_asks_nobody_and_counts() {
    let desk = Desk::with(Network { offline: true, ..network() }, &[]).await;
    assert!(matches!(desk.get_body().await.unwrap_err(), FetchError::Offline { .. }));
    assert_eq!((desk.client.refused(), desk.client.requests(), desk.origin.seen().len()), (1, 0, 0));
}

#[tokio::test]
async fn plain_http_to_another_machine_is_refused_before_connecting() {
    let desk = Desk::new(&[]).await;
    // TEST-NET-1 (RFC 5737): were it asked, the test would wait for the time-out.
    let error = desk.get_from(Expected::NOTHING, &["http://192.0.2.1/file".to_owned()]).await.unwrap_err();
    assert!(matches!(error, FetchError::PlainHttp { .. }));
    desk.origin.redirect(PATH, "http://192.0.2.1/file".to_owned());
    assert!(matches!(desk.get_body().await.unwrap_err(), FetchError::Connect { .. }));
    assert_eq!(desk.client.requests(), 1);
}

#[tokio::test]
async fn a_registry_gives_one_token_and_a_redirect_does_not_carry_it_away() {
    let desk = Desk::new(&[]).await;
    let elsewhere = Origin::start().await;
    let (one, two) = (Descriptor::of(b"one"), Descriptor::of(b"two"));
    elsewhere.serve("/cdn/one", "one");
    let reference = format!("{}/lab/app:1", desk.origin.url("").trim_start_matches("http://"));
    let path = |blob: &Descriptor| format!("/v2/lab/app/blobs/{}", blob.digest);
    desk.origin.want_token(&path(&one));
    desk.origin.redirect(&path(&one), elsewhere.url("/cdn/one"));
    desk.origin.want_token(&path(&two));
    desk.origin.serve(&path(&two), "two");
    for blob in [one, two] {
        let locations = desk.client.blob_locations(&reference, &blob.digest.to_string()).unwrap();
        let wanted = Wanted { expected: blob.into(), label: "layer".to_owned() };
        desk.client.blob(&desk.store, &wanted, &locations).await.unwrap();
    }
    assert_eq!(desk.origin.asked("/token").len(), 1);
    let sent: Vec<bool> = desk.origin.asked(&path(&two)).iter().map(|seen| seen.authorization.is_some()).collect();
    assert_eq!(sent, [true], "the token is reused");
    assert_eq!(elsewhere.seen()[0].authorization, None);
}

#[tokio::test]
async fn two_tasks_that_want_one_blob_ask_for_it_once() {
    let desk = Desk::new(&[]).await;
    let (one, two) = tokio::join!(desk.get_body(), desk.get_body());
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(desk.origin.seen().len(), 1);
}
