//! A merged lock as text, with conflict markers where a person has to decide.

use std::collections::BTreeSet;

use crate::lockfile::{self, Lock};

use super::{
    super::{
        Kind,
        view::{Key, artifact, block},
    },
    Open,
};

/// Git's own markers (git-merge(1), "How conflicts are presented"): every editor knows them, and the parser of locks
/// refuses them.
const OURS: &str = "<<<<<<< ours";
const BETWEEN: &str = "=======";
const THEIRS: &str = ">>>>>>> theirs";

/// The text. Without conflicts it is the canonical one.
pub(super) fn text(merged: &Lock, ours: &Lock, theirs: &Lock, open: &Open) -> String {
    if !open.name && open.versions.is_empty() && open.entries.is_empty() {
        return lockfile::write(merged);
    }
    assembled(merged, ours, theirs, open)
}

/// Block by block. Only the platforms of the merged lock count for what is pending in either side's block.
pub(super) fn assembled(merged: &Lock, ours: &Lock, theirs: &Lock, open: &Open) -> String {
    let placed = |side: &Lock| Lock { host: merged.host.clone(), node: merged.node.clone(), ..side.clone() };
    let (ours, theirs) = (placed(ours), placed(theirs));
    let mut blocks = vec![head(merged, &ours, &theirs, open.name)];
    let versions: BTreeSet<&String> = merged.version.keys().chain(&open.versions).collect();
    let lines: Vec<String> = versions
        .into_iter()
        .map(|name| match open.versions.contains(name) {
            true => conflict(version(&ours, name), version(&theirs, name), None),
            false => version(merged, name).unwrap_or_default(),
        })
        .collect();
    if !lines.is_empty() {
        blocks.push(format!("[version]\n{}", lines.join("\n")));
    }
    let keys: BTreeSet<Key> = keys(merged).into_iter().chain(open.entries.iter().cloned()).collect();
    blocks.extend(keys.iter().map(|key| match open.entries.contains(key) {
        true => conflict(block(&ours, key), block(&theirs, key), Some((asks(&ours, key), asks(&theirs, key)))),
        false => block(merged, key).unwrap_or_default(),
    }));
    blocks.join("\n")
}

/// Two sides between markers. A side that has nothing removed it. The labels say what each side asks for, when that
/// is the difference: whoever decides need not look for it in the lines.
fn conflict(ours: Option<String>, theirs: Option<String>, asked: Option<(String, String)>) -> String {
    let labels = match (&ours, &theirs, asked) {
        (None, _, _) => (" (removed)".to_owned(), String::new()),
        (_, None, _) => (String::new(), " (removed)".to_owned()),
        (_, _, Some((ours, theirs))) if ours == theirs => {
            (" (same request, other digests)".to_owned(), " (same request, other digests)".to_owned())
        }
        (_, _, Some((ours, theirs))) => (format!(" ({ours})"), format!(" ({theirs})")),
        (_, _, None) => (String::new(), String::new()),
    };
    let (ours, theirs) = (ours.unwrap_or_default(), theirs.unwrap_or_default());
    format!("{OURS}{}\n{ours}{BETWEEN}\n{theirs}{THEIRS}{}\n", labels.0, labels.1)
}

/// An entry's request on one line; texts of a lock may hold anything.
fn asks(lock: &Lock, key: &Key) -> String {
    let want = match key.0 {
        Kind::App => lock.app.get(&key.1).map(|entry| entry.request.reference.clone()),
        _ => lockfile::wants(lock).remove(&artifact(key)),
    };
    want.unwrap_or_default().chars().filter(|letter| !letter.is_control()).collect()
}

fn head(merged: &Lock, ours: &Lock, theirs: &Lock, name_is_open: bool) -> String {
    let head = |name: &str| {
        let bare =
            Lock { host: merged.host.clone(), node: merged.node.clone(), name: name.to_owned(), ..Lock::default() };
        lockfile::write(&bare)
    };
    if !name_is_open {
        return head(&merged.name);
    }
    let line = |text: &str| text.lines().find(|line| line.starts_with("name = ")).map(|line| format!("{line}\n"));
    let (ours, theirs) = (line(&head(&ours.name)), line(&head(&theirs.name)));
    let open = line(&head("")).unwrap_or_default();
    head("").replacen(&open, &conflict(ours, theirs, None), 1)
}

/// One line of the version table.
fn version(lock: &Lock, name: &str) -> Option<String> {
    let version = lock.version.get(name)?.clone();
    let bare = Lock { version: [(name.to_owned(), version)].into(), ..Lock::default() };
    Some(lockfile::write(&bare).split_once("[version]\n")?.1.to_owned())
}

fn keys(lock: &Lock) -> BTreeSet<Key> {
    let all =
        |kind: Kind, names: Vec<&String>| names.into_iter().map(move |name| (kind, name.clone())).collect::<Vec<_>>();
    [
        all(Kind::Tool, lock.tool.keys().collect()),
        all(Kind::File, lock.file.keys().collect()),
        all(Kind::Manifest, lock.manifest.keys().collect()),
        all(Kind::Image, lock.image.keys().collect()),
        all(Kind::Wheel, lock.wheel.keys().collect()),
        all(Kind::App, lock.app.keys().collect()),
        all(Kind::Profile, lock.profile.keys().collect()),
    ]
    .into_iter()
    .flatten()
    .collect()
}
