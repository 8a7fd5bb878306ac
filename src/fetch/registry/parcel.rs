//! Bytes on their way into a registry. They are hashed as they are read, and the last piece leaves only when all of them
//! are what their name says: a damaged blob never arrives whole.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream;
use reqwest::{
    Body, RequestBuilder, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use tokio::io::AsyncReadExt as _;

use crate::{
    base::{Descriptor, Event, Hasher, Reporter, report::Silent, report::next_transfer_id},
    fetch::{Client, FetchError, throttle::Throttle},
};

/// Read and sent at once. Small, because a piece that leaves is the only sign of life on a slow line.
const PIECE: usize = 64 * 1024;
/// So many times longer than between two pieces it may take a registry to put away what it has: some copy it once more.
const PUT_AWAY: u32 = 10;

/// A blob that is to be in a registry.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Digest and length.
    pub descriptor: Descriptor,
    /// What people call it.
    pub label: String,
    /// Where its bytes are.
    pub bytes: OutgoingBytes,
}

/// Where bytes are that are to be sent.
#[derive(Debug, Clone)]
pub enum OutgoingBytes {
    /// In a file.
    File(PathBuf),
    /// Here.
    Memory(Bytes),
}

/// A blob that is being sent, over all attempts.
pub(in crate::fetch) struct Parcel {
    blob: Outgoing,
    media_type: HeaderValue,
    journey: Arc<Journey>,
}

/// What is known of it while it is under way.
struct Journey {
    id: u64,
    reporter: Arc<dyn Reporter>,
    throttle: Option<Arc<Throttle>>,
    size: u64,
    /// Bytes of this attempt that left.
    sent: AtomicU64,
    /// The most of them in any attempt: those were told.
    told: AtomicU64,
    moved: Mutex<Instant>,
    /// What our own store has instead of the blob.
    problem: Mutex<Option<FetchError>>,
}

impl Parcel {
    /// A blob, whose way is told.
    pub(super) fn new(client: &Client, blob: &Outgoing) -> Self {
        let journey = Journey::new(client, client.shared_reporter(), blob.descriptor.size);
        let (id, name) = (journey.id, blob.label.clone());
        journey.reporter.report(Event::TransferStarted { id, name, total: Some(blob.descriptor.size) });
        let media_type = HeaderValue::from_static("application/octet-stream");
        Self { blob: blob.clone(), media_type, journey: Arc::new(journey) }
    }

    /// A manifest: too small to be told.
    pub(super) fn quiet(client: &Client, bytes: &Bytes, media_type: &HeaderValue) -> Self {
        let blob = Outgoing {
            descriptor: Descriptor::of(bytes),
            label: "a manifest".to_owned(),
            bytes: OutgoingBytes::Memory(bytes.clone()),
        };
        let journey = Journey::new(client, Arc::new(Silent), blob.descriptor.size);
        Self { blob, media_type: media_type.clone(), journey: Arc::new(journey) }
    }

    /// Bytes of the last attempt.
    pub(super) fn sent(&self) -> u64 {
        self.journey.sent.load(Ordering::Relaxed)
    }

    pub(super) fn finished(&self) {
        self.journey.reporter.report(Event::TransferFinished { id: self.journey.id });
    }

    pub(super) fn failed(&self, error: &FetchError, retrying: bool) {
        let error = error.to_string();
        self.journey.reporter.report(Event::TransferFailed { id: self.journey.id, error, retrying });
    }

