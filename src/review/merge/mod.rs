//! Three locks to one: the common ancestor, ours and theirs.
//!
//! By entry, and the request decides. Pins follow their request: where only one side changed the request, that side's
//! entry is taken, whatever the other side did to its pins. Where both sides ask for the same, their pins are united.
//! What is left to a person is the same entry with two different requests (or two different digests for one request).
//!
//! An app's image is a function of its files, base image and wheels. It is kept from a side only when all of these
//! came out as that side has them; otherwise it is pending, and the next `ztlab fetch` builds it.

mod pin;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::Platform,
    intent::Side,
    lockfile::{self, AppEntry, ImageEntry, Lock, WheelEntry},
};

use self::pin::{Pinned, maps, three};
use super::{
    Kind,
    view::{Key, artifact},
};

/// What came out of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// Everything that could be merged; the entries in conflict are left out.
    pub lock: Lock,
    /// What is left to a person, in the lock's order.
    pub conflicts: Vec<Conflict>,
    /// Apps whose image neither side has any more.
    pub reopened: Vec<String>,
    /// The merged lock as text; with conflict markers around the entries in conflict, else canonical.
    pub text: String,
}

/// One thing that both sides changed differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// `image.calico-node`, `version.calico`, or `name`.
    pub artifact: String,
    /// What our side asks for; absent when it removed the entry.
    pub ours: Option<String>,
    /// What their side asks for.
    pub theirs: Option<String>,
}

/// What is in conflict, by its place in the lock.
#[derive(Debug, Default)]
struct Open {
    name: bool,
    versions: BTreeSet<String>,
    entries: BTreeSet<Key>,
}

/// The three locks with their requests.
struct Sides<'lock> {
    base: &'lock Lock,
    ours: &'lock Lock,
    theirs: &'lock Lock,
    wants: [BTreeMap<String, String>; 3],
}

/// Merges what two sides made of one lock.
pub fn merge(base: &Lock, ours: &Lock, theirs: &Lock) -> Merge {
    let wants = [base, ours, theirs].map(lockfile::wants);
    let sides = Sides { base, ours, theirs, wants };
    let mut open = Open::default();
    let mut merged = Lock {
        host: platforms(&base.host, &ours.host, &theirs.host),
        node: platforms(&base.node, &ours.node, &theirs.node),
        ..Lock::default()
    };
    match three(Some(&base.name), Some(&ours.name), Some(&theirs.name)).flatten() {
        Some(name) => merged.name = name,
        None => open.name = true,
    }
    for name in names([&base.version, &ours.version, &theirs.version]) {
        match three(base.version.get(&name), ours.version.get(&name), theirs.version.get(&name)) {
            Some(version) => merged.version.extend(version.map(|version| (name, version))),
            None => _ = open.versions.insert(name),
        }
    }
    merged.tool = sides.section(Kind::Tool, |lock| &lock.tool, &mut open);
    merged.file = sides.section(Kind::File, |lock| &lock.file, &mut open);
    merged.manifest = sides.section(Kind::Manifest, |lock| &lock.manifest, &mut open);
    merged.image = sides.section(Kind::Image, |lock| &lock.image, &mut open);
    merged.wheel = sides.section(Kind::Wheel, |lock| &lock.wheel, &mut open);
    sides.drop_lost_platforms(&mut merged);
    let reopened = sides.apps(&mut merged, &mut open);
    for name in names([&base.profile, &ours.profile, &theirs.profile]) {
        match three(base.profile.get(&name), ours.profile.get(&name), theirs.profile.get(&name)) {
            Some(profile) => merged.profile.extend(profile.map(|profile| (name, profile))),
            None => _ = open.entries.insert((Kind::Profile, name)),
        }
    }
    let text = text::text(&merged, ours, theirs, &open);
    Merge { conflicts: sides.conflicts(&open), reopened, text, lock: merged }
}

