//! From names to bytes: what a version, a tag or a path means today, as digests and sizes.
//!
//! Only `lock`, and `fetch` for entries that are still pending, come here. What the lock already knows of an
//! entry is an expectation that upstream must meet: a digest that was published before is never overwritten
//! by what a server says now. Bytes that had to be read (files, manifests) stay in the store, so that the
//! fetch which follows need not bring them again.

mod file;
mod image;
mod source;
mod wheel;

use futures::{StreamExt, stream};

use crate::{
    base::{Descriptor, Expected, Platform},
    fetch::{Client, FetchError},
    lockfile::{FileEntry, ImageEntry, Lock, ManifestEntry, ToolEntry, WheelEntry},
    plan::is_selected,
    store::{ArchiveError, Store, StoreError},
};

pub use source::{SourceError, SourceFile, Sources, read_sources, source_digest, source_digests};

/// Entries resolved at a time; the client's limit per host still holds.
const JOBS: usize = 8;

/// Why an entry could not be resolved.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ResolveError {
    /// From the network.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// From an archive.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Archive(#[from] ArchiveError),
    /// From the store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The image is not made for this node.
    #[error("{reference} has no image for {platform}; it has {}", if .present.is_empty() { "none at all".to_owned() } else { .present.join(", ") })]
    #[diagnostic(
        code(resolve::platform),
        help("choose a tag that is published for this platform, or change `node` in lock/ztlab.toml")
    )]
    Platform {
        /// The image.
        reference: String,
        /// What was looked for.
        platform: Platform,
        /// What there is.
        present: Vec<String>,
    },
    /// The registry's answer is not what a registry answers.
    #[error("the registry's answer for {name} is no image document: {problem}")]
    #[diagnostic(
        code(resolve::document),
        help("look at the reference in lock/ztlab.toml, and whether a mirror stands in between")
    )]
    Document {
        /// Reference or digest.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Upstream has other bytes than the lock expects.
    #[error("{what} is not what the lock expects: {}, found {} with {} bytes", told(.expected), .found.digest, .found.size)]
    #[diagnostic(
        code(integrity::digest),
        help("upstream changed what it had published: find out why before you accept it with `ztlab lock --upgrade`")
    )]
    Differs {
        /// Which bytes.
        what: String,
        /// What the lock knows.
        expected: Expected,
        /// What upstream has.
        found: Descriptor,
    },
    /// No file of the package fits.
    #[error("{want}: no wheel fits {platform}; the index has {}", if .present.is_empty() { "no wheel of that version".to_owned() } else { .present.join(", ") })]
    #[diagnostic(
        code(resolve::wheel),
        help("choose a version with a wheel for this platform in lock/ztlab.toml: nothing is compiled here")
    )]
    Wheel {
        /// The request.
        want: String,
        /// The platform.
        platform: Platform,
        /// Files of that version.
        present: Vec<String>,
    },
}

impl ResolveError {
    /// Whether bytes came that are not the expected ones: exit code 21 instead of 20.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Differs { .. } => true,
            Self::Fetch(error) => error.is_integrity(),
            Self::Archive(ArchiveError::NotAFile { .. }) => true,
            _ => false,
        }
    }
}

fn told(expected: &Expected) -> String {
    let digest = expected.digest.map(|digest| digest.to_string());
    let size = expected.size.map(|size| format!("{size} bytes"));
    let parts: Vec<String> = digest.into_iter().chain(size).collect();
    format!("expected {}", parts.join(" with "))
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

/// Completes every pending entry that upstream can complete, concurrently. Complete entries cost nothing.
/// `only` limits it to entries of these names (empty: all of them).
///
/// Apps are not upstream's: their images are built (see `verb::fetch`).
pub async fn resolve(client: &Client, store: &Store, lock: &mut Lock, only: &[String]) -> Vec<Unresolved> {
    let room = Room { client, store };
    let pending = lock.pending().into_iter().filter(|(name, _)| is_selected(name, only));
    let tasks: Vec<(String, Task)> = pending.filter_map(|(name, _)| task(lock, &name)).collect();
    let node = lock.node.clone();
    let results: Vec<_> = stream::iter(tasks)
        .map(|(artifact, task)| {
            let node = &node;
            async move { (artifact, room.run(task, node).await) }
        })
        .buffer_unordered(JOBS)
        .collect()
        .await;
    let mut unresolved = Vec::new();
    for (artifact, result) in results {
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
            Update::Manifest(name, mut entry) => {
                let label = format!("manifest.{name}");
                let found = self.download(&entry.want, entry.expected(), label).await?;
                (entry.digest, entry.size) = (Some(found.digest), Some(found.size));
                Update::Manifest(name, entry)
            }
            Update::Image(name, entry) => {
                let entry = self.image(entry, node).await?;
                Update::Image(name, entry)
            }
            Update::Wheel(name, entry) => {
                let entry = self.wheel(entry, node).await?;
                Update::Wheel(name, entry)
            }
        })
    }
}
