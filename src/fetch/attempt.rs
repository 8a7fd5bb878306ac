//! One GET into the store. Each way in which a server can lie about a body is told apart here.

use reqwest::{
    StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE},
};

use crate::store::{Ingest, StoreError};

use super::{
    FetchError,
    client::{Answer, Client, content_type},
    source::Location,
};

/// Bytes gathered before they are hashed and written: a system call for each packet of a slow line would cost
/// more than the work. What a fast line brings in one read is as large and goes straight through.
const PIECE: usize = 64 * 1024;
/// A read of this size is worth a write of its own: gathering it first would copy it once more.
const LARGE_READ: usize = 32 * 1024;

/// What one place has told about a blob in this run.
#[derive(Default)]
pub(super) struct Memory {
    /// The strong entity tag of the bytes that are here: a range is asked only of the same bytes.
    etag: Option<HeaderValue>,
}

/// Takes up the blob where it is and reads until the body ends. The caller checks what came.
///
/// `slot` holds the ingest before and after, except when this future is dropped while it starts over. After
/// [`FetchError::Range`] it holds what it held: somebody else may go on from there.
pub(super) async fn attempt(
    client: &Client,
    location: &Location,
    slot: &mut Option<Ingest>,
    memory: &mut Memory,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), FetchError> {
    let (offset, expected) = slot.as_ref().map_or((0, None), |ingest| (ingest.written(), ingest.expected().size));
    if offset > 0 && expected == Some(offset) {
        // An earlier run died between the last byte and the rename.
        return Ok(());
    }
    let mut answer = match client.send(location, &range_headers(offset, expected, memory)).await {
        Err(FetchError::Status { status: StatusCode::RANGE_NOT_SATISFIABLE, url, .. }) => {
            return Err(FetchError::Range { url, asked: offset, answer: "416 Range Not Satisfiable".to_owned() });
        }
        other => other?,
    };
    refuse_html(location, slot, answer.response.headers())?;
    if offset > 0 && !continues(location, &answer, offset, expected) {
        // A whole body is fine, it is only longer. Another part than the one asked for is not; the caller decides
        // whether what is here is worth keeping for somebody else.
        if answer.response.status() == StatusCode::PARTIAL_CONTENT {
            return Err(FetchError::Range { url: location.shown(), asked: offset, answer: describe(&answer) });
        }
        restart(slot).await?;
    }
    memory.etag = strong_etag(answer.response.headers());
    refuse_length(location, slot, &answer)?;
    read_body(client, location, &mut answer, slot, progress).await
}

async fn read_body(
    client: &Client,
    location: &Location,
    answer: &mut Answer,
    slot: &mut Option<Ingest>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), FetchError> {
    let mut gathered = Vec::new();
    loop {
        let received = slot.as_ref().map_or(0, Ingest::written) + gathered.len() as u64;
        let chunk = client.chunk(answer, location, received).await;
        let (piece, ended): (&[u8], bool) = match &chunk {
            Ok(Some(chunk)) => (chunk, false),
            Ok(None) | Err(_) => (&[], true),
        };
        let fits = !ended && piece.len() < LARGE_READ && gathered.len() + piece.len() <= PIECE;
        if !fits {
            // Also when the line broke: what came before is kept, the next attempt goes on from there.
            take(location, slot, &gathered, progress).await?;
            gathered.clear();
        }
        if ended {
            return chunk.map(|_| ());
        }
        if piece.len() >= LARGE_READ {
            take(location, slot, piece, progress).await?;
        } else {
            gathered.reserve_exact(PIECE - gathered.len());
            gathered.extend_from_slice(piece);
        }
    }
}

/// Hashes and writes, right here: the bytes are still in this core's cache, and a piece takes well under a
/// millisecond.
async fn take(
    location: &Location,
    slot: &mut Option<Ingest>,
    piece: &[u8],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), FetchError> {
    let Some(ingest) = slot.as_mut().filter(|_| !piece.is_empty()) else { return Ok(()) };
    match ingest.append(piece) {
        Ok(()) => {
            progress(piece.len() as u64);
            Ok(())
        }
        Err(StoreError::TooLong { limit, .. }) => {
            restart(slot).await?;
            Err(FetchError::TooLong { url: location.shown(), limit })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn restart(slot: &mut Option<Ingest>) -> Result<(), FetchError> {
    let Some(mut ingest) = slot.take() else { return Ok(()) };
    let (ingest, result) = super::blob::blocking(move || {
        let result = ingest.restart();
        (ingest, result)
    })
    .await;
    *slot = Some(ingest);
    Ok(result?)
}

fn range_headers(offset: u64, expected: Option<u64>, memory: &Memory) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if offset == 0 {
        return headers;
    }
    // A closed range: some caches serve an open one from a body that is still growing.
    let end = expected.map(|size| (size - 1).to_string()).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes={offset}-{end}")) {
        headers.insert(RANGE, value);
    }
    if let Some(etag) = &memory.etag {
        headers.insert(IF_RANGE, etag.clone());
    }
    headers
}

/// Whether the answer is the part that was asked for (RFC 9110, section 14.4).
fn continues(location: &Location, answer: &Answer, offset: u64, expected: Option<u64>) -> bool {
    if answer.response.status() != StatusCode::PARTIAL_CONTENT {
        tracing::debug!(url = location.shown(), "the server ignores ranges: starting over");
        return false;
    }
    let range = answer.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let Some(range) = range.and_then(|range| range.strip_prefix("bytes ")) else { return false };
    let Some((part, total)) = range.split_once('/') else { return false };
    let starts_there = part.split_once('-').is_some_and(|(start, _)| start.parse() == Ok(offset));
    let same_total = match (total.parse::<u64>(), expected) {
        (Ok(total), Some(expected)) => total == expected,
        _ => true,
    };
    starts_there && same_total
}

fn describe(answer: &Answer) -> String {
    let range = answer.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    format!("{} {}", answer.response.status(), range.unwrap_or("without Content-Range"))
}

fn strong_etag(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")).cloned()
}

fn refuse_html(location: &Location, slot: &Option<Ingest>, headers: &HeaderMap) -> Result<(), FetchError> {
    if content_type(headers).as_deref() != Some("text/html") {
        return Ok(());
    }
    let expected = slot.as_ref().map(Ingest::label).unwrap_or_default();
    Err(FetchError::Html { url: location.shown(), expected })
}

/// A server that announces more than the lock allows need not be listened to.
fn refuse_length(location: &Location, slot: &Option<Ingest>, answer: &Answer) -> Result<(), FetchError> {
    let Some(ingest) = slot else { return Ok(()) };
    let announced = answer.response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match (ingest.expected().size, announced) {
        (Some(limit), Some(announced)) if ingest.written().saturating_add(announced) > limit => {
            Err(FetchError::TooLong { url: location.shown(), limit })
        }
        _ => Ok(()),
    }
}