impl Sides<'_> {
    /// One section, but for the apps.
    fn section<'lock, T: Pinned + 'lock>(
        &'lock self,
        kind: Kind,
        of: impl Fn(&'lock Lock) -> &'lock BTreeMap<String, T>,
        open: &mut Open,
    ) -> BTreeMap<String, T> {
        let [base, ours, theirs] = [of(self.base), of(self.ours), of(self.theirs)];
        let mut merged = BTreeMap::new();
        for name in names([base, ours, theirs]) {
            let key = (kind, name);
            match self.entry(&key, base.get(&key.1), ours.get(&key.1), theirs.get(&key.1)) {
                Some(entry) => merged.extend(entry.map(|entry| (key.1, entry))),
                None => _ = open.entries.insert(key),
            }
        }
        merged
    }

    /// One entry; the outer `None` is a conflict, the inner one an entry that is gone.
    fn entry<T: Pinned>(&self, key: &Key, base: Option<&T>, ours: Option<&T>, theirs: Option<&T>) -> Option<Option<T>> {
        if let Some(same) = three(base, ours, theirs) {
            return Some(same);
        }
        let name = artifact(key);
        let [asked, we_ask, they_ask] = &self.wants;
        let (asked, we_ask, they_ask) = (asked.get(&name), we_ask.get(&name), they_ask.get(&name));
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if we_ask == they_ask => {
                T::united(base.filter(|_| asked == we_ask), ours, theirs).map(Some)
            }
            _ if they_ask == asked => Some(ours.cloned()),
            _ if we_ask == asked => Some(theirs.cloned()),
            _ => None,
        }
    }

    /// A side that gave up a platform dropped its pins everywhere; entries that came from the other side still have
    /// them.
    fn drop_lost_platforms(&self, merged: &mut Lock) {
        for (side, other) in [(self.ours, self.theirs), (self.theirs, self.ours)] {
            let lost = |of: fn(&Lock) -> &Vec<Platform>| -> BTreeSet<Platform> {
                let before = of(self.base).iter().chain(of(other)).copied();
                before.filter(|platform| !of(side).contains(platform) && !of(merged).contains(platform)).collect()
            };
            let (host, node) = (lost(|lock| &lock.host), lost(|lock| &lock.node));
            for (name, entry) in &mut merged.tool {
                let lost = if entry.side == Side::Host { &host } else { &node };
                if side.tool.get(name) != Some(entry) {
                    entry.platforms.retain(|platform, _| !lost.contains(platform));
                }
            }
            for (name, entry) in &mut merged.image {
                if side.image.get(name) != Some(entry) {
                    entry.platforms.retain(|platform, _| !node.contains(platform));
                    entry.hints.retain(|platform, _| !node.contains(platform));
                }
            }
            for (name, entry) in &mut merged.wheel {
                if side.wheel.get(name) != Some(entry) {
                    entry.platforms.retain(|platform, _| !node.contains(platform));
                }
            }
        }
    }

    /// The apps, once everything that they are made of is settled. Returns those whose image is gone.
    fn apps(&self, merged: &mut Lock, open: &mut Open) -> Vec<String> {
        let mut reopened = Vec::new();
        for name in names([&self.base.app, &self.ours.app, &self.theirs.app]) {
            let [base, ours, theirs] = [self.base, self.ours, self.theirs].map(|lock| lock.app.get(&name));
            let key = (Kind::App, name.clone());
            let Some(skeleton) = app_request(base, ours, theirs) else {
                open.entries.insert(key);
                continue;
            };
            let Some(mut entry) = skeleton else { continue };
            let parts = ingredients(merged, &entry);
            let pins = |lock: &Lock| {
                let kept = lock.app.get(&name).filter(|kept| ingredients(lock, kept) == parts)?;
                Some(kept.platforms.clone())
            };
            let [was, ours_pins, theirs_pins] = [self.base, self.ours, self.theirs].map(pins);
            match (ours_pins, theirs_pins) {
                (Some(ours), Some(theirs)) => {
                    let decided = three(was.as_ref(), Some(&ours), Some(&theirs)).flatten();
                    let Some(platforms) = decided.or_else(|| maps(was.as_ref(), &ours, &theirs)) else {
                        open.entries.insert(key);
                        continue;
                    };
                    entry.platforms = platforms;
                }
                (Some(one), None) | (None, Some(one)) => entry.platforms = one,
                (None, None) => {}
            }
            // A side that gave its image up itself knows that it is open.
            let made = |side: &AppEntry| !side.platforms.is_empty() && base.is_none_or(|base| base != side);
            if entry.platforms.is_empty() && [ours, theirs].into_iter().flatten().any(made) {
                reopened.push(artifact(&key));
            }
            merged.app.insert(name, entry);
        }
        reopened
    }

    fn conflicts(&self, open: &Open) -> Vec<Conflict> {
        let names = open.name.then(|| Conflict {
            artifact: "name".to_owned(),
            ours: Some(self.ours.name.clone()),
            theirs: Some(self.theirs.name.clone()),
        });
        let [_, ours, theirs] = &self.wants;
        let asked = |artifact: String| Conflict {
            ours: ours.get(&artifact).cloned(),
            theirs: theirs.get(&artifact).cloned(),
            artifact,
        };
        let versions = open.versions.iter().map(|name| asked(format!("version.{name}")));
        names.into_iter().chain(versions).chain(open.entries.iter().map(|key| asked(artifact(key)))).collect()
    }
}

