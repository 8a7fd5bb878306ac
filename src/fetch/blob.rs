//! One blob: from the first of its sources that has the right bytes into the store.

use std::{sync::atomic::AtomicU64, sync::atomic::Ordering, time::Duration};

use tokio::task::JoinError;

use crate::{
    base::{Digest, Event, Expected, report::next_transfer_id},
    store::{Ingest, Slot, Store, StoreError, StoredBlob, Whole, waiting_for},
};

use super::{
    Client, FetchError,
    attempt::{Memory, attempt, restart},
    retry::{Backoff, RetryPolicy},
    source::Location,
};

/// How often to look whether another process is done with a blob.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A blob to bring.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What is known of it.
    pub expected: Expected,
    /// What people call it.
    pub label: String,
}

/// What came of bringing a blob.
#[derive(Debug)]
pub(super) enum Brought {
    /// It has its name already.
    Present(StoredBlob),
    /// Its bytes are here and checked; [`Store::publish`] gives them their name.
    Whole(Whole),
}

impl Client {
    /// Brings a blob into the store; finding it there is success.
    ///
    /// # Errors
    /// The last source's failure, after retries; and at once when the store fails or the client is offline.
    pub async fn blob(&self, store: &Store, wanted: &Wanted, locations: &[Location]) -> Result<StoredBlob, FetchError> {
        match self.bring(store, wanted, locations).await? {
            Brought::Present(blob) => Ok(blob),
            Brought::Whole(whole) => {
                let store = store.clone();
                Ok(blocking(move || store.publish_one(whole)).await?)
            }
        }
    }

    /// As [`Client::blob`], and leaves it to the caller to give the blob its name: whoever brings many lets
    /// many share one wait for the disk.
    pub(super) async fn bring(
        &self,
        store: &Store,
        wanted: &Wanted,
        locations: &[Location],
    ) -> Result<Brought, FetchError> {
        let name = partial_name(wanted, locations);
        let mut slot = match self.open(store, wanted, &name).await? {
            Slot::Present(blob) => return Ok(Brought::Present(blob)),
            Slot::Empty(ingest) => Some(ingest),
        };
        let id = next_transfer_id();
        let total = wanted.expected.size;
        self.reporter().report(Event::TransferStarted { id, name: wanted.label.clone(), total });
        let already = slot.as_ref().map_or(0, Ingest::written);
        if already > 0 {
            self.reporter().report(Event::TransferResumed { id, bytes: already });
        }
        let mut last = None;
        for (index, location) in locations.iter().enumerate() {
            let progress = |bytes| self.reporter().report(Event::TransferProgress { id, bytes });
            let transfer = Transfer {
                client: self,
                store,
                wanted,
                name: &name,
                location,
                id,
                retry: &self.network().retry,
                starts_over: true,
                progress: &progress,
            };
            match transfer.run(&mut slot).await {
                Ok(brought) => {
                    self.reporter().report(Event::TransferFinished { id });
                    return Ok(brought);
                }
                Err(error) => {
                    let retrying = index + 1 < locations.len() && !is_final_everywhere(&error);
                    self.reporter().report(Event::TransferFailed { id, error: error.to_string(), retrying });
                    last = Some(error);
                    if !retrying {
                        break;
                    }
                }
            }
        }
        let nowhere = || FetchError::Address { text: wanted.label.clone(), problem: "nobody publishes it".to_owned() };
        Err(last.unwrap_or_else(nowhere))
    }

