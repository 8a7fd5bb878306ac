//! What a reviewer must not miss: changes that look like nothing in a diff of text, and mean something.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::{Digest, Platform},
    intent::Side,
    lockfile::Lock,
};

use super::{
    diff::{Change, EntryChange, PartChange},
    view::{Key, Kind, View, artifact, host_of_address, other_place, repository},
};

/// Per cent that a size may move before it is an alarm: a patch release of an image moves it by a few.
const SIZE_TOLERANCE: u64 = 30;

/// What is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmCode {
    /// Other bytes under the same request: upstream rebuilt the tag, or somebody replaced it.
    DigestMoved,
    /// The bytes come from another host or registry.
    HostChanged,
    /// The same host, another project or file there.
    AddressChanged,
    /// A host that no entry of this kind had before, or one that the request does not name.
    MirrorAdded,
    /// More than 30 per cent larger or smaller.
    SizeChanged,
    /// A platform that was pinned is not any more.
    PlatformLost,
    /// A file of an archive is not pinned any more.
    MemberLost,
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// What is the matter.
    pub code: AlarmCode,
    /// Whom it concerns: `image.calico-node`, or `lab`.
    pub artifacts: Vec<String>,
    /// The part of it: `linux-arm64 manifest`; empty for the whole.
    pub part: String,
    /// What it was: a digest, a host, bytes, a platform, a member.
    pub was: Option<String>,
    /// What it is now.
    pub now: Option<String>,
}

impl AlarmCode {
    /// The code as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DigestMoved => "digest-moved",
            Self::HostChanged => "host-changed",
            Self::AddressChanged => "address-changed",
            Self::MirrorAdded => "mirror-added",
            Self::SizeChanged => "size-changed",
            Self::PlatformLost => "platform-lost",
            Self::MemberLost => "member-lost",
        }
    }

    /// What it means, in one sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::DigestMoved => "other bytes under the same request: upstream rebuilt it, or somebody replaced it",
            Self::HostChanged => "the bytes come from another host",
            Self::AddressChanged => "the same host, but another project or file there",
            Self::MirrorAdded => "a host that this lab did not use for such entries, or that the request does not name",
            Self::SizeChanged => "more than 30 % larger or smaller",
            Self::PlatformLost => "was pinned for this platform and is not any more",
            Self::MemberLost => "a file of the archive is not pinned any more",
        }
    }
}

/// All alarms, by code and in the lock's order.
pub(super) fn alarms(
    before: &Lock,
    after: &Lock,
    was: &BTreeMap<Key, View>,
    now: &BTreeMap<Key, View>,
    entries: &[EntryChange],
) -> Vec<Alarm> {
    let mut alarms = lost_platforms(before, after);
    for (key, old) in was {
        let Some(new) = now.get(key) else { continue };
        let name = artifact(key);
        if let Some(entry) = entries.iter().find(|entry| entry.artifact == name) {
            alarms.extend(moved_digest(entry));
        }
        alarms.extend(place(key, old, new));
        alarms.extend(size(&name, old, new));
        // An app's image is built again after every change of its parts: nothing is lost by that.
        if key.0 != Kind::App {
            let kept = |platform: &&Platform| after.platforms(side(key, after)).contains(platform);
            let gone = old.pinned.difference(&new.pinned).filter(kept);
            alarms.extend(
                gone.map(|platform| alarm(AlarmCode::PlatformLost, &name, "", Some(platform.to_string()), None)),
            );
        }
        let gone = old.members.difference(&new.members);
        alarms.extend(gone.map(|member| alarm(AlarmCode::MemberLost, &name, "", Some(member.clone()), None)));
    }
    let strangers = new_hosts(was, now);
    let told =
        |alarm: &Alarm| strangers.iter().any(|other| other.artifacts == alarm.artifacts && other.now == alarm.now);
    alarms.extend(elsewhere(before, after).into_iter().filter(|alarm| !told(alarm)));
    alarms.extend(strangers);
    gather(alarms)
}

fn alarm(code: AlarmCode, artifact: &str, part: &str, was: Option<String>, now: Option<String>) -> Alarm {
    Alarm { code, artifacts: vec![artifact.to_owned()], part: part.to_owned(), was, now }
}

/// Which of the lab's two lists of platforms an entry follows.
fn side(key: &Key, lock: &Lock) -> Side {
    match key {
        (Kind::Tool, name) => lock.tool.get(name).map_or(Side::Host, |entry| entry.side),
        _ => Side::Node,
    }
}

fn lost_platforms(before: &Lock, after: &Lock) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for (side, before, after) in [("host", &before.host, &after.host), ("node", &before.node, &after.node)] {
        let lost = before.iter().filter(|platform| !after.contains(platform));
        alarms
            .extend(lost.map(|platform| alarm(AlarmCode::PlatformLost, "lab", side, Some(platform.to_string()), None)));
    }
    alarms
}

/// The part that matters most: what a platform downloads, before the index that only lists it.
fn moved_digest(entry: &EntryChange) -> Option<Alarm> {
    if entry.change != Change::Moved {
        return None;
    }
    let moved: Vec<&PartChange> = entry.parts.iter().filter(|part| part.moved()).collect();
    let part = moved.iter().find(|part| part.part != "index").or(moved.first())?;
    let digest = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
    Some(alarm(AlarmCode::DigestMoved, &entry.artifact, &part.part, digest(part.was), digest(part.now)))
}

