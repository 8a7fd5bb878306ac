//! The lock that an intent asks for, still without digests, and what an older lock can give it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{Digest, Platform},
    intent::{AppRequest, Intent, IntentError, ProfileRequest, for_platform, names_platform},
};

use super::{AppEntry, FileEntry, ImageEntry, Lock, ManifestEntry, MemberPin, ToolEntry, ToolPin, WheelEntry};

/// Turns an intent into a lock that names everything and pins nothing.
///
/// # Errors
/// When a template names an unknown version, or a file's address has no single platform.
pub fn request(intent: &Intent) -> Result<Lock, IntentError> {
    let mut lock = Lock {
        name: intent.name.clone(),
        host: sorted(&intent.host),
        node: sorted(&intent.node),
        version: intent.version.clone(),
        ..Lock::default()
    };
    for (name, tool) in &intent.tool {
        let entry = format!("tool.{name}");
        let want = intent.fill(&entry, &tool.url)?;
        let checksum = tool.checksum.as_ref().map(|checksum| intent.fill(&entry, checksum)).transpose()?;
        let platforms =
            lock.platforms(tool.platform).iter().map(|platform| (*platform, unpinned_tool(&want, *platform)));
        let platforms = platforms.collect();
        let entry = ToolEntry { want, checksum, side: tool.platform, member: tool.member.clone(), platforms };
        lock.tool.insert(name.clone(), entry);
    }
    for (name, file) in &intent.file {
        let entry = format!("file.{name}");
        let want = one_address(intent, &entry, &file.url)?;
        let checksum = file.checksum.as_ref().map(|checksum| one_address(intent, &entry, checksum)).transpose()?;
        let unpinned = |path: &String| MemberPin { path: path.clone(), digest: None, size: None };
        let member = file.member.iter().map(|(member, path)| (member.clone(), unpinned(path))).collect();
        let entry = FileEntry { want, checksum, digest: None, size: None, checked: None, member };
        lock.file.insert(name.clone(), entry);
    }
    for (name, manifest) in &intent.manifest {
        let entry = format!("manifest.{name}");
        let want = one_address(intent, &entry, &manifest.url)?;
        let checksum = manifest.checksum.as_ref().map(|checksum| one_address(intent, &entry, checksum)).transpose()?;
        lock.manifest.insert(name.clone(), ManifestEntry { want, checksum, digest: None, size: None, checked: None });
    }
    for (name, image) in &intent.image {
        let want = full_reference(intent, &format!("image.{name}"), &image.reference)?;
        let entry = ImageEntry { want, index: None, platforms: BTreeMap::new(), hints: BTreeMap::new() };
        lock.image.insert(name.clone(), entry);
    }
    for (name, wheel) in &intent.wheel {
        let want = format!("{name}=={} python {}", wheel.version, wheel.python);
        lock.wheel.insert(name.clone(), WheelEntry { want, platforms: BTreeMap::new() });
    }
    for (name, app) in &intent.app {
        let reference = full_reference(intent, &format!("app.{name}"), &app.reference)?;
        let request = AppRequest { reference, ..app.clone() };
        lock.app.insert(name.clone(), AppEntry { request, source: None, platforms: BTreeMap::new() });
    }
    for (name, profile) in &intent.profile {
        let mut request: ProfileRequest = profile.clone();
        request.without.sort();
        lock.profile.insert(name.clone(), request);
    }
    Ok(lock)
}

