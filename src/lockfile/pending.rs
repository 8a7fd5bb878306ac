//! What an entry still lacks, in words that stand in the lock.

use crate::base::Expected;

use super::{AppEntry, FileEntry, ImageEntry, Lock, ManifestEntry, ToolEntry, WheelEntry};

impl Lock {
    /// Every incomplete entry with what it lacks; empty for a lock that can be fetched and installed from.
    pub fn pending(&self) -> Vec<(String, Vec<String>)> {
        let tools = self.tool.iter().map(|(name, entry)| (format!("tool.{name}"), self.tool_pending(entry)));
        let files = self.file.iter().map(|(name, entry)| (format!("file.{name}"), file_pending(entry)));
        let manifests = self.manifest.iter().map(|(name, entry)| (format!("manifest.{name}"), manifest_pending(entry)));
        let images = self.image.iter().map(|(name, entry)| (format!("image.{name}"), self.image_pending(entry)));
        let wheels = self.wheel.iter().map(|(name, entry)| (format!("wheel.{name}"), self.wheel_pending(entry)));
        let apps = self.app.iter().map(|(name, entry)| (format!("app.{name}"), self.app_pending(entry)));
        tools
            .chain(files)
            .chain(manifests)
            .chain(images)
            .chain(wheels)
            .chain(apps)
            .filter(|(_, pending)| !pending.is_empty())
            .collect()
    }

    pub(super) fn tool_pending(&self, entry: &ToolEntry) -> Vec<String> {
        let mut pending = Vec::new();
        for platform in self.platforms(entry.side) {
            let pin = entry.platforms.get(platform);
            let expected = pin.map_or(Expected::NOTHING, super::ToolPin::expected);
            lacks(&mut pending, &format!("{platform} "), expected);
            if entry.member.is_some() {
                let program = pin.and_then(|pin| pin.program).unwrap_or(Expected::NOTHING);
                lacks(&mut pending, &format!("{platform} program "), program);
            }
            if entry.checksum.is_some() && pin.is_none_or(|pin| pin.checked.is_none()) {
                pending.push(format!("{platform} checksum"));
            }
        }
        pending
    }

    pub(super) fn image_pending(&self, entry: &ImageEntry) -> Vec<String> {
        let mut pending = Vec::new();
        if let Some(index) = entry.index {
            lacks(&mut pending, "index ", index);
        }
        let absent = self.node.iter().filter(|platform| !entry.platforms.contains_key(platform));
        pending.extend(absent.map(|platform| format!("{platform} manifest")));
        pending
    }

    pub(super) fn wheel_pending(&self, entry: &WheelEntry) -> Vec<String> {
        let mut pending = Vec::new();
        for platform in &self.node {
            let download = entry.platforms.get(platform);
            if download.is_none_or(|download| download.url.is_none()) {
                pending.push(format!("{platform} url"));
            }
            let expected = download.map_or(Expected::NOTHING, super::Download::expected);
            lacks(&mut pending, &format!("{platform} "), expected);
        }
        pending
    }

    pub(super) fn app_pending(&self, entry: &AppEntry) -> Vec<String> {
        let source = entry.source.is_none().then(|| "source".to_owned());
        let absent = self.node.iter().filter(|platform| !entry.platforms.contains_key(platform));
        source.into_iter().chain(absent.map(|platform| format!("{platform} manifest"))).collect()
    }
}

pub(super) fn file_pending(entry: &FileEntry) -> Vec<String> {
    let mut pending = Vec::new();
    lacks(&mut pending, "", entry.expected());
    unchecked(&mut pending, entry.checksum.as_ref(), entry.checked.as_ref());
    for (name, member) in &entry.member {
        lacks(&mut pending, &format!("member {name} "), member.expected());
    }
    pending
}

pub(super) fn manifest_pending(entry: &ManifestEntry) -> Vec<String> {
    let mut pending = Vec::new();
    lacks(&mut pending, "", entry.expected());
    unchecked(&mut pending, entry.checksum.as_ref(), entry.checked.as_ref());
    pending
}

/// A checksum was asked for and nobody has compared yet.
fn unchecked(pending: &mut Vec<String>, checksum: Option<&String>, checked: Option<&String>) {
    if checksum.is_some() && checked.is_none() {
        pending.push("checksum".to_owned());
    }
}

fn lacks(pending: &mut Vec<String>, prefix: &str, expected: Expected) {
    if expected.digest.is_none() {
        pending.push(format!("{prefix}digest"));
    }
    if expected.size.is_none() {
        pending.push(format!("{prefix}size"));
    }
}
