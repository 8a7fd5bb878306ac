//! `ztlab lock why`: who asks for an entry, what it costs, where it comes from, what uses it. Opens no socket.

use std::{collections::BTreeMap, io::Read as _};

use serde::Serialize;

use crate::{
    base::{Digest, wheel_tag::normalized_project},
    demand::minikube::NODE_PROGRAMS,
    intent::IntentError,
    lockfile::{self, Lock, Profile},
    review::why::{self, Use, Why},
    step::images::{Role, role_of},
    store::Store,
    verb::Context,
};

use super::{UnknownName, audit::demand, yaml::store_if_there};

/// A wheel's METADATA is a page of text; a zip bomb is not.
const METADATA_LIMIT: u64 = 1 << 20;

/// The entries that were meant, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhyOutcome {
    /// The lab's identity.
    pub lab_id: Digest,
    /// One for each entry that the name, reference or digest means.
    pub entries: Vec<Why>,
    /// YAML that was not looked at, and versions that nobody has read: they may ask as well.
    pub unseen: Vec<String>,
    /// Wheels that are not in the store, so that nobody read what they require.
    pub unread_wheels: Vec<String>,
}

/// Explains what a name, an image's reference or the beginning of a digest means in the lock.
///
/// # Errors
/// When lock, intent or a manifest cannot be read, or nothing of the lock is meant.
pub fn why(context: &Context, name: &str) -> miette::Result<WhyOutcome> {
    let lock = lockfile::read(&context.lock_path())?;
    let intent = fs_err::read_to_string(context.intent_path()).map_err(IntentError::Unreadable)?;
    let meant = why::meant(&lock, name);
    if meant.is_empty() {
        return Err(UnknownName { name: name.to_owned() }.into());
    }
    let demand = demand(context, &lock, &Profile::default())?;
    let wheels = meant.iter().any(|entry| entry.starts_with("wheel."));
    let (requires, unread_wheels) =
        if wheels { requirements(&lock, store_if_there(context)?.as_ref()) } else { Default::default() };
    let entries = meant.iter().map(|entry| why::why(&lock, &demand, &intent, entry, moves(&lock, entry), &requires));
    let unknown = demand.unknown.iter().map(|unknown| unknown.who.clone());
    Ok(WhyOutcome {
        lab_id: lock.lab_id(),
        entries: entries.collect(),
        unseen: demand.unseen.iter().cloned().chain(unknown).collect(),
        unread_wheels,
    })
}

/// The step that brings an entry's bytes to where they are used.
fn moves(lock: &Lock, entry: &str) -> Vec<Use> {
    let one = |by: &str, how: &str| vec![Use { by: by.to_owned(), how: how.to_owned() }];
    if let Some(name) = entry.strip_prefix("tool.") {
        return match NODE_PROGRAMS.iter().any(|(program, _)| *program == name) {
            true => one("cache", "into Minikube's cache, and from there into the node"),
            false => Vec::new(),
        };
    }
    match role_of(lock, entry) {
        Some(Role::NodeBase) => one("base-image", "into the machine's Docker"),
        Some(Role::Bootstrap) => one("cache", "into Minikube's cache; preload reads it back"),
        Some(Role::Workload) => one("preload", "into the node's runtime, and read back by digest"),
        Some(Role::BuildBase) | None => Vec::new(),
    }
}

/// What each wheel in the store requires, and the wheels that are not there.
fn requirements(lock: &Lock, store: Option<&Store>) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let (mut requires, mut unread) = (BTreeMap::new(), Vec::new());
    for (name, entry) in &lock.wheel {
        let blob = entry.platforms.values().find_map(|download| store?.blob(download.expected().complete()?));
        match blob.and_then(|blob| metadata(blob.open().ok()?)) {
            Some(text) => {
                requires.insert(name.clone(), required(&text));
            }
            None => unread.push(format!("wheel.{name}")),
        }
    }
    (requires, unread)
}

fn metadata(file: fs_err::File) -> Option<String> {
    let mut wheel = zip::ZipArchive::new(file).ok()?;
    let name = wheel.file_names().flatten().find(|name| name.ends_with(".dist-info/METADATA"))?.into_owned();
    let mut text = String::new();
    wheel.by_name(&name).ok()?.take(METADATA_LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The projects that `Requires-Dist` lines name (core metadata 2.x), but for those of optional extras.
fn required(metadata: &str) -> Vec<String> {
    let headers = metadata.lines().take_while(|line| !line.is_empty());
    let requirements = headers.filter_map(|line| line.strip_prefix("Requires-Dist:"));
    let needed = requirements.filter(|line| !line.split_once(';').is_some_and(|(_, marker)| marker.contains("extra")));
    let name = |line: &str| {
        let letters = line.trim().chars();
        let name: String =
            letters.take_while(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.')).collect();
        normalized_project(&name)
    };
    needed.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::required;

    #[test]
    fn requirements_are_names_without_versions_markers_and_extras() {
        let text = "Name: demo\nRequires-Dist: Click>=8.1.3\nRequires-Dist: markup_safe (>=2)\nRequires-Dist: importlib-metadata; python_version < '3.10'\nRequires-Dist: asgiref>=3.2 ; extra == 'async'\n\nRequires-Dist: not-a-header\n";
        assert_eq!(required(text), ["click", "markup-safe", "importlib-metadata"]);
    }
}
