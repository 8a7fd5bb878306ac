//! Why is an entry in the lock? Who asks for it, where it comes from, what it costs, what uses it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    address::addresses,
    audit::{audit, own_uses},
};
use crate::{
    base::{Digest, normalize_reference},
    demand::{Ask, Demand},
    lockfile::{self, Lock},
};

/// Fewer digits of a digest than these would mean too many blobs, and might be a name.
const FEWEST_DIGITS: usize = 6;

/// Where the intent asks for an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
}

/// Something that uses an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Use {
    /// The install's step, the verb, or the entry that needs it.
    pub by: String,
    /// What for.
    pub how: String,
}

/// Bytes that another entry needs too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedBytes {
    /// The other entry.
    pub with: String,
    /// How many.
    pub bytes: u64,
}

/// One entry, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// `image.calico-node`
    pub entry: String,
    /// What the lock was asked for.
    pub want: String,
    /// Where `lock/ztlab.toml` asks for it; absent for an entry that it no longer has.
    pub intent: Option<Place>,
    /// Everybody who will ask for it in a cluster.
    pub asks: Vec<Ask>,
    /// What of ztlab uses it.
    pub uses: Vec<Use>,
    /// Upstream's addresses.
    pub from: Vec<String>,
    /// All its bytes in the store, each blob once.
    pub bytes: u64,
    /// Those that no other entry needs: what goes when the entry goes.
    pub alone: u64,
    /// Those that others need too.
    pub shared: Vec<SharedBytes>,
    /// What is not known yet, so that the bytes are too few.
    pub pending: Vec<String>,
}

/// The entries that a person means: a name, an image's reference, or the beginning of a digest that they hold.
pub fn meant(lock: &Lock, name: &str) -> Vec<String> {
    let entries: Vec<String> = lock.artifacts().into_iter().map(|artifact| artifact.name).collect();
    let named = |entry: &String| entry == name || entry.split_once('.').is_some_and(|(_, short)| short == name);
    let found: Vec<String> = entries.iter().filter(|entry| named(entry)).cloned().collect();
    if !found.is_empty() {
        return found;
    }
    let reference = normalize_reference(name);
    let images = lock.image.iter().map(|(name, entry)| (format!("image.{name}"), entry.want.as_str()));
    let apps = lock.app.iter().map(|(name, app)| (format!("app.{name}"), app.request.reference.as_str()));
    let found: Vec<String> =
        images.chain(apps).filter(|(_, want)| normalize_reference(want) == reference).map(|(entry, _)| entry).collect();
    if !found.is_empty() {
        return found;
    }
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if digits.len() < FEWEST_DIGITS || !hexadecimal {
        return Vec::new();
    }
    // The text has every digest, those of incomplete entries as well.
    let text = lockfile::write(lock);
    let holds = |entry: &String| {
        let block = text.split("\n\n").find(|block| block.starts_with(&format!("[{entry}]\n")));
        block.is_some_and(|block| block.contains(&format!("sha256:{digits}")))
    };
    entries.into_iter().filter(holds).collect()
}

/// Explains an entry. `moves` are the steps that bring its bytes somewhere; `requires` are the packages that each
/// wheel says it needs, of those wheels that could be read.
pub fn why(
    lock: &Lock,
    demand: &Demand,
    intent: &str,
    entry: &str,
    moves: Vec<Use>,
    requires: &BTreeMap<String, Vec<String>>,
) -> Why {
    let answered = audit(lock, demand).answered;
    let asks = answered.into_iter().filter(|one| one.entries.iter().any(|name| name == entry)).flat_map(|one| one.asks);
    let own = own_uses(lock, entry)
        .into_iter()
        .map(|(step, how)| Use { by: if step == "-" { "people".to_owned() } else { step.to_owned() }, how });
    let needing = entry.strip_prefix("wheel.").into_iter().flat_map(|name| {
        let needs = requires.iter().filter(move |(_, needs)| needs.iter().any(|need| need == name));
        needs.map(|(wheel, _)| Use { by: format!("wheel.{wheel}"), how: "requires it (its METADATA)".to_owned() })
    });
    let (bytes, alone, shared) = costs(lock, entry);
    let from = addresses(lock).into_iter().filter(|address| address.entry == entry).map(|address| address.text);
    let pending = lock.pending().into_iter().find(|(name, _)| name == entry).map(|(_, lacks)| lacks);
    Why {
        want: lockfile::wants(lock).remove(entry).unwrap_or_default(),
        intent: place(intent, entry),
        asks: asks.collect(),
        uses: moves.into_iter().chain(own).chain(needing).collect(),
        from: from.collect(),
        bytes,
        alone,
        shared,
        pending: pending.unwrap_or_default(),
        entry: entry.to_owned(),
    }
}