    /// The blob's slot, after waiting for other writers.
    pub(super) async fn open(&self, store: &Store, wanted: &Wanted, name: &str) -> Result<Slot, FetchError> {
        let mut told = false;
        loop {
            let slot = if store.has_partial(name) {
                // Hashing what an earlier run left may take seconds.
                let (store, expected, partial) = (store.clone(), wanted.expected, name.to_owned());
                blocking(move || store.try_begin(expected, &partial)).await?
            } else {
                // Opening a file takes less than handing that to another thread; and a thread costs 140 kB.
                store.try_begin(wanted.expected, name)?
            };
            if let Some(slot) = slot {
                return Ok(slot);
            }
            if !told {
                self.reporter().report(waiting_for(&wanted.label));
                told = true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// One blob from one place.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client,
    pub(super) store: &'a Store,
    pub(super) wanted: &'a Wanted,
    /// The partial file's.
    pub(super) name: &'a str,
    pub(super) location: &'a Location,
    pub(super) id: u64,
    /// When to ask again.
    pub(super) retry: &'a RetryPolicy,
    /// Whether a first half that does not fit is forgotten and everything is asked of this place. Without it, that
    /// is for the caller to decide, who may know other places.
    pub(super) starts_over: bool,
    /// Hears how many bytes came.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

impl Transfer<'_> {
    /// Brings it, after retries. `slot` holds what is here of it afterwards, unless it turned out wrong.
    pub(super) async fn run(&self, slot: &mut Option<Ingest>) -> Result<Brought, FetchError> {
        let mut backoff = Backoff::new(self.retry);
        let mut memory = Memory::default();
        let mut started_over = false;
        loop {
            if slot.is_none() {
                match self.client.open(self.store, self.wanted, self.name).await? {
                    Slot::Present(blob) => return Ok(Brought::Present(blob)),
                    Slot::Empty(ingest) => *slot = Some(ingest),
                }
            }
            let resumed = slot.as_ref().is_some_and(|ingest| ingest.written() > 0);
            let brought = AtomicU64::new(0);
            let error = match self.attempt(slot, &mut memory, &brought).await {
                Ok(whole) => return Ok(Brought::Whole(whole)),
                Err(error) => error,
            };
            // The first half may be another run's, of bytes that upstream has replaced since, or that a
            // failing disk changed. Only whole bytes prove anything against this source.
            if self.starts_over
                && resumed
                && !started_over
                && matches!(error, FetchError::WrongDigest { .. } | FetchError::TooLong { .. })
            {
                started_over = true;
                memory = Memory::default();
                *slot = None;
                continue;
            }
            let wrong_part = matches!(error, FetchError::Range { .. });
            if wrong_part && !self.starts_over {
                return Err(error);
            }
            let Some(pause) = backoff.next(&error, brought.into_inner()) else { return Err(error) };
            if wrong_part {
                restart(slot).await?;
            }
            let retry = Event::TransferFailed { id: self.id, error: error.to_string(), retrying: true };
            self.client.reporter().report(retry);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        slot: &mut Option<Ingest>,
        memory: &mut Memory,
        brought: &AtomicU64,
    ) -> Result<Whole, FetchError> {
        let progress = |bytes: u64| {
            brought.fetch_add(bytes, Ordering::Relaxed);
            (self.progress)(bytes);
        };
        attempt(self.client, self.location, slot, memory, &progress).await?;
        let Some(ingest) = slot.take() else {
            return Err(FetchError::Address { text: self.name.to_owned(), problem: "its slot is gone".to_owned() });
        };
        self.check(ingest, slot)
    }

    /// Checks what came; the reasons why it may not be the blob.
    fn check(&self, mut ingest: Ingest, slot: &mut Option<Ingest>) -> Result<Whole, FetchError> {
        let url = self.location.shown();
        let expected = ingest.expected();
        if let Some(size) = expected.size.filter(|size| ingest.written() < *size) {
            let received = ingest.written();
            *slot = Some(ingest);
            return Err(FetchError::Truncated { url, expected: size, received });
        }
        let label = ingest.label();
        // A read of what was just written, and the end of a hash: less than handing them to another thread.
        let head = ingest.head()?;
        // Without a digest nothing but its look tells a login page from a program.
        let result = if expected.digest.is_none() && is_html(&head) {
            ingest.restart()?;
            None
        } else {
            Some(ingest.check())
        };
        match result {
            Some(Ok(whole)) => Ok(whole),
            Some(Err(StoreError::WrongDigest { .. })) | None if is_html(&head) => {
                Err(FetchError::Html { url, expected: label })
            }
            Some(Err(StoreError::WrongDigest { expected, found, .. })) => {
                Err(FetchError::WrongDigest { url, expected, found })
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(FetchError::Html { url, expected: label }),
        }
    }
}

/// Asking elsewhere would not help.
pub(super) fn is_final_everywhere(error: &FetchError) -> bool {
    matches!(error, FetchError::Offline { .. } | FetchError::Store(StoreError::Io(_) | StoreError::Full(_)))
}

/// The digest names the partial file; where there is none yet, the address does.
fn partial_name(wanted: &Wanted, locations: &[Location]) -> String {
    let address = || locations.first().map(|location| location.url.to_string()).unwrap_or_default();
    match wanted.expected.digest {
        Some(digest) => digest.hex(),
        None => format!("from-{}", Digest::of(address().as_bytes()).hex()),
    }
}

fn is_html(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    text.starts_with("<!doctype html") || text.starts_with("<html")
}

/// Runs blocking work off the async threads. A panic there is raised here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work)).await
}

/// Waits for a task. A panic there is raised here.
pub(super) async fn joined<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going away, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}
