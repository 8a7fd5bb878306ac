//! One blob from servers that lie: what is got through, what is refused, and by which name.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ztlab::{
    base::{Descriptor, Expected, report::Recording},
    fetch::{Client, FetchError, Network, RetryPolicy, Wanted},
    store::{Slot, Store, StoredBlob},
};

use crate::{
    origin::{Fault, Origin},
    raw::{self, End},
};

const BODY: &[u8] = b"the bytes of a layer, long enough to be cut into pieces";
const PATH: &str = "/files/layer";
/// What the tests allow a server to ask for with `Retry-After`.
const CAP: Duration = Duration::from_millis(600);

struct Desk {
    origin: Origin,
    client: Client,
    store: Store,
    _folder: tempfile::TempDir,
}

/// Patient enough that a busy machine is no stall; pauses short, so that no test waits for one.
pub(crate) fn network() -> Network {
    Network {
        idle_timeout: Duration::from_secs(20),
        retry: RetryPolicy {
            retries: 3,
            first_pause: Duration::from_millis(2),
            longest_pause: Duration::from_millis(10),
            longest_retry_after: CAP,
        },
        ..Network::default()
    }
}

/// Gives up on silence soon, and then asks as often as it takes: a busy machine costs attempts, not the test.
fn impatient() -> Network {
    let retry = RetryPolicy { retries: 1000, ..network().retry };
    Network { idle_timeout: Duration::from_millis(400), retry, ..network() }
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

/// Nobody waits a day: that this ends is the cap, that it takes as long as the cap is the obedience.
async fn obeys(fault: Fault) {
    let desk = Desk::new(&[fault]).await;
    let begun = Instant::now();
    desk.get_body().await.unwrap();
    assert!(begun.elapsed() >= CAP, "Retry-After was not waited for");
    assert_eq!(desk.ranges().len(), 2);
}

#[tokio::test]
async fn r2_obeys_and_caps_retry_after_in_seconds_with_429() {
    obeys(Fault::Status(429, Some("86400"))).await;
}

#[tokio::test]
async fn r2_obeys_and_caps_retry_after_in_seconds_with_503() {
    obeys(Fault::Status(503, Some("86400"))).await;
}

#[tokio::test]
async fn r2_obeys_and_caps_retry_after_as_a_date_with_429() {
    obeys(Fault::Status(429, Some("Thu, 31 Dec 2099 23:59:59 GMT"))).await;
}

#[tokio::test]
async fn r2_obeys_and_caps_retry_after_as_a_date_with_503() {
    obeys(Fault::Status(503, Some("Thu, 31 Dec 2099 23:59:59 GMT"))).await;
}

#[tokio::test]
async fn r2_goes_on_when_retry_after_is_over_or_nonsense() {
    let over = [Some("Wed, 21 Oct 2015 07:28:00 GMT"), Some("soon"), None];
    let desk = Desk::new(&over.map(|after| Fault::Status(503, after))).await;
    desk.get_body().await.unwrap();
    assert_eq!(desk.ranges().len(), 4);
}

#[tokio::test]
async fn what_is_not_there_is_asked_for_once() {
    let desk = Desk::new(&[]).await;
    let error = desk.get_from(Descriptor::of(BODY).into(), &[desk.origin.url("/absent")]).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status, .. } if status == 404));
    assert_eq!(desk.origin.seen().len(), 1);
}

#[tokio::test]
async fn r2_resumes_after_a_cut() {
    let desk = Desk::new(&[Fault::Cut(20), Fault::Cut(10)]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(20), from(30)]);
}

#[tokio::test]
async fn r2_resumes_after_a_reset() {
    let desk = Desk::new(&[]).await;
    let total = BODY.len();
    let first = [format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n").as_bytes(), &BODY[..20]].concat();
    let rest = format!("content-range: bytes 20-{}/{total}\r\ncontent-length: {}\r\n\r\n", total - 1, total - 20);
    let rest = [format!("HTTP/1.1 206 Partial Content\r\n{rest}").as_bytes(), &BODY[20..]].concat();
    // A reset before the answer, one inside the body, and then the rest.
    let address = raw::serve(vec![(Vec::new(), End::Reset), (first, End::Reset), (rest, End::Close)]).await;
    let blob = desk.get_from(Descriptor::of(BODY).into(), &[format!("{address}/layer")]).await.unwrap();
    assert_eq!(blob.read().unwrap(), BODY);
}

#[tokio::test]
async fn r2_survives_a_stall() {
    let desk = Desk::with(impatient(), &[Fault::Stall(7)]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert!(desk.ranges().contains(&from(7)), "what came before the stall was fetched again: {:?}", desk.ranges());
}

#[tokio::test]
async fn r2_survives_a_server_that_never_begins_to_answer() {
    let desk = Desk::with(impatient(), &[Fault::Silence, Fault::Silence]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert!(desk.ranges().len() >= 3);
}

#[test]
fn r2_notices_a_stall_within_30_seconds() {
    assert!(Network::default().idle_timeout <= Duration::from_secs(30));
}

#[tokio::test]
async fn r2_gives_up_on_a_server_that_stalls_for_ever_and_keeps_what_came() {
    let mut network = impatient();
    network.retry.retries = 3;
    let mut faults = vec![Fault::Stall(0); 50];
    faults[0] = Fault::Stall(5);
    let desk = Desk::with(network, &faults).await;
    assert!(matches!(desk.get_body().await.unwrap_err(), FetchError::Stalled { .. }));
    desk.origin.faults(PATH, &[]);
    desk.origin.forget();
    let patient = Client::new(self::network(), Arc::new(Recording::default())).unwrap();
    let locations = patient.file_locations(&desk.origin.url(PATH)).unwrap();
    let wanted = Wanted { expected: Descriptor::of(BODY).into(), label: "layer".to_owned() };
    assert_eq!(patient.blob(&desk.store, &wanted, &locations).await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [from(5)]);
}

#[tokio::test]
async fn r2_resumes_a_body_that_ends_early() {
    let desk = Desk::new(&[Fault::EndEarly(12)]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(12)]);
}

#[tokio::test]
async fn r2_survives_an_ignored_range() {
    let desk = Desk::new(&[Fault::Cut(20), Fault::IgnoreRange]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(20)]);
}

#[tokio::test]
async fn r2_survives_a_wrongly_answered_range() {
    let desk = Desk::new(&[Fault::Cut(20), Fault::WrongRange]).await;
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(20), None]);
}

