//! Two locks, entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::{Digest, Expected, Platform},
    lockfile::{self, Lock},
};

use super::{
    alarm::{Alarm, alarms},
    download::Download,
    view::{Key, Kind, View, artifact, moved, views},
};

/// What is different between two locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The old lab's identity; absent when there was no lock.
    pub was: Option<Digest>,
    /// The new lab's identity.
    pub now: Digest,
    /// What a reviewer must not miss.
    pub alarms: Vec<Alarm>,
    /// The lab's name, platforms and versions, where they differ.
    pub settings: Vec<Setting>,
    /// Entries that differ, in the lock's order.
    pub entries: Vec<EntryChange>,
    /// What the change costs.
    pub download: Download,
}

/// A line that belongs to no entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `name`, `host`, `node` or `version.calico`.
    pub name: String,
    /// The old value.
    pub was: Option<String>,
    /// The new value.
    pub now: Option<String>,
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Its request changed: another version, most often.
    Bumped,
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// An app whose files, base image or wheels changed, under the same request.
    Rebuilt,
    /// Its digests moved under the same request. Always an alarm.
    Moved,
    /// Digests or sizes that were pending are known now.
    Completed,
    /// Something that was known is pending again.
    Reopened,
    /// Something else: the address that the same bytes come from.
    Edited,
}

/// One entry that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryChange {
    /// `image.calico-node`
    pub artifact: String,
    /// Its section.
    pub kind: Kind,
    /// What happened.
    pub change: Change,
    /// The old request in full; absent when there was none.
    pub was: Option<String>,
    /// The new request in full.
    pub now: Option<String>,
    /// The address, reference or requirement that it is about, the new one where there is one.
    pub subject: String,
    /// What moved, in few words: `v3.27.0` and `v3.28.0`. Equal requests have none.
    pub moved: Option<(String, String)>,
    /// The fields of an app's request that changed.
    pub fields: Vec<String>,
    /// Whether an app's source files changed.
    pub source_changed: bool,
    /// Bytes of the old entry, as far as they were known.
    pub size_was: Option<u64>,
    /// Bytes of the new entry, as far as they are known.
    pub size_now: Option<u64>,
    /// Bytes to download for whoever has the old lab; see [`Download`].
    pub download: u64,
    /// Digests that differ.
    pub parts: Vec<PartChange>,
    /// What the new entry lacks.
    pub pending: Vec<String>,
}

/// A digest that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartChange {
    /// `index`, `linux-arm64 manifest`, `member istioctl`, `source`.
    pub part: String,
    /// The old digest.
    pub was: Option<Digest>,
    /// The new digest.
    pub now: Option<Digest>,
}

impl PartChange {
    /// Whether both digests are known and differ.
    pub fn moved(&self) -> bool {
        self.was.is_some() && self.now.is_some()
    }
}

impl Diff {
    /// Compares two locks. Without an old one, everything is new and nothing is an alarm.
    pub fn between(old: Option<&Lock>, new: &Lock) -> Self {
        let nothing = Lock::default();
        let (before, after) = (old.unwrap_or(&nothing), new);
        let (was, now) = (views(before), views(after));
        let download = Download::between(old, new);
        let inputs = changed_inputs(after, &was, &now);
        let keys: BTreeSet<&Key> = was.keys().chain(now.keys()).collect();
        let entries: Vec<EntryChange> = keys
            .into_iter()
            .filter(|key| was.get(*key).map(|view| &view.text) != now.get(*key).map(|view| &view.text))
            .map(|key| entry_change(key, was.get(key), now.get(key), inputs.contains(&key.1), &download))
            .collect();
        let alarms = if old.is_some() { alarms(before, after, &was, &now, &entries) } else { Vec::new() };
        Self { was: old.map(Lock::lab_id), now: new.lab_id(), alarms, settings: settings(old, new), entries, download }
    }

    /// Whether the two locks are the same.
    pub fn is_empty(&self) -> bool {
        self.was == Some(self.now)
    }

    /// How many entries had this happen to them.
    pub fn count(&self, change: Change) -> usize {
        self.of(change).count()
    }

    /// The entries that had this happen to them.
    pub fn of(&self, change: Change) -> impl Iterator<Item = &EntryChange> {
        self.entries.iter().filter(move |entry| entry.change == change)
    }
}

fn entry_change(
    key: &Key,
    was: Option<&View>,
    now: Option<&View>,
    inputs_changed: bool,
    download: &Download,
) -> EntryChange {
    let name = artifact(key);
    let parts = part_changes(was, now);
    let source_changed = was.is_some() && now.is_some() && parts.iter().any(|part| part.part == "source");
    let change = match (was, now) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        (Some(was), Some(now)) if was.want != now.want => Change::Bumped,
        _ if key.0 == Kind::App && (inputs_changed || source_changed) => Change::Rebuilt,
        _ if parts.iter().any(PartChange::moved) => Change::Moved,
        (Some(was), Some(now)) => gaps(was, now),
    };
    let moved = match (was, now) {
        (Some(was), Some(now)) if was.want != now.want => told(key.0, was, now),
        _ => None,
    };
    EntryChange {
        kind: key.0,
        change,
        was: was.map(|view| view.want.clone()),
        now: now.map(|view| view.want.clone()),
        subject: now.or(was).map(|view| view.address.clone()).unwrap_or_default(),
        moved,
        fields: if key.0 == Kind::App { changed_fields(was, now) } else { Vec::new() },
        source_changed,
        size_was: was.and_then(View::size),
        size_now: now.and_then(View::size),
        download: download.entries.get(&name).copied().unwrap_or(0),
        parts,
        pending: now.map(|view| view.pending.clone()).unwrap_or_default(),
        artifact: name,
    }
}