/// Where an entry comes from. An app comes from nowhere: its reference is only a name.
fn place(key: &Key, old: &View, new: &View) -> Option<Alarm> {
    let name = artifact(key);
    let hosts = |view: &View| Some(view.hosts.iter().cloned().collect::<Vec<_>>().join(", "));
    // A wheel without an address is pending: it has not moved from there.
    if old.hosts != new.hosts && !old.hosts.is_empty() && !new.hosts.is_empty() {
        return Some(alarm(AlarmCode::HostChanged, &name, "", hosts(old), hosts(new)));
    }
    let (was, now) = match key.0 {
        Kind::Image => (repository(&old.address), repository(&new.address)),
        Kind::Tool | Kind::File | Kind::Manifest => (old.address.clone(), new.address.clone()),
        Kind::Wheel | Kind::App | Kind::Profile => return None,
    };
    let differs = if key.0 == Kind::Image { was != now } else { other_place(&was, &now) };
    differs.then(|| alarm(AlarmCode::AddressChanged, &name, "", Some(was), Some(now)))
}

fn size(name: &str, old: &View, new: &View) -> Vec<Alarm> {
    let known: BTreeMap<&str, u64> = old.weights.iter().map(|(part, size)| (part.as_str(), *size)).collect();
    let pairs = new.weights.iter().filter_map(|(part, now)| Some((part, *known.get(part.as_str())?, *now)));
    pairs
        .filter(|(_, was, now)| far(*was, *now))
        .map(|(part, was, now)| alarm(AlarmCode::SizeChanged, name, part, Some(was.to_string()), Some(now.to_string())))
        .collect()
}

/// Whether a size moved by more than the tolerance.
fn far(was: u64, now: u64) -> bool {
    u128::from(was.abs_diff(now)) * 100 > u128::from(was) * u128::from(SIZE_TOLERANCE)
}

/// Hosts that no entry of a kind had before. Addresses of files are of one kind, whatever section they stand in.
fn new_hosts(was: &BTreeMap<Key, View>, now: &BTreeMap<Key, View>) -> Vec<Alarm> {
    let group = |kind: Kind| match kind {
        Kind::Tool | Kind::File | Kind::Manifest => Kind::File,
        other => other,
    };
    let known: BTreeSet<(Kind, &String)> =
        was.iter().flat_map(|(key, view)| view.hosts.iter().map(move |host| (group(key.0), host))).collect();
    // While every wheel is pending, no host of the index is known: the first one is no stranger.
    let any: BTreeSet<Kind> = known.iter().map(|(kind, _)| *kind).collect();
    let mut alarms = Vec::new();
    for (key, view) in now {
        let first_wheels =
            key.0 == Kind::Wheel && !any.contains(&Kind::Wheel) && was.keys().any(|key| key.0 == Kind::Wheel);
        let strangers = view.hosts.iter().filter(|host| !known.contains(&(group(key.0), *host)) && !first_wheels);
        alarms
            .extend(strangers.map(|host| alarm(AlarmCode::MirrorAdded, &artifact(key), "", None, Some(host.clone()))));
    }
    alarms
}

/// Programs whose address has another host than the request that it was made for: the request asks one host and the
/// bytes come from another. Only what was not so before.
fn elsewhere(before: &Lock, after: &Lock) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for (name, entry) in &after.tool {
        let asked = host_of_address(&entry.want);
        for (platform, pin) in &entry.platforms {
            let host = host_of_address(&pin.url);
            let known = before.tool.get(name).and_then(|old| old.platforms.get(platform));
            if host != asked && known.is_none_or(|known| host_of_address(&known.url) != host) {
                let name = format!("tool.{name}");
                alarms.push(alarm(AlarmCode::MirrorAdded, &name, "", Some(asked.clone()), Some(host)));
            }
        }
    }
    alarms
}

/// One alarm for all entries that moved from one host to another: twenty images of one registry are one fact.
fn gather(alarms: Vec<Alarm>) -> Vec<Alarm> {
    let mut gathered: Vec<Alarm> = Vec::new();
    for alarm in alarms {
        let same = gathered.iter_mut().find(|other| {
            let fact = matches!(alarm.code, AlarmCode::HostChanged | AlarmCode::MirrorAdded | AlarmCode::PlatformLost);
            fact && (other.code, &other.part, &other.was, &other.now)
                == (alarm.code, &alarm.part, &alarm.was, &alarm.now)
        });
        match same {
            Some(other) => other.artifacts.extend(alarm.artifacts),
            None => gathered.push(alarm),
        }
    }
    gathered.sort_by_key(|alarm| alarm.code);
    gathered
}

#[cfg(test)]
mod tests {
    use super::far;

    #[test]
    fn thirty_per_cent_are_allowed_and_a_byte_more_is_not() {
        for (was, now, expected) in [
            (1000, 1300, false),
            (1000, 1301, true),
            (1000, 700, false),
            (1000, 699, true),
            (0, 0, false),
            (0, 1, true),
        ] {
            assert_eq!(far(was, now), expected, "{was} to {now}");
        }
    }
}
