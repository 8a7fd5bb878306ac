//! What a run of `ztlab lock` did, or would do: one row for each entry that differs.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use crate::{
    base::Digest,
    lockfile::{self, Lock},
};

/// An entry with gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// `app.backend`
    pub artifact: String,
    /// What it lacks.
    pub lacks: Vec<String>,
}

/// How an entry differs from what was locked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is new.
    Added,
    /// Something else is asked for.
    Changed,
    /// The same is asked for, and upstream has other bytes now.
    Moved,
    /// The same is asked for, and what was missing is known now, or the reverse.
    Completed,
    /// Nobody asks for it any more.
    Removed,
}

/// One entry that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `image.calico-node`
    pub artifact: String,
    /// How it differs.
    pub change: Kind,
    /// What was asked for.
    pub was: Option<String>,
    /// What is asked for.
    pub now: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The lock file.
    pub lock: PathBuf,
    /// The lab's identity, as it is (or, in a dry run, would be).
    pub lab_id: Digest,
    /// Whether the lock differs from what was there.
    pub changed: bool,
    /// Whether it was written.
    pub written: bool,
    /// Entries that differ, removed ones last.
    pub changes: Vec<Change>,
    /// Entries that stayed as they were.
    pub kept: usize,
    /// Entries that `fetch` completes: app images are built there.
    pub pending: Vec<Pending>,
    /// Requests that went out.
    pub requests: u64,
}

/// The entries of `new` that differ from `old`, in the lock's order, and then those that only `old` has.
pub(super) fn changes(old: &Lock, new: &Lock) -> Vec<Change> {
    let names = |lock: &Lock| {
        let artifacts = lock.artifacts().into_iter().map(|artifact| artifact.name);
        artifacts.chain(lock.profile.keys().map(|name| format!("profile.{name}"))).collect::<Vec<_>>()
    };
    let (before, after) = (names(old), names(new));
    let (old_wants, new_wants) = (lockfile::wants(old), lockfile::wants(new));
    let (old_blocks, new_blocks) = (blocks(old), blocks(new));
    let (old_gaps, new_gaps) = (BTreeMap::from_iter(old.pending()), BTreeMap::from_iter(new.pending()));
    let differing = after.iter().filter_map(|name| {
        let change = match (old_blocks.get(name), new_blocks.get(name)) {
            (None, _) => Kind::Added,
            (was, now) if was == now => return None,
            _ if old_wants.get(name) != new_wants.get(name) => Kind::Changed,
            _ if old_gaps.contains_key(name) || new_gaps.contains_key(name) => Kind::Completed,
            _ => Kind::Moved,
        };
        let (was, now) = (asked_for(old, &old_wants, name), asked_for(new, &new_wants, name));
        Some(Change { artifact: name.clone(), change, was, now })
    });
    let gone = before.iter().filter(|name| !after.contains(name)).map(|name| Change {
        artifact: name.clone(),
        change: Kind::Removed,
        was: asked_for(old, &old_wants, name),
        now: None,
    });
    differing.chain(gone).collect()
}

/// A request as people know it: of an app only the image's name, since the whole request is a page.
fn asked_for(lock: &Lock, wants: &BTreeMap<String, String>, name: &str) -> Option<String> {
    match name.strip_prefix("app.") {
        Some(app) => lock.app.get(app).map(|entry| entry.request.reference.clone()),
        None => wants.get(name).cloned(),
    }
}

/// The blocks of the canonical text by their entries' names: what a reviewer sees change.
fn blocks(lock: &Lock) -> BTreeMap<String, String> {
    let text = lockfile::write(lock);
    let named = text.split("\n\n").filter_map(|block| {
        let (head, body) = block.strip_prefix('[')?.split_once("]\n")?;
        // Names with a dot are quoted in the text, and nowhere else.
        Some((head.replace('"', ""), body.trim_end().to_owned()))
    });
    named.collect()
}