/// An app without its image. The outer `None` is a conflict, the inner one an app that is gone.
fn app_request(
    base: Option<&AppEntry>,
    ours: Option<&AppEntry>,
    theirs: Option<&AppEntry>,
) -> Option<Option<AppEntry>> {
    let request = |side: Option<&AppEntry>| side.map(|entry| entry.request.clone());
    let (was, ours_asks, theirs_asks) = (request(base), request(ours), request(theirs));
    let asked = three(was.as_ref(), ours_asks.as_ref(), theirs_asks.as_ref())?;
    let Some(request) = asked else { return Some(None) };
    let source = |side: Option<&AppEntry>| side.and_then(|entry| entry.source);
    let sources = match (ours, theirs) {
        // Two sides that edited the files make a third tree, whose hash nobody has.
        (Some(_), Some(_)) => three(source(base).as_ref(), source(ours).as_ref(), source(theirs).as_ref()).flatten(),
        _ => source(ours).or(source(theirs)),
    };
    Some(Some(AppEntry { request, source: sources, platforms: BTreeMap::new() }))
}

/// What an app's image is made of, in one lock.
type Ingredients = (AppEntry, Option<ImageEntry>, Vec<Option<WheelEntry>>);

fn ingredients(lock: &Lock, app: &AppEntry) -> Ingredients {
    let base = app.request.base.trim_start_matches("image.");
    let wheels = app.request.wheels.iter().map(|wheel| lock.wheel.get(wheel).cloned());
    let skeleton = AppEntry { request: app.request.clone(), source: app.source, platforms: BTreeMap::new() };
    (skeleton, lock.image.get(base).cloned(), wheels.collect())
}

/// Platforms are a set: whatever one side added or took away is done.
fn platforms(base: &[Platform], ours: &[Platform], theirs: &[Platform]) -> Vec<Platform> {
    let all: BTreeSet<Platform> = base.iter().chain(ours).chain(theirs).copied().collect();
    let stays = |platform: &Platform| match (ours.contains(platform), theirs.contains(platform)) {
        (ours, theirs) if ours == theirs => ours,
        _ => !base.contains(platform),
    };
    all.into_iter().filter(stays).collect()
}

fn names<T>(maps: [&BTreeMap<String, T>; 3]) -> BTreeSet<String> {
    maps.into_iter().flat_map(BTreeMap::keys).cloned().collect()
}