/// What stood under the address before upstream replaced it.
const BEFORE: &[u8] = b"what stood here before it was replaced, as long as that";

#[tokio::test]
async fn r2_survives_a_changed_etag() {
    let desk = Desk::new(&[Fault::CutAndReplace(20, BODY)]).await;
    desk.origin.serve(PATH, BEFORE);
    desk.origin.tag(PATH, "\"before\"");
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    let asked: Vec<_> = desk.origin.asked(PATH).into_iter().map(|seen| (seen.range, seen.if_range)).collect();
    assert_eq!(asked, [(None, None), (from(20), Some("\"before\"".to_owned()))], "the range was bound to the tag");
}

#[tokio::test]
async fn r2_survives_a_changed_etag_that_the_server_does_not_look_at() {
    let desk = Desk::new(&[Fault::CutAndReplace(20, BODY), Fault::IgnoreIfRange]).await;
    desk.origin.serve(PATH, BEFORE);
    desk.origin.tag(PATH, "\"before\"");
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    assert_eq!(desk.ranges(), [None, from(20), None], "two halves of different bytes: once more from the start");
}

#[tokio::test]
async fn r2_survives_a_redirect_to_a_cdn_that_dies_half_way() {
    let desk = Desk::new(&[]).await;
    let cdn = Origin::start().await;
    cdn.serve("/cdn/layer", BODY);
    cdn.faults("/cdn/layer", &[Fault::Cut(15), Fault::Status(503, None), Fault::Cut(10)]);
    desk.origin.redirect(PATH, cdn.url("/cdn/layer"));
    assert_eq!(desk.get_body().await.unwrap().read().unwrap(), BODY);
    // Each attempt asks the registry for a fresh address: the old one may name the machine that died.
    assert_eq!(desk.ranges(), [None, from(15), from(15), from(25)]);
    let ranges: Vec<_> = cdn.asked("/cdn/layer").into_iter().map(|seen| seen.range).collect();
    assert_eq!(ranges, [None, from(15), from(15), from(25)]);
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
async fn r4_calls_a_login_page_one_and_does_not_store_it() {
    let desk = Desk::new(&[Fault::LoginPage]).await;
    assert!(matches!(desk.get_body().await.unwrap_err(), FetchError::Html { .. }));
    assert_eq!(desk.origin.seen().len(), 1, "a login page does not go away by asking again");

    // The same page without its content type, for a file whose digest nobody knows yet.
    let desk = Desk::new(&[Fault::Instead(b"\n<html><body>Please log in</body></html>")]).await;
    assert!(matches!(desk.get(Expected::NOTHING).await.unwrap_err(), FetchError::Html { .. }));
    assert!(desk.store.present().unwrap().is_empty());
}

#[tokio::test]
async fn r4_refuses_wrong_bytes_and_tries_the_next_source() {
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
async fn r4_cuts_an_oversize_body_off_at_the_pinned_size() {
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

    // Who reads to the end never comes to one.
    let desk = Desk::new(&[Fault::Endless]).await;
    assert!(matches!(desk.get_body().await.unwrap_err(), FetchError::TooLong { .. }));
}

#[tokio::test]
async fn a_rate_is_kept_over_all_connections_together() {
    // 55 bytes twice at 100 bytes a second, less the tenth of a second that may be caught up.
    let desk = Desk::with(Network { max_rate: Some(100), ..network() }, &[]).await;
    let other: &[u8] = &[b'x'; BODY.len()];
    desk.origin.serve("/files/other", other);
    let begun = Instant::now();
    let place = [desk.origin.url("/files/other")];
    let (one, two) = tokio::join!(desk.get_body(), desk.get_from(Descriptor::of(other).into(), &place));
    assert_eq!((one.unwrap().read().unwrap(), two.unwrap().read().unwrap()), (BODY.to_vec(), other.to_vec()));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
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
async fn two_tasks_that_want_one_blob_ask_for_it_once() {
    let desk = Desk::new(&[]).await;
    let (one, two) = tokio::join!(desk.get_body(), desk.get_body());
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(desk.origin.seen().len(), 1);
}
