//! Which blob of a lab is in which repository of a registry. Pure: a lock in, a value out.
//!
//! ```text
//! REPOSITORY                             the lab's own artifact: lock, folder, and every blob that is part of no image;
//!                                        also the indexes, byte for byte, as files
//! REPOSITORY/docker.io/calico/node       the images of docker.io/calico/node
//! REPOSITORY/127.0.0.1__5000/app         a host's port: a name has no colon, and a host no underscore
//! ```
//!
//! An index names the manifests of all its platforms, and a registry takes it only when it has all of them
//! (distribution, `manifestlisthandler.go`; zot, `ValidateManifest`). A lab has those of its own platforms. So an index
//! goes under its tag only when the lab has everything that it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{
        Descriptor, Digest, Platform,
        reference::{normalize_reference, split_reference, tag_of},
    },
    lockfile::{ImagePin, Lock, Origin},
};

/// A blob of the lab's own artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabBlob {
    /// Its bytes.
    pub descriptor: Descriptor,
    /// The file that it becomes when the artifact is unpacked: `blobs/tool.minikube/minikube-linux-arm64`.
    pub title: String,
    /// What people call it.
    pub label: String,
    /// Whether it is an image's index.
    pub is_index: bool,
}

/// An image with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePlace {
    /// `image.calico-node`
    pub artifact: String,
    /// Its repository below the lab's own: `docker.io/calico/node`.
    pub repository: String,
    /// Its tag, where its reference has one.
    pub tag: Option<String>,
    /// What upstream published for all platforms.
    pub index: Option<Descriptor>,
    /// The manifests that the lab has.
    pub pins: BTreeMap<Platform, ImagePin>,
}

/// Where a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The repository below the lab's own; `None` is the lab's own.
    pub repository: Option<String>,
    /// Whether it is asked for as a manifest.
    pub is_manifest: bool,
}

/// See the top of this file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryLayout {
    /// Blobs of the lab's own artifact, each once, in the lock's order.
    pub blobs: Vec<LabBlob>,
    /// Images, in the lock's order.
    pub images: Vec<ImagePlace>,
}

impl RegistryLayout {
    /// The layout of everything that is known of a lock.
    pub fn of(lock: &Lock) -> Self {
        Self { blobs: lab_blobs(lock), images: images(lock) }
    }

    /// Every place of every blob. What is read out of an archive has none: the archive has it.
    pub fn homes(&self) -> BTreeMap<Digest, Vec<Home>> {
        let mut homes: BTreeMap<Digest, Vec<Home>> = BTreeMap::new();
        let mut add = |digest: Digest, home: Home| {
            let known = homes.entry(digest).or_default();
            if !known.contains(&home) {
                known.push(home);
            }
        };
        for blob in &self.blobs {
            add(blob.descriptor.digest, Home { repository: None, is_manifest: false });
        }
        for image in &self.images {
            let home = |is_manifest| Home { repository: Some(image.repository.clone()), is_manifest };
            for pin in image.pins.values() {
                add(pin.manifest.digest, home(true));
                pin.blobs().skip(1).for_each(|blob| add(blob.digest, home(false)));
            }
        }
        homes
    }
}

fn images(lock: &Lock) -> Vec<ImagePlace> {
    let pulled = lock.image.iter().map(|(name, entry)| {
        let index = entry.index.and_then(|index| index.complete());
        (format!("image.{name}"), &entry.want, index, &entry.platforms)
    });
    let built =
        lock.app.iter().map(|(name, entry)| (format!("app.{name}"), &entry.request.reference, None, &entry.platforms));
    let places = pulled.chain(built).filter_map(|(artifact, reference, index, pins)| {
        // The lock's parser has refused what is no reference.
        let repository = repository_of(reference)?;
        let tag = tag_of(&normalize_reference(reference)).map(str::to_owned);
        Some(ImagePlace { artifact, repository, tag, index, pins: pins.clone() })
    });
    places.collect()
}

/// Host and repository as one name. Hosts have no capitals that matter and no underscore.
fn repository_of(reference: &str) -> Option<String> {
    let (host, repository) = split_reference(reference).ok()?;
    Some(format!("{}/{repository}", host.to_ascii_lowercase().replace(':', "__")))
}

fn lab_blobs(lock: &Lock) -> Vec<LabBlob> {
    let (mut blobs, mut seen, mut titles) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for artifact in lock.artifacts() {
        for blob in artifact.blobs {
            let (is_index, file) = match &blob.origin {
                Origin::Url(url) => (false, file_name(url)),
                Origin::RegistryManifest(_) if is_index(lock, blob.descriptor) => (true, "index.json".to_owned()),
                _ => continue,
            };
            if !seen.insert(blob.descriptor.digest) {
                continue;
            }
            let folder = format!("blobs/{}", plain(&artifact.name));
            let mut title = format!("{folder}/{file}");
            // A Mac's file system takes names for the same that differ in case.
            if !titles.insert(title.to_lowercase()) {
                title = format!("{folder}/{}-{file}", blob.descriptor.digest.short());
                titles.insert(title.to_lowercase());
            }
            let label = format!("{} {}", artifact.name, blob.role);
            blobs.push(LabBlob { descriptor: blob.descriptor, title, label, is_index });
        }
    }
    blobs
}

