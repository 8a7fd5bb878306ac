//! The lock's tables as serde reads them. Every field is spelled out, so that an unknown key is an error
//! with its place instead of being swallowed; `parse` turns these into the model.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    base::{Descriptor, Digest, Expected, Platform},
    intent::{AppRequest, ProfileRequest, Side},
};

use super::{
    AppEntry, Download, FileEntry, ImageEntry, ImagePin, Lock, ManifestEntry, MemberPin, ToolEntry, ToolPin, WheelEntry,
};

/// The whole file. `schema` has been looked at before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireLock {
    #[serde(rename = "schema")]
    _schema: u32,
    name: String,
    host: Vec<Platform>,
    node: Vec<Platform>,
    #[serde(default)]
    version: BTreeMap<String, String>,
    #[serde(default)]
    tool: BTreeMap<String, WireTool>,
    #[serde(default)]
    file: BTreeMap<String, WireFile>,
    #[serde(default)]
    manifest: BTreeMap<String, WireManifest>,
    #[serde(default)]
    image: BTreeMap<String, WireImage>,
    #[serde(default)]
    wheel: BTreeMap<String, WireWheel>,
    #[serde(default)]
    app: BTreeMap<String, WireApp>,
    /// Absent where there are none: locks from before there were profiles stay what they are.
    #[serde(default)]
    profile: BTreeMap<String, ProfileRequest>,
}

/// `pending` is read and dropped: the writer derives it, and the comparison with the canonical text verifies it.
type Pending = Option<Vec<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTool {
    want: String,
    checksum: Option<String>,
    #[serde(default)]
    platform: Side,
    member: Option<String>,
    #[serde(rename = "darwin-arm64")]
    darwin_arm64: Option<ToolPin>,
    #[serde(rename = "linux-amd64")]
    linux_amd64: Option<ToolPin>,
    #[serde(rename = "linux-arm64")]
    linux_arm64: Option<ToolPin>,
    #[serde(rename = "pending")]
    _pending: Pending,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    want: String,
    checksum: Option<String>,
    digest: Option<Digest>,
    size: Option<u64>,
    checked: Option<String>,
    #[serde(default)]
    member: BTreeMap<String, MemberPin>,
    #[serde(rename = "pending")]
    _pending: Pending,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireManifest {
    want: String,
    checksum: Option<String>,
    digest: Option<Digest>,
    size: Option<u64>,
    checked: Option<String>,
    #[serde(rename = "pending")]
    _pending: Pending,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireImage {
    want: String,
    index: Option<Expected>,
    #[serde(rename = "darwin-arm64")]
    darwin_arm64: Option<WirePin>,
    #[serde(rename = "linux-amd64")]
    linux_amd64: Option<WirePin>,
    #[serde(rename = "linux-arm64")]
    linux_arm64: Option<WirePin>,
    #[serde(rename = "pending")]
    _pending: Pending,
}

/// A pin, or no more than something of its manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePin {
    manifest: Expected,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireWheel {
    want: String,
    #[serde(rename = "darwin-arm64")]
    darwin_arm64: Option<Download>,
    #[serde(rename = "linux-amd64")]
    linux_amd64: Option<Download>,
    #[serde(rename = "linux-arm64")]
    linux_arm64: Option<Download>,
    #[serde(rename = "pending")]
    _pending: Pending,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireApp {
    path: String,
    base: String,
    #[serde(rename = "ref")]
    reference: String,
    wheels: Vec<String>,
    files: BTreeMap<String, String>,
    command: Vec<String>,
    user: String,
    workdir: String,
    env: BTreeMap<String, String>,
    ports: Vec<String>,
    /// Absent where there are none: locks from before there were labels stay what they are.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    source: Option<Digest>,
    #[serde(rename = "darwin-arm64")]
    darwin_arm64: Option<ImagePin>,
    #[serde(rename = "linux-amd64")]
    linux_amd64: Option<ImagePin>,
    #[serde(rename = "linux-arm64")]
    linux_arm64: Option<ImagePin>,
    #[serde(rename = "pending")]
    _pending: Pending,
}

fn platforms<T>(darwin_arm64: Option<T>, linux_amd64: Option<T>, linux_arm64: Option<T>) -> BTreeMap<Platform, T> {
    [(Platform::DarwinArm64, darwin_arm64), (Platform::LinuxAmd64, linux_amd64), (Platform::LinuxArm64, linux_arm64)]
        .into_iter()
        .filter_map(|(platform, pin)| Some((platform, pin?)))
        .collect()
}

fn each<From, To: std::convert::From<From>>(entries: BTreeMap<String, From>) -> BTreeMap<String, To> {
    entries.into_iter().map(|(name, entry)| (name, entry.into())).collect()
}

impl From<WireLock> for Lock {
    fn from(wire: WireLock) -> Self {
        Self {
            name: wire.name,
            host: wire.host,
            node: wire.node,
            version: wire.version,
            tool: each(wire.tool),
            file: each(wire.file),
            manifest: each(wire.manifest),
            image: each(wire.image),
            wheel: each(wire.wheel),
            app: each(wire.app),
            profile: wire.profile,
        }
    }
}

impl From<WireTool> for ToolEntry {
    fn from(wire: WireTool) -> Self {
        Self {
            want: wire.want,
            checksum: wire.checksum,
            side: wire.platform,
            member: wire.member,
            platforms: platforms(wire.darwin_arm64, wire.linux_amd64, wire.linux_arm64),
        }
    }
}

impl From<WireFile> for FileEntry {
    fn from(wire: WireFile) -> Self {
        Self {
            want: wire.want,
            checksum: wire.checksum,
            digest: wire.digest,
            size: wire.size,
            checked: wire.checked,
            member: wire.member,
        }
    }
}

impl From<WireManifest> for ManifestEntry {
    fn from(wire: WireManifest) -> Self {
        Self { want: wire.want, checksum: wire.checksum, digest: wire.digest, size: wire.size, checked: wire.checked }
    }
}

impl From<WireImage> for ImageEntry {
    fn from(wire: WireImage) -> Self {
        let mut entry = Self { want: wire.want, index: wire.index, platforms: BTreeMap::new(), hints: BTreeMap::new() };
        for (platform, pin) in platforms(wire.darwin_arm64, wire.linux_amd64, wire.linux_arm64) {
            // A pin is whole or it is a hint: anything in between is not canonical, and the comparison
            // with the canonical text says where.
            match (pin.manifest.complete(), pin.config, pin.layers) {
                (Some(manifest), Some(config), Some(layers)) => {
                    entry.platforms.insert(platform, ImagePin { manifest, config, layers });
                }
                _ => {
                    entry.hints.insert(platform, pin.manifest);
                }
            }
        }
        entry
    }
}

impl From<WireWheel> for WheelEntry {
    fn from(wire: WireWheel) -> Self {
        Self { want: wire.want, platforms: platforms(wire.darwin_arm64, wire.linux_amd64, wire.linux_arm64) }
    }
}

impl From<WireApp> for AppEntry {
    fn from(wire: WireApp) -> Self {
        Self {
            request: AppRequest {
                path: wire.path,
                base: wire.base,
                reference: wire.reference,
                wheels: wire.wheels,
                files: wire.files,
                command: wire.command,
                user: wire.user,
                workdir: wire.workdir,
                env: wire.env,
                ports: wire.ports,
                labels: wire.labels,
            },
            source: wire.source,
            platforms: platforms(wire.darwin_arm64, wire.linux_amd64, wire.linux_arm64),
        }
    }
}