    /// Sends a request with these bytes, and waits for the answer as long as something moves.
    pub(in crate::fetch) async fn send(
        &self,
        request: RequestBuilder,
        url: String,
        limit: Duration,
    ) -> Result<Response, FetchError> {
        self.journey.begin();
        let request = request
            .header(CONTENT_TYPE, self.media_type.clone())
            .header(CONTENT_LENGTH, self.blob.descriptor.size)
            .body(self.body());
        let sent = tokio::select! {
            biased;
            sent = request.send() => sent,
            seconds = self.journey.stalled(limit) => {
                return Err(FetchError::Stalled { url, seconds, received: 0 });
            }
        };
        // Why the body ended early is ours to say, whatever became of the request.
        if let Some(problem) = self.journey.problem.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(problem);
        }
        sent.map_err(|source| FetchError::Connect { url, source: source.without_url() })
    }

    fn body(&self) -> Body {
        let reading = Reading {
            blob: self.blob.clone(),
            journey: Arc::clone(&self.journey),
            source: None,
            hasher: Hasher::default(),
            left: self.blob.descriptor.size,
        };
        Body::wrap_stream(stream::try_unfold(reading, Reading::next))
    }
}

impl Journey {
    fn new(client: &Client, reporter: Arc<dyn Reporter>, size: u64) -> Self {
        Self {
            id: next_transfer_id(),
            reporter,
            throttle: client.throttle(),
            size,
            sent: AtomicU64::new(0),
            told: AtomicU64::new(0),
            moved: Mutex::new(Instant::now()),
            problem: Mutex::default(),
        }
    }

    fn begin(&self) {
        self.sent.store(0, Ordering::Relaxed);
        self.move_on();
    }

    fn move_on(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn leaves(&self, bytes: u64) {
        self.move_on();
        let sent = self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // What is sent a second time was counted the first time.
        let before = self.told.fetch_max(sent, Ordering::Relaxed);
        if sent > before {
            self.reporter.report(Event::TransferProgress { id: self.id, bytes: sent - before });
        }
    }

    /// Returns when nothing has moved for too long, with the seconds that was.
    async fn stalled(&self, limit: Duration) -> u64 {
        loop {
            tokio::time::sleep(limit / 4).await;
            let all_left = self.sent.load(Ordering::Relaxed) == self.size;
            let allowed = if all_left { limit * PUT_AWAY } else { limit };
            let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
            if moved.elapsed() > allowed {
                return allowed.as_secs();
            }
        }
    }
}

/// Where a body comes from.
enum Source {
    File(tokio::fs::File),
    Memory(Bytes),
}

/// A body that is being read.
struct Reading {
    blob: Outgoing,
    journey: Arc<Journey>,
    source: Option<Source>,
    hasher: Hasher,
    left: u64,
}

impl Reading {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = match self.read().await {
            Ok(piece) => piece,
            Err(error) => {
                let note = io::Error::new(error.kind(), error.to_string());
                return Err(self.ends(FetchError::Store(error.into()), note));
            }
        };
        self.hasher.update(&piece);
        self.left -= piece.len() as u64;
        if piece.is_empty() || self.left == 0 {
            let found = std::mem::take(&mut self.hasher).finish();
            let Descriptor { digest: expected, size } = self.blob.descriptor;
            if found != expected {
                let found = if self.left > 0 { format!("{} bytes", size - self.left) } else { found.to_string() };
                let damaged = FetchError::Damaged { label: self.blob.label.clone(), expected, found };
                return Err(self.ends(damaged, io::Error::other("the blob is damaged")));
            }
        }
        if let Some(throttle) = &self.journey.throttle {
            throttle.take(piece.len()).await;
        }
        self.journey.leaves(piece.len() as u64);
        Ok(Some((piece, self)))
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let source = match &mut self.source {
            Some(source) => source,
            none => none.insert(match &self.blob.bytes {
                OutgoingBytes::File(path) => Source::File(tokio::fs::File::open(path).await?),
                OutgoingBytes::Memory(bytes) => Source::Memory(bytes.clone()),
            }),
        };
        let most = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        match source {
            Source::Memory(bytes) => Ok(bytes.split_to(most.min(bytes.len()))),
            Source::File(file) => {
                let mut piece = vec![0; most];
                let count = file.read(&mut piece).await?;
                piece.truncate(count);
                Ok(piece.into())
            }
        }
    }

    fn ends(&self, problem: FetchError, error: io::Error) -> io::Error {
        *self.journey.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        error
    }
}