/// All bytes of an entry, those of it alone, and those shared with each other entry.
fn costs(lock: &Lock, entry: &str) -> (u64, u64, Vec<SharedBytes>) {
    let mut mine: BTreeMap<Digest, u64> = BTreeMap::new();
    let mut others: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    for artifact in lock.artifacts() {
        for blob in artifact.blobs {
            if artifact.name == entry {
                mine.insert(blob.descriptor.digest, blob.descriptor.size);
            } else {
                others.entry(artifact.name.clone()).or_default().insert(blob.descriptor.digest);
            }
        }
    }
    let with = |digests: &BTreeSet<Digest>| -> u64 { digests.iter().filter_map(|digest| mine.get(digest)).sum() };
    let shared: Vec<SharedBytes> = others
        .iter()
        .map(|(name, digests)| SharedBytes { with: name.clone(), bytes: with(digests) })
        .filter(|one| one.bytes > 0)
        .collect();
    let alone = mine.iter().filter(|(digest, _)| !others.values().any(|digests| digests.contains(*digest)));
    (mine.values().sum(), alone.map(|(_, size)| size).sum(), shared)
}

/// Where the intent has the key of an entry's table.
fn place(intent: &str, entry: &str) -> Option<Place> {
    let (kind, name) = entry.split_once('.')?;
    let document = toml::de::DeTable::parse(intent).ok()?;
    let section = document.get_ref().get(kind)?;
    let table = section.get_ref().as_table()?;
    let (key, _) = table.get_key_value(name)?;
    let before = intent.get(..key.span().start)?;
    let line_start = before.rfind('\n').map_or(0, |position| position + 1);
    Some(Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        lockfile::parse(&format!(
            "# Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.\nschema = 1\nname = \"x\"\nhost = [\"linux-amd64\"]\nnode = [\"linux-amd64\"]\n\n{}\n{}\n[image.c]\nwant = \"docker.io/a/c:1\"\nindex = {{ digest = \"sha256:{}\" }}\npending = [\"index size\", \"linux-amd64 manifest\"]\n",
            image("a", "a", "1"),
            image("b", "b", "1"),
            "c".repeat(64),
        ))
        .unwrap()
    }

    /// An image of 100 + 10 + 1000 bytes; its layer is of these digits.
    fn image(name: &str, digit: &str, layer: &str) -> String {
        let descriptor = |digits: String, size: u32| format!("{{ digest = \"sha256:{digits}\", size = {size} }}");
        format!(
            "[image.{name}]\nwant = \"docker.io/a/{name}:1\"\nlinux-amd64 = {{ manifest = {}, config = {}, layers = [{}] }}\n",
            descriptor(digit.repeat(64), 100),
            descriptor(format!("{}0", digit.repeat(63)), 10),
            descriptor(layer.repeat(64), 1000),
        )
    }

    #[test]
    fn an_entry_is_meant_by_name_reference_or_digest() {
        let lock = lock();
        for (name, expected) in [
            ("image.a", vec!["image.a"]),
            ("a", vec!["image.a"]),
            ("docker.io/a/b:1", vec!["image.b"]),
            ("a/b:1", vec!["image.b"]),
            ("sha256:111111", vec!["image.a", "image.b"]),
            ("bbbbbbbb", vec!["image.b"]),
            ("cccccccccc", vec!["image.c"]),
            ("11111", vec![]),
            ("a/b:2", vec![]),
            ("nowhere", vec![]),
        ] {
            assert_eq!(meant(&lock, name), expected, "{name}");
        }
    }

    #[test]
    fn what_others_need_too_is_no_saving() {
        let (bytes, alone, shared) = costs(&lock(), "image.a");
        assert_eq!((bytes, alone), (1110, 110));
        assert_eq!(shared, [SharedBytes { with: "image.b".to_owned(), bytes: 1000 }]);
        assert_eq!(costs(&lock(), "image.c"), (0, 0, vec![]));
    }

    #[test]
    fn the_intent_is_quoted_by_line_and_column() {
        let at = |text: &str| place(text, "image.a").map(|place| (place.line, place.column));
        assert_eq!(at("# ä\n\n[image.a]\nref = \"x\"\n"), Some((3, 8)));
        assert_eq!(at("[image]\nb = {}\na = { ref = \"x\" }\n"), Some((3, 1)));
        assert_eq!(at("[image.b]\n"), None);
    }

    #[test]
    fn a_wheel_is_there_for_those_that_require_it() {
        let lock = lockfile::parse(include_str!("../../lock/ztlab.lock")).unwrap();
        let requires = BTreeMap::from([("flask".to_owned(), vec!["click".to_owned()])]);
        let why = why(&lock, &Demand::default(), "", "wheel.click", Vec::new(), &requires);
        let uses: Vec<_> = why.uses.iter().map(|one| (one.by.as_str(), one.how.as_str())).collect();
        assert_eq!(uses, [("fetch", "app.backend is built with it"), ("wheel.flask", "requires it (its METADATA)")]);
    }
}