/// Nothing moved, so either something became known or something is open again; a lock that gained a platform has both.
fn gaps(was: &View, now: &View) -> Change {
    let lost = |from: &View, to: &View| {
        from.parts.iter().any(|(part, known)| {
            let other = expected_of(to, part);
            (known.digest.is_some() && other.digest.is_none()) || (known.size.is_some() && other.size.is_none())
        })
    };
    if lost(was, now) || (was.pending.is_empty() && !now.pending.is_empty()) {
        Change::Reopened
    } else if lost(now, was) || was.pending != now.pending {
        Change::Completed
    } else {
        Change::Edited
    }
}

fn expected_of(view: &View, part: &str) -> Expected {
    view.parts.iter().find(|(name, _)| name == part).map_or(Expected::NOTHING, |(_, expected)| *expected)
}

/// What moved between two different requests. `None` where an app's fields tell it.
fn told(kind: Kind, was: &View, now: &View) -> Option<(String, String)> {
    match (was.address != now.address, kind) {
        (true, _) => Some(moved(kind, &was.address, &now.address)),
        (false, Kind::App) => None,
        // The address is the same, so the difference is behind it: members, the side, a checksum.
        (false, _) => Some((was.want.clone(), now.want.clone())),
    }
}

/// The fields of an app's request that differ; its want is the request as JSON.
fn changed_fields(was: Option<&View>, now: Option<&View>) -> Vec<String> {
    let fields = |view: Option<&View>| -> BTreeMap<String, serde_json::Value> {
        view.and_then(|view| serde_json::from_str(&view.want).ok()).unwrap_or_default()
    };
    let (was, now) = (fields(was), fields(now));
    if was.is_empty() || now.is_empty() {
        return Vec::new();
    }
    now.into_iter().filter(|(field, value)| was.get(field) != Some(value)).map(|(field, _)| field).collect()
}

fn part_changes(was: Option<&View>, now: Option<&View>) -> Vec<PartChange> {
    let parts = |view: Option<&View>| view.map(|view| view.parts.clone()).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for (name, _) in parts(now).into_iter().chain(parts(was)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let digest = |view: Option<&View>, part: &str| view.and_then(|view| expected_of(view, part).digest);
    names
        .into_iter()
        .map(|part| PartChange { was: digest(was, &part), now: digest(now, &part), part })
        .filter(|part| part.was != part.now)
        .collect()
}

/// The apps whose base image or wheels differ between the locks: their images have to.
fn changed_inputs(new: &Lock, was: &BTreeMap<Key, View>, now: &BTreeMap<Key, View>) -> BTreeSet<String> {
    let text = |views: &BTreeMap<Key, View>, kind: Kind, name: &str| {
        views.get(&(kind, name.to_owned())).map(|view| view.text.clone())
    };
    let differs = |kind: Kind, name: &str| text(was, kind, name) != text(now, kind, name);
    let changed = new.app.iter().filter(|(_, entry)| {
        let base = entry.request.base.trim_start_matches("image.");
        differs(Kind::Image, base) || entry.request.wheels.iter().any(|wheel| differs(Kind::Wheel, wheel))
    });
    changed.map(|(name, _)| name.clone()).collect()
}

fn settings(old: Option<&Lock>, new: &Lock) -> Vec<Setting> {
    let mut names: BTreeSet<String> = new.version.keys().cloned().collect();
    names.extend(old.iter().flat_map(|old| old.version.keys().cloned()));
    let platforms = |platforms: &[Platform]| platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut settings = vec![
        ("name".to_owned(), old.map(|old| old.name.clone()), Some(new.name.clone())),
        ("host".to_owned(), old.map(|old| platforms(&old.host)), Some(platforms(&new.host))),
        ("node".to_owned(), old.map(|old| platforms(&old.node)), Some(platforms(&new.node))),
    ];
    settings.extend(names.into_iter().map(|name| {
        let version = |lock: &Lock| lock.version.get(&name).cloned();
        (format!("version.{name}"), old.and_then(version), version(new))
    }));
    let profiles = |lock: &Lock| {
        let wants = lockfile::wants(lock).into_iter();
        wants.filter(|(name, _)| name.starts_with("profile.")).collect::<BTreeMap<_, _>>()
    };
    let (was, now) = (old.map(profiles).unwrap_or_default(), profiles(new));
    let names: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    settings.extend(names.into_iter().map(|name| (name.clone(), was.get(name).cloned(), now.get(name).cloned())));
    let changed = settings.into_iter().filter(|(_, was, now)| was != now);
    changed.map(|(name, was, now)| Setting { name, was, now }).collect()
}