/// Gives the entries of `new` the pins of `old` where the request is still the same. Apps come last, with
/// [`carry_over_apps`]: what they are made of must be settled first.
pub fn carry_over(new: &mut Lock, old: &Lock) {
    for (name, entry) in &mut new.tool {
        let kept = old.tool.get(name).filter(|kept| kept.want == entry.want && kept.member == entry.member);
        let Some(kept) = kept.filter(|kept| kept.side == entry.side) else { continue };
        for (platform, pin) in &mut entry.platforms {
            if let Some(kept) = kept.platforms.get(platform) {
                *pin = kept.clone();
                let checksum = entry.checksum.as_ref().map(|checksum| for_platform(checksum, *platform));
                pin.checked = still_checked(kept.checked.as_ref(), checksum.as_ref());
            }
        }
    }
    for (name, entry) in &mut new.file {
        let Some(kept) = old.file.get(name).filter(|kept| kept.want == entry.want) else { continue };
        (entry.digest, entry.size) = (kept.digest, kept.size);
        entry.checked = still_checked(kept.checked.as_ref(), entry.checksum.as_ref());
        for (member_name, member) in &mut entry.member {
            if let Some(kept) = kept.member.get(member_name).filter(|kept| kept.path == member.path) {
                *member = kept.clone();
            }
        }
    }
    for (name, entry) in &mut new.manifest {
        if let Some(kept) = old.manifest.get(name).filter(|kept| kept.want == entry.want) {
            (entry.digest, entry.size) = (kept.digest, kept.size);
            entry.checked = still_checked(kept.checked.as_ref(), entry.checksum.as_ref());
        }
    }
    for (name, entry) in &mut new.image {
        if let Some(kept) = old.image.get(name).filter(|kept| kept.want == entry.want) {
            *entry = kept.clone();
            entry.platforms.retain(|platform, _| new.node.contains(platform));
            entry.hints.retain(|platform, _| new.node.contains(platform));
        }
    }
    for (name, entry) in &mut new.wheel {
        if let Some(kept) = old.wheel.get(name).filter(|kept| kept.want == entry.want) {
            *entry = kept.clone();
            entry.platforms.retain(|platform, _| new.node.contains(platform));
        }
    }
}

/// Gives the apps of `new` the images of `old` where nothing that goes into them changed.
///
/// `sources` are the tree hashes of the apps' files as they are now: they go into the new lock.
pub fn carry_over_apps(new: &mut Lock, old: &Lock, sources: &BTreeMap<String, Digest>) {
    let mut apps = std::mem::take(&mut new.app);
    for (name, entry) in &mut apps {
        entry.source = sources.get(name).copied();
        let Some(kept) = old.app.get(name) else { continue };
        if kept.request != entry.request || kept.source != entry.source || entry.source.is_none() {
            continue;
        }
        let base = entry.request.base.trim_start_matches("image.");
        let same_base = old.image.get(base).is_some_and(|image| new.image.get(base) == Some(image));
        let same_wheels = entry.request.wheels.iter().all(|wheel| old.wheel.get(wheel) == new.wheel.get(wheel));
        if same_base && same_wheels {
            entry.platforms = kept.platforms.clone();
            entry.platforms.retain(|platform, _| new.node.contains(platform));
        }
    }
    new.app = apps;
}

/// A comparison counts for the checksum file that it was made with.
fn still_checked(checked: Option<&String>, checksum: Option<&String>) -> Option<String> {
    checked.filter(|checked| Some(*checked) == checksum).cloned()
}

fn unpinned_tool(want: &str, platform: Platform) -> ToolPin {
    ToolPin { url: for_platform(want, platform), digest: None, size: None, program: None, checked: None }
}

/// A file has one address. `{os}` and `{arch}` are welcome while the lab has one host platform.
fn one_address(intent: &Intent, entry: &str, template: &str) -> Result<String, IntentError> {
    let filled = intent.fill(entry, template)?;
    match (names_platform(&filled), intent.host.as_slice()) {
        (false, _) => Ok(filled),
        (true, [only]) => Ok(for_platform(&filled, *only)),
        (true, hosts) => Err(IntentError::Entry {
            entry: entry.to_owned(),
            problem: format!(
                "its address names {{os}} or {{arch}}, and the lab has {} host platforms: write one entry per platform",
                hosts.len()
            ),
        }),
    }
}

/// An image's name must say its registry and its tag: short names mean different things to different runtimes.
fn full_reference(intent: &Intent, entry: &str, template: &str) -> Result<String, IntentError> {
    let reference = intent.fill(entry, template)?;
    let problem = |problem: String| IntentError::Entry { entry: entry.to_owned(), problem };
    let Some((registry, path)) = reference.split_once('/') else {
        return Err(problem(format!("`{reference}` names no registry (write `docker.io/library/{reference}`)")));
    };
    if !(registry.contains('.') || registry.contains(':') || registry == "localhost") {
        return Err(problem(format!("`{reference}` names no registry (write `docker.io/{reference}`)")));
    }
    if !path.contains(':') && !path.contains('@') {
        return Err(problem(format!("`{reference}` has no tag: what it means would change every day")));
    }
    if path.contains('@') {
        return Err(problem(format!(
            "`{reference}` holds a digest: the intent asks for a tag, the lock has the digest"
        )));
    }
    Ok(reference)
}

fn sorted(platforms: &[Platform]) -> Vec<Platform> {
    platforms.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}