fn is_index(lock: &Lock, blob: Descriptor) -> bool {
    lock.image.values().any(|entry| entry.index.and_then(|index| index.complete()) == Some(blob))
}

/// The last part of an address, as a file's name on every system.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "file".to_owned() } else { plain(name) }
}

/// Letters, digits and a few signs that mean nothing anywhere; no leading dot.
fn plain(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | '+');
    let name: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::{Download, ImageEntry, WheelEntry};

    fn pin(name: &str) -> ImagePin {
        ImagePin {
            manifest: Descriptor::of(format!("manifest of {name}").as_bytes()),
            config: Descriptor::of(format!("config of {name}").as_bytes()),
            layers: vec![Descriptor::of(b"shared layer")],
        }
    }

    fn image(want: &str, index: Option<&[u8]>) -> ImageEntry {
        ImageEntry {
            want: want.to_owned(),
            index: index.map(|bytes| Descriptor::of(bytes).into()),
            platforms: BTreeMap::from([(Platform::LinuxArm64, pin(want))]),
            hints: BTreeMap::new(),
        }
    }

    fn wheel(url: &str, bytes: &[u8]) -> WheelEntry {
        let found = Descriptor::of(bytes);
        let download = Download { url: Some(url.to_owned()), digest: Some(found.digest), size: Some(found.size) };
        WheelEntry {
            want: "a==1 python 3.12".to_owned(),
            platforms: BTreeMap::from([(Platform::LinuxArm64, download)]),
        }
    }

    #[test]
    fn images_keep_their_full_names_and_none_meets_another() {
        for (reference, repository) in [
            ("docker.io/calico/node:v3.27.0", "docker.io/calico/node"),
            ("nginx:1.30", "docker.io/library/nginx"),
            ("127.0.0.1:5055/app:1", "127.0.0.1__5055/app"),
            ("127.0.0.1/5055/app:1", "127.0.0.1/5055/app"),
            ("Quay.io/kiali/kiali:v1", "quay.io/kiali/kiali"),
        ] {
            assert_eq!(repository_of(reference).as_deref(), Some(repository), "{reference}");
            // What comes out is a name that registries take.
            assert!(split_reference(&format!("registry.example/lab/{repository}:1")).is_ok(), "{repository}");
        }
    }

    #[test]
    fn every_blob_has_its_places() {
        let lock = Lock {
            image: BTreeMap::from([
                ("a".to_owned(), image("docker.io/a/a:1", Some(b"index"))),
                ("b".to_owned(), image("docker.io/b/b:1", None)),
            ]),
            ..Lock::default()
        };
        let homes = RegistryLayout::of(&lock).homes();
        let of = |bytes: &[u8]| homes[&Digest::of(bytes)].clone();
        let home =
            |repository: Option<&str>, is_manifest| Home { repository: repository.map(str::to_owned), is_manifest };
        assert_eq!(of(b"index"), [home(None, false)], "an index is kept as a file");
        assert_eq!(of(b"manifest of docker.io/a/a:1"), [home(Some("docker.io/a/a"), true)]);
        assert_eq!(of(b"shared layer"), [home(Some("docker.io/a/a"), false), home(Some("docker.io/b/b"), false)]);
        let all: BTreeSet<Digest> =
            lock.artifacts().iter().flat_map(|one| &one.blobs).map(|blob| blob.descriptor.digest).collect();
        assert_eq!(homes.into_keys().collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn titles_are_files_that_every_system_can_write() {
        let url = "https://files.example/a/Flask-1.whl";
        let lock = Lock {
            wheel: BTreeMap::from([
                ("a".to_owned(), wheel(url, b"one")),
                ("b".to_owned(), wheel("https://files.example/..?x=/../../etc/passwd", b"two")),
                ("c".to_owned(), wheel(url, b"one")),
                ("d".to_owned(), wheel("https://files.example/", b"three")),
            ]),
            ..Lock::default()
        };
        let titles: Vec<String> = RegistryLayout::of(&lock).blobs.into_iter().map(|blob| blob.title).collect();
        assert_eq!(titles, ["blobs/wheel.a/Flask-1.whl", "blobs/wheel.b/_..", "blobs/wheel.d/files.example"]);
        let mut both = wheel(url, b"one");
        both.platforms.insert(
            Platform::LinuxAmd64,
            wheel("https://b.example/flask-1.whl", b"four").platforms[&Platform::LinuxArm64].clone(),
        );
        let lock = Lock { wheel: BTreeMap::from([("a".to_owned(), both)]), ..Lock::default() };
        let titles: BTreeSet<String> =
            RegistryLayout::of(&lock).blobs.into_iter().map(|blob| blob.title.to_lowercase()).collect();
        assert_eq!(titles.len(), 2, "{titles:?}");
    }
}
