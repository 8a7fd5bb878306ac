//! From names to bytes: what a version, a tag or a path means today, as digests and sizes.
//!
//! Only `lock`, and `fetch` for entries that are still pending, come here. What the lock already knows of an
//! entry is an expectation that upstream must meet: a digest that was published before is never overwritten
//! by what a server says now. Bytes that had to be read (files, manifests) stay in the store, so that the
//! fetch which follows need not bring them again.

mod age;
mod asked;
mod checksum;
mod error;
mod file;
mod image;
mod page;
mod source;
mod wheel;

use futures::{StreamExt, stream};

use jiff::Timestamp;

use crate::{
    base::{Event, Platform},
    fetch::{Client, Document},
    lockfile::{FileEntry, ImageEntry, Lock, ManifestEntry, ToolEntry, WheelEntry},
    plan::is_selected,
    store::Store,
};

use asked::Asked;

pub use age::AgeLimit;
pub use error::ResolveError;
pub use source::{SourceError, SourceFile, Sources, read_sources, source_digest, source_digests};

/// Entries resolved at a time; the client's limit per host still holds.
const JOBS: usize = 8;

/// What is to be resolved, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'a> {
    /// Only entries of these names; empty means all.
    pub only: &'a [String],
    /// The lock as it was. What upstream still says the same about keeps its pins without another look at the bytes.
    pub before: Option<&'a Lock>,
    /// Refuse what was published more recently. What `before` has already is not judged again.
    pub age: Option<&'a AgeLimit>,
}

/// An entry that stays pending, and why.
#[derive(Debug)]
pub struct Unresolved {
    /// `image.calico-node`
    pub artifact: String,
    /// Why.
    pub error: ResolveError,
}

/// One entry's new value.
enum Update {
    Tool(String, ToolEntry),
    File(String, FileEntry),
    Manifest(String, ManifestEntry),
    Image(String, ImageEntry),
    Wheel(String, WheelEntry),
}

/// Completes every pending entry that upstream can complete, concurrently. Complete entries cost nothing, and every
/// address is asked once, whoever wants it.
///
/// Apps are not upstream's: their images are built (see `verb::fetch`).
pub async fn resolve(client: &Client, store: &Store, lock: &mut Lock, question: Question<'_>) -> Vec<Unresolved> {
    let (asked, now) = (Asked::default(), Timestamp::now());
    let Question { before, age, only } = question;
    let room = Room { client, store, asked: &asked, before, age, now };
    let pending = lock.pending().into_iter().filter(|(name, _)| is_selected(name, only));
    let tasks: Vec<(String, Task)> = pending.filter_map(|(name, _)| task(lock, &name)).collect();
    let node = lock.node.clone();
    let total = tasks.len();
    let results: Vec<_> = stream::iter(tasks)
        .map(|(artifact, task)| {
            let node = &node;
            async move { (artifact, room.run(task, node).await) }
        })
        .buffer_unordered(JOBS)
        .enumerate()
        .inspect(|(index, (artifact, _))| {
            client.reporter().report(Event::EntryResolved { artifact: artifact.clone(), done: index + 1, total });
        })
        .collect()
        .await;
    let mut unresolved = Vec::new();
    for (_, (artifact, result)) in results {
        match result {
            Ok(update) => apply(lock, update),
            Err(error) => unresolved.push(Unresolved { artifact, error }),
        }
    }
    unresolved.sort_by(|one, other| one.artifact.cmp(&other.artifact));
    unresolved
}

/// An entry to work on: the same shapes as its outcome.
type Task = Update;

fn task(lock: &Lock, artifact: &str) -> Option<(String, Task)> {
    let (section, name) = artifact.split_once('.')?;
    let owned = || name.to_owned();
    let task = match section {
        "tool" => Task::Tool(owned(), lock.tool.get(name)?.clone()),
        "file" => Task::File(owned(), lock.file.get(name)?.clone()),
        "manifest" => Task::Manifest(owned(), lock.manifest.get(name)?.clone()),
        "image" => Task::Image(owned(), lock.image.get(name)?.clone()),
        "wheel" => Task::Wheel(owned(), lock.wheel.get(name)?.clone()),
        _ => return None,
    };
    Some((artifact.to_owned(), task))
}

fn apply(lock: &mut Lock, update: Update) {
    match update {
        Update::Tool(name, entry) => _ = lock.tool.insert(name, entry),
        Update::File(name, entry) => _ = lock.file.insert(name, entry),
        Update::Manifest(name, entry) => _ = lock.manifest.insert(name, entry),
        Update::Image(name, entry) => _ = lock.image.insert(name, entry),
        Update::Wheel(name, entry) => _ = lock.wheel.insert(name, entry),
    }
}

/// What every resolution needs.
#[derive(Clone, Copy)]
struct Room<'a> {
    client: &'a Client,
    store: &'a Store,
    asked: &'a Asked,
    before: Option<&'a Lock>,
    age: Option<&'a AgeLimit>,
    now: Timestamp,
}

impl Room<'_> {
    async fn run(self, task: Task, node: &[Platform]) -> Result<Update, ResolveError> {
        Ok(match task {
            Update::Tool(name, entry) => {
                let entry = self.tool(&name, entry).await?;
                Update::Tool(name, entry)
            }
            Update::File(name, entry) => {
                let entry = self.file(&name, entry).await?;
                Update::File(name, entry)
            }
            Update::Manifest(name, entry) => {
                let entry = self.manifest(&name, entry).await?;
                Update::Manifest(name, entry)
            }
            Update::Image(name, entry) => {
                let entry = self.image(&name, entry, node).await?;
                Update::Image(name, entry)
            }
            Update::Wheel(name, entry) => {
                let entry = self.wheel(&name, entry, node).await?;
                Update::Wheel(name, entry)
            }
        })
    }

    /// A small document, asked for once in a run.
    async fn asked_document(self, address: &str, accept: Option<&'static str>) -> Result<Document, ResolveError> {
        let mut locations = self.client.file_locations(address)?;
        if let Some(accept) = accept {
            locations = locations.into_iter().map(|location| location.accepting(accept)).collect();
        }
        let place = self.asked.document(address);
        let document = place.get_or_try_init(|| self.client.document(&locations)).await?;
        Ok(document.clone())
    }
}
