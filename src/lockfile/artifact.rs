//! Entries as lists of blobs, each with the place that it comes from.

use crate::{
    base::{Descriptor, Digest, Expected, Platform},
    intent::Side,
};

use super::{ImagePin, Lock};

/// One lock entry and the blobs that are known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// `image.calico-node`
    pub name: String,
    /// Its blobs; of an incomplete entry, those that are fully known.
    pub blobs: Vec<NeededBlob>,
}

/// A blob that an artifact needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededBlob {
    /// Its name and length.
    pub descriptor: Descriptor,
    /// What it is to the artifact: `linux-arm64 layer 3`.
    pub role: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where upstream's bytes come from. Mirrors are applied later: the lock knows only the real names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file at an address.
    Url(String),
    /// An index or manifest in the registry of this reference.
    RegistryManifest(String),
    /// A config or layer in the registry of this reference.
    RegistryBlob(String),
    /// A member of an archive that is itself a blob of the lab.
    Member {
        /// The archive.
        archive: Descriptor,
        /// Path in it.
        path: String,
    },
    /// Part of an image that ztlab builds: nobody publishes it.
    Built {
        /// The app's name.
        app: String,
        /// The image's platform.
        platform: Platform,
    },
}

impl Lock {
    /// Every entry, in the lock's order.
    pub fn artifacts(&self) -> Vec<Artifact> {
        let tools = self.tool.keys().map(|name| self.tool_artifact(name));
        let files = self.file.keys().map(|name| self.file_artifact(name));
        let manifests = self.manifest.iter().map(|(name, entry)| {
            let blobs = known(entry.expected(), "file", Origin::Url(entry.want.clone()));
            Artifact { name: format!("manifest.{name}"), blobs: blobs.into_iter().collect() }
        });
        let images = self.image.keys().map(|name| self.image_artifact(name));
        let wheels = self.wheel.keys().map(|name| self.wheel_artifact(name));
        let apps = self.app.keys().map(|name| self.app_artifact(name));
        tools.chain(files).chain(manifests).chain(images).chain(wheels).chain(apps).collect()
    }

    /// The program of a tool that runs on this side, for its first platform that equals `platform`.
    pub fn program(&self, tool: &str, platform: Platform) -> Option<Descriptor> {
        self.tool.get(tool)?.platforms.get(&platform)?.program()
    }

    /// A member of a file entry, as `member("istio", "istioctl")`.
    pub fn member(&self, file: &str, member: &str) -> Option<Descriptor> {
        self.file.get(file)?.member.get(member)?.expected().complete()
    }

    /// The images that the node must have, upstream's and our own: name, reference and pin.
    pub fn images_for(&self, platform: Platform) -> Vec<(String, &str, &ImagePin)> {
        let pulled = self.image.iter().filter_map(move |(name, entry)| {
            Some((format!("image.{name}"), entry.want.as_str(), entry.platforms.get(&platform)?))
        });
        let built = self.app.iter().filter_map(move |(name, entry)| {
            Some((format!("app.{name}"), entry.request.reference.as_str(), entry.platforms.get(&platform)?))
        });
        pulled.chain(built).collect()
    }

    fn tool_artifact(&self, name: &str) -> Artifact {
        let mut blobs = Vec::new();
        let Some(entry) = self.tool.get(name) else { return Artifact { name: format!("tool.{name}"), blobs } };
        for (platform, pin) in &entry.platforms {
            let role = match entry.side {
                Side::Host => format!("{platform}"),
                Side::Node => format!("{platform} (node)"),
            };
            blobs.extend(known(pin.expected(), &role, Origin::Url(pin.url.clone())));
            if let (Some(archive), Some(path), Some(program)) = (pin.expected().complete(), &entry.member, pin.program)
            {
                let origin = Origin::Member { archive, path: path.clone() };
                blobs.extend(known(program, &format!("{role} program"), origin));
            }
        }
        Artifact { name: format!("tool.{name}"), blobs }
    }

    fn file_artifact(&self, name: &str) -> Artifact {
        let mut blobs = Vec::new();
        if let Some(entry) = self.file.get(name) {
            blobs.extend(known(entry.expected(), "file", Origin::Url(entry.want.clone())));
            if let Some(archive) = entry.expected().complete() {
                for (member_name, member) in &entry.member {
                    let origin = Origin::Member { archive, path: member.path.clone() };
                    blobs.extend(known(member.expected(), &format!("member {member_name}"), origin));
                }
            }
        }
        Artifact { name: format!("file.{name}"), blobs }
    }

    fn image_artifact(&self, name: &str) -> Artifact {
        let mut blobs = Vec::new();
        if let Some(entry) = self.image.get(name) {
            let manifest = || Origin::RegistryManifest(entry.want.clone());
            let blob = || Origin::RegistryBlob(entry.want.clone());
            if let Some(index) = entry.index {
                blobs.extend(known(index, "index", manifest()));
            }
            for (platform, pin) in &entry.platforms {
                blobs.extend(image_blobs(*platform, pin, manifest, blob));
            }
        }
        Artifact { name: format!("image.{name}"), blobs }
    }

    fn wheel_artifact(&self, name: &str) -> Artifact {
        let mut blobs: Vec<NeededBlob> = Vec::new();
        if let Some(entry) = self.wheel.get(name) {
            for (platform, download) in &entry.platforms {
                let Some(url) = &download.url else { continue };
                blobs.extend(known(download.expected(), &platform.to_string(), Origin::Url(url.clone())));
            }
        }
        Artifact { name: format!("wheel.{name}"), blobs }
    }

    fn app_artifact(&self, name: &str) -> Artifact {
        let mut blobs = Vec::new();
        if let Some(entry) = self.app.get(name) {
            for (platform, pin) in &entry.platforms {
                let built = || Origin::Built { app: name.to_owned(), platform: *platform };
                blobs.extend(image_blobs(*platform, pin, built, built));
            }
        }
        Artifact { name: format!("app.{name}"), blobs }
    }
}

fn image_blobs(
    platform: Platform,
    pin: &ImagePin,
    manifest: impl Fn() -> Origin,
    blob: impl Fn() -> Origin,
) -> Vec<NeededBlob> {
    let needed = |descriptor: Descriptor, role: String, origin: Origin| NeededBlob { descriptor, role, origin };
    let mut blobs = vec![
        needed(pin.manifest, format!("{platform} manifest"), manifest()),
        needed(pin.config, format!("{platform} config"), blob()),
    ];
    let layers = pin.layers.iter().enumerate();
    blobs.extend(layers.map(|(index, layer)| needed(*layer, format!("{platform} layer {}", index + 1), blob())));
    blobs
}

fn known(expected: Expected, role: &str, origin: Origin) -> Option<NeededBlob> {
    Some(NeededBlob { descriptor: expected.complete()?, role: role.to_owned(), origin })
}

/// For error messages: where the bytes were looked for.
impl std::fmt::Display for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => formatter.write_str(url),
            Self::RegistryManifest(reference) | Self::RegistryBlob(reference) => formatter.write_str(reference),
            Self::Member { archive, path } => write!(formatter, "{path} in archive {}", short(&archive.digest)),
            Self::Built { app, .. } => write!(formatter, "built from app.{app}"),
        }
    }
}

fn short(digest: &Digest) -> String {
    digest.short()
}
