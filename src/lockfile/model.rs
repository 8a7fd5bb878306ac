//! The values of a lock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    base::{Descriptor, Digest, Expected, Platform},
    intent::{AppRequest, ProfileRequest, Side},
};

/// Everything that `lock/ztlab.lock` says. Entries may be incomplete: see [`Lock::pending`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The lab's name.
    pub name: String,
    /// Platforms of tools; sorted, no duplicates.
    pub host: Vec<Platform>,
    /// Platforms of images, wheels and node binaries; sorted, no duplicates.
    pub node: Vec<Platform>,
    /// The versions, for readers and for the steps that need one.
    pub version: BTreeMap<String, String>,
    /// Programs.
    pub tool: BTreeMap<String, ToolEntry>,
    /// Files and archives.
    pub file: BTreeMap<String, FileEntry>,
    /// YAML of others.
    pub manifest: BTreeMap<String, ManifestEntry>,
    /// Container images.
    pub image: BTreeMap<String, ImageEntry>,
    /// Python packages.
    pub wheel: BTreeMap<String, WheelEntry>,
    /// Images that ztlab builds.
    pub app: BTreeMap<String, AppEntry>,
    /// The lab with less; see [`Lock::profile`].
    pub profile: BTreeMap<String, ProfileRequest>,
}

impl Lock {
    /// The lab's identity: SHA-256 of the canonical bytes.
    pub fn lab_id(&self) -> Digest {
        Digest::of(super::write(self).as_bytes())
    }

    /// The platforms of one side.
    pub fn platforms(&self, side: Side) -> &[Platform] {
        match side {
            Side::Host => &self.host,
            Side::Node => &self.node,
        }
    }
}

/// `[tool.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolEntry {
    /// The address, versions filled in, platforms not.
    pub want: String,
    /// Upstream's own checksum file, when the intent names one; versions filled in, platforms not.
    pub checksum: Option<String>,
    /// Which platforms the program is pinned for.
    pub side: Side,
    /// When the address is an archive: the program's path in it.
    pub member: Option<String>,
    /// One pin per platform of that side.
    pub platforms: BTreeMap<Platform, ToolPin>,
}

/// One platform's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolPin {
    /// Where upstream publishes it.
    pub url: String,
    /// SHA-256 of the download.
    pub digest: Option<Digest>,
    /// Length of the download.
    pub size: Option<u64>,
    /// The program in the archive, when the download is one.
    pub program: Option<Expected>,
    /// The checksum file that said the same digest when the entry was locked.
    pub checked: Option<String>,
}

impl ToolPin {
    /// What is known of the download.
    pub fn expected(&self) -> Expected {
        Expected { digest: self.digest, size: self.size }
    }

    /// The program itself: the download, or the archive's member.
    pub fn program(&self) -> Option<Descriptor> {
        self.program.unwrap_or(self.expected()).complete()
    }
}

/// `[file.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The full address.
    pub want: String,
    /// Upstream's own checksum file, when the intent names one.
    pub checksum: Option<String>,
    /// SHA-256 of the file.
    pub digest: Option<Digest>,
    /// Length of the file.
    pub size: Option<u64>,
    /// The checksum file that said the same digest when the entry was locked.
    pub checked: Option<String>,
    /// Members of the archive that the lab uses.
    pub member: BTreeMap<String, MemberPin>,
}

impl FileEntry {
    /// What is known of the file.
    pub fn expected(&self) -> Expected {
        Expected { digest: self.digest, size: self.size }
    }
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberPin {
    /// Path, exactly or below the archive's single top folder.
    pub path: String,
    /// SHA-256 of its bytes.
    pub digest: Option<Digest>,
    /// Length in bytes.
    pub size: Option<u64>,
}

impl MemberPin {
    /// What is known of the member.
    pub fn expected(&self) -> Expected {
        Expected { digest: self.digest, size: self.size }
    }
}

/// `[manifest.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The full address.
    pub want: String,
    /// Upstream's own checksum file, when the intent names one.
    pub checksum: Option<String>,
    /// SHA-256 of the file.
    pub digest: Option<Digest>,
    /// Length of the file.
    pub size: Option<u64>,
    /// The checksum file that said the same digest when the entry was locked.
    pub checked: Option<String>,
}

impl ManifestEntry {
    /// What is known of the file.
    pub fn expected(&self) -> Expected {
        Expected { digest: self.digest, size: self.size }
    }
}

/// `[image.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEntry {
    /// The full reference with its tag.
    pub want: String,
    /// The multi-platform list that upstream published; absent for a single manifest.
    pub index: Option<Expected>,
    /// Complete pins.
    pub platforms: BTreeMap<Platform, ImagePin>,
    /// Platforms of which no more than something of the manifest is known; disjoint from `platforms`.
    pub hints: BTreeMap<Platform, Expected>,
}

/// One platform's image, every byte of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePin {
    /// What is downloaded and what `docker pull` shows for one platform.
    pub manifest: Descriptor,
    /// What the Docker runtime reports as image ID.
    pub config: Descriptor,
    /// From the bottom up.
    pub layers: Vec<Descriptor>,
}

impl ImagePin {
    /// Manifest, config and layers, in that order.
    pub fn blobs(&self) -> impl Iterator<Item = Descriptor> + '_ {
        [self.manifest, self.config].into_iter().chain(self.layers.iter().copied())
    }
}

/// `[wheel.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelEntry {
    /// `flask==3.1.3 python 3.12`
    pub want: String,
    /// One file per node platform, often the same.
    pub platforms: BTreeMap<Platform, Download>,
}

/// The parts of a wheel's `want`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WheelRequestText<'want> {
    /// Package.
    pub name: &'want str,
    /// Exact version.
    pub version: &'want str,
    /// Interpreter, as `3.12`.
    pub python: &'want str,
}

impl WheelEntry {
    /// Takes `want` apart; `None` when it is not of that form.
    pub fn request(&self) -> Option<WheelRequestText<'_>> {
        let (requirement, python) = self.want.split_once(" python ")?;
        let (name, version) = requirement.split_once("==")?;
        Some(WheelRequestText { name, version, python })
    }
}

/// A file at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Where upstream publishes it, when known.
    pub url: Option<String>,
    /// SHA-256 of the file.
    pub digest: Option<Digest>,
    /// Length of the file.
    pub size: Option<u64>,
}

impl Download {
    /// What is known of the file.
    pub fn expected(&self) -> Expected {
        Expected { digest: self.digest, size: self.size }
    }
}

/// `[app.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppEntry {
    /// What the intent asks for, word by word.
    pub request: AppRequest,
    /// Tree hash of the files that go into the image: see `resolve::source`.
    pub source: Option<Digest>,
    /// The built image, per node platform.
    pub platforms: BTreeMap<Platform, ImagePin>,
}
