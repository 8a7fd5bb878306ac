//! What the library tells while it works. It never prints: a [`Reporter`] decides who hears it.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;

/// One thing that happened. Serialized, it is a line of `--json` output; `docs/events.schema.json` is its schema.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// So much is to be transferred; the transfers follow.
    TransfersPlanned {
        /// How many.
        transfers: usize,
        /// All their bytes, those that an earlier run left included.
        bytes: u64,
    },
    /// A transfer of known or unknown length begins. `id` is unique within one run.
    TransferStarted {
        /// Handle for the events that follow.
        id: u64,
        /// What moves, for people: `image.calico-node` or a file's name.
        name: String,
        /// Length in bytes, when known.
        total: Option<u64>,
    },
    /// The transfer goes on where an earlier run stopped.
    TransferResumed {
        /// Handle of the transfer.
        id: u64,
        /// Bytes that are here already; they do not arrive again.
        bytes: u64,
    },
    /// From now on the transfer's bytes come from this source. Only told where there are several.
    TransferFrom {
        /// Handle of the transfer.
        id: u64,
        /// The source, as `--from` named it; `upstream` for everybody whom the lock names.
        source: String,
    },
    /// A source is not asked any more in this run.
    SourceDropped {
        /// The source.
        source: String,
        /// What it sent, or how it failed.
        what: String,
        /// Whether it sent bytes that are not the locked ones; otherwise it only failed.
        lied: bool,
    },
    /// Bytes arrived (a difference, not a sum).
    TransferProgress {
        /// Handle of the transfer.
        id: u64,
        /// Bytes since the last event of this transfer.
        bytes: u64,
    },
    /// The transfer ended well.
    TransferFinished {
        /// Handle of the transfer.
        id: u64,
    },
    /// The transfer ended badly, or is tried again.
    TransferFailed {
        /// Handle of the transfer.
        id: u64,
        /// Why.
        error: String,
        /// Whether another attempt follows.
        retrying: bool,
    },
    /// An entry of the lock was looked up, well or not.
    EntryResolved {
        /// `image.calico-node`
        artifact: String,
        /// How many of this run's entries are done, this one included.
        done: usize,
        /// How many there are to look up.
        total: usize,
    },
    /// A step of an install begins.
    StepStarted {
        /// The step's name, as `--from` and `--until` take it.
        step: &'static str,
        /// What it will do, for people.
        title: String,
    },
    /// What a step is waiting for at this moment.
    StepWaiting {
        /// The step's name.
        step: &'static str,
        /// What has not happened yet.
        on: String,
    },
    /// How far a step is, where that can be counted.
    StepProgress {
        /// The step's name.
        step: &'static str,
        /// So many parts are done.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// A step is over.
    StepFinished {
        /// The step's name.
        step: &'static str,
        /// Whether the step changed anything.
        changed: bool,
        /// One line of evidence.
        detail: String,
        /// Duration in seconds.
        seconds: f64,
    },
    /// A server listens.
    Serving {
        /// The lab's name.
        lab: String,
        /// SHA-256 of its lock.
        lab_id: String,
        /// How many blobs are served.
        blobs: usize,
        /// Their bytes.
        bytes: u64,
        /// Where it can be reached.
        addresses: Vec<String>,
        /// Whether other machines reach it.
        beyond_this_machine: bool,
    },
    /// Clients of a server took something.
    RoomChanged {
        /// Addresses that took at least one blob.
        machines: usize,
        /// Blobs that are on their way now.
        transfers: usize,
        /// Bytes of blobs that left, since the beginning.
        bytes: u64,
        /// Bytes a second, of late.
        rate: u64,
        /// Laptops that serve what they have to others.
        sharing: usize,
    },
    /// A fetch serves what it has to others.
    Sharing {
        /// Where it can be reached.
        address: String,
        /// The server of the room, which names laptops to each other.
        server: String,
        /// Whether other machines reach it.
        beyond_this_machine: bool,
        /// Whether everything is here: told once at the beginning, and once more when that is so.
        complete: bool,
    },
    /// A seat told a server's roster what it did.
    SeatReported {
        /// The name that was chosen.
        seat: String,
        /// What, for people.
        said: String,
    },
    /// A fact worth a line.
    Note {
        /// The line.
        text: String,
    },
    /// Something that will bite later.
    Warning {
        /// The line.
        text: String,
    },
}

/// Hears events. Implementations must be cheap: transfers report every chunk.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn report(&self, event: Event);
}

/// A handle for a new transfer, unique within this process.
pub fn next_transfer_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Hears nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: Event) {}
}

/// Keeps every event, for tests.
#[derive(Debug, Default)]
pub struct Recording(Mutex<Vec<Event>>);

impl Recording {
    /// What was reported so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().map(|events| events.clone()).unwrap_or_default()
    }
}

impl Reporter for Recording {
    fn report(&self, event: Event) {
        if let Ok(mut events) = self.0.lock() {
            events.push(event);
        }
    }
}
