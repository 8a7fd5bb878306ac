//! What has to be in which repository. Reads the lab's small documents and no layer.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    base::{Descriptor, Digest},
    bundle::{Identity, LabFileBytes, Program, describe_programs, document},
    fetch::{ImagePlace, Outgoing, OutgoingBytes, RegistryAddress, RegistryLayout},
    lockfile::Lock,
    plan::Complete,
    store::media_type,
};

use super::PushError;

/// The longest name of a repository that registries agree on.
const LONGEST_NAME: usize = 255;
/// OCI image-spec v1.1, media-types.md.
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A blob and every repository that needs it.
#[derive(Debug, Clone)]
pub struct PlacedBlob {
    /// The blob.
    pub blob: Outgoing,
    /// Whole names, sorted.
    pub repositories: Vec<String>,
}

/// A manifest or index and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedManifest {
    /// What people call it.
    pub label: String,
    /// The repository's whole name.
    pub repository: String,
    /// Its tag, else its digest.
    pub name: String,
    /// What it calls itself.
    pub media_type: String,
    /// It, byte for byte.
    pub bytes: Bytes,
}

impl PlacedManifest {
    /// Its digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// Everything that has to be in a registry for a lab to be there.
#[derive(Debug, Clone)]
pub struct PushPlan {
    /// Where to.
    pub address: RegistryAddress,
    /// Blobs; the largest first.
    pub blobs: Vec<PlacedBlob>,
    /// Images' manifests, which name blobs only.
    pub manifests: Vec<PlacedManifest>,
    /// Indexes, which name manifests.
    pub indexes: Vec<PlacedManifest>,
    /// The lab's own artifact.
    pub artifact: PlacedManifest,
    /// Programs in it: ztlab itself.
    pub programs: Vec<Program>,
}

impl PushPlan {
    /// Plans a push to `address`, under its tag or the beginning of the lab id. `files`: the lab's folder, as
    /// [`crate::bundle::read_lab`] gives it; `programs`: ztlab for each platform that is to have it from there. Blocks.
    ///
    /// # Errors
    /// When a document cannot be read, a program is none, or a name is too long.
    pub fn new(
        lab: &Complete,
        files: Vec<LabFileBytes>,
        programs: &[PathBuf],
        address: RegistryAddress,
    ) -> Result<Self, PushError> {
        let layout = RegistryLayout::of(lab.lock());
        let identity = Identity { name: lab.lock().name.clone(), id: lab.lock().lab_id() };
        let address = address.or_tag(&identity.id.short());
        let mut blobs = Blobs::default();
        let (mut manifests, mut indexes) = (Vec::new(), Vec::new());
        for image in &layout.images {
            let repository = address.repository_of(Some(&image.repository));
            if repository.len() > LONGEST_NAME {
                return Err(PushError::Name { name: repository });
            }
            for (platform, pin) in &image.pins {
                for blob in pin.blobs().skip(1) {
                    blobs.add(stored(lab, blob), &repository);
                }
                let bytes = read(lab, pin.manifest)?;
                let label = format!("{} {platform} manifest", image.artifact);
                manifests.push(placed(label, &repository, &pin.manifest.digest.to_string(), bytes));
            }
            top(lab, image, &repository, &mut manifests, &mut indexes)?;
        }
        let mut layers = folder(files, address.repository(), &mut blobs);
        layers.extend(files_of_others(lab, &layout, address.repository(), &mut blobs));
        let (programs, paths) = describe_programs(programs)?;
        for program in &programs {
            let name = program.name();
            layers.push(document::layer(document::PROGRAM_TYPE, program.file, &name));
            let bytes = OutgoingBytes::File(paths.get(&name).cloned().unwrap_or_default());
            blobs.add(Outgoing { descriptor: program.file, label: name, bytes }, address.repository());
        }
        blobs.add(in_memory("empty configuration".to_owned(), document::EMPTY.to_vec()), address.repository());
        let bytes = document::artifact(document::LAB_TYPE, &identity, layers).into();
        let tag = address.tag().unwrap_or_default();
        let artifact = placed("the lab's own artifact".to_owned(), address.repository(), tag, bytes);
        let mut blobs: Vec<PlacedBlob> = blobs.0.into_values().collect();
        blobs.sort_by_key(|placed| (std::cmp::Reverse(placed.blob.descriptor.size), placed.blob.descriptor.digest));
        let labels = labels(lab.lock());
        for placed in &mut blobs {
            if let Some(label) = labels.get(&placed.blob.descriptor.digest) {
                placed.blob.label.clone_from(label);
            }
        }
        dedup(&mut manifests);
        dedup(&mut indexes);
        Ok(Self { address, blobs, manifests, indexes, artifact, programs })
    }

    /// Every repository of the lab.
    pub fn repositories(&self) -> BTreeSet<&str> {
        let manifests = self.manifests.iter().chain(&self.indexes).chain([&self.artifact]);
        manifests.map(|manifest| manifest.repository.as_str()).collect()
    }
}

/// Decides what an image's tag means: the index where the lab has everything that it names, the manifest where there is
/// one, else an index of those that the lab has.
fn top(
    lab: &Complete,
    image: &ImagePlace,
    repository: &str,
    manifests: &mut [PlacedManifest],
    indexes: &mut Vec<PlacedManifest>,
) -> Result<(), PushError> {
    let upstreams = image.index.map(|index| read(lab, index)).transpose()?;
    let entries = match &upstreams {
        Some(bytes) => entries(bytes).ok_or_else(|| PushError::Index { artifact: image.artifact.clone() })?,
        None => Vec::new(),
    };
    let here: BTreeSet<String> = image.pins.values().map(|pin| pin.manifest.digest.to_string()).collect();
    let is_here = |entry: &Value| entry["digest"].as_str().is_some_and(|digest| here.contains(digest));
    let label = format!("{} index", image.artifact);
    if let Some(bytes) = upstreams.filter(|_| entries.iter().all(is_here)) {
        let name = image.tag.clone().unwrap_or_else(|| Digest::of(&bytes).to_string());
        indexes.push(placed(label, repository, &name, bytes));
        return Ok(());
    }
    // A reference by digest alone: that is how it is asked for.
    let Some(tag) = &image.tag else { return Ok(()) };
    match here.len() {
        0 => {}
        1 => {
            if let Some(manifest) = manifests.iter_mut().rfind(|manifest| here.contains(&manifest.name)) {
                manifest.name.clone_from(tag);
            }
        }
        _ => {
            let kept = entries.iter().filter(|entry| is_here(entry)).cloned().collect::<Vec<_>>();
            let kept = if kept.len() == here.len() { kept } else { described(lab, image)? };
            let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": kept });
            indexes.push(placed(label, repository, tag, index.to_string().into()));
        }
    }
    Ok(())
}

/// The manifests of an image as an index lists them.
fn described(lab: &Complete, image: &ImagePlace) -> Result<Vec<Value>, PushError> {
    let mut entries = Vec::new();
    for (platform, pin) in &image.pins {
        entries.push(json!({
            "mediaType": media_type(&read(lab, pin.manifest)?),
            "digest": pin.manifest.digest,
            "size": pin.manifest.size,
            "platform": { "os": platform.os(), "architecture": platform.architecture() },
        }));
    }
    Ok(entries)
}

fn entries(index: &[u8]) -> Option<Vec<Value>> {
    let index: Value = serde_json::from_slice(index).ok()?;
    index["manifests"].as_array().cloned()
}

/// The layers of the lab's folder, and their blobs.
fn folder(files: Vec<LabFileBytes>, repository: &str, blobs: &mut Blobs) -> Vec<Value> {
    let layers = document::folder_layers(&files.iter().map(|file| file.entry.clone()).collect::<Vec<_>>());
    for LabFileBytes { entry, bytes } in files {
        blobs.add(in_memory(entry.path, bytes), repository);
    }
    layers
}

/// The layers of what is neither an image nor the lab's own, and their blobs.
fn files_of_others(lab: &Complete, layout: &RegistryLayout, repository: &str, blobs: &mut Blobs) -> Vec<Value> {
    let mut layers = Vec::new();
    for blob in &layout.blobs {
        let media_type = if blob.is_index { document::INDEX_TYPE } else { document::BLOB_TYPE };
        layers.push(document::layer(media_type, blob.descriptor, &blob.title));
        blobs.add(stored(lab, blob.descriptor), repository);
    }
    layers
}

/// Blobs by digest, each once.
#[derive(Default)]
struct Blobs(BTreeMap<Digest, PlacedBlob>);

impl Blobs {
    fn add(&mut self, blob: Outgoing, repository: &str) {
        let digest = blob.descriptor.digest;
        let placed = self.0.entry(digest).or_insert_with(|| PlacedBlob { blob, repositories: Vec::new() });
        if let Err(place) = placed.repositories.binary_search_by(|name| name.as_str().cmp(repository)) {
            placed.repositories.insert(place, repository.to_owned());
        }
    }
}

fn stored(lab: &Complete, descriptor: Descriptor) -> Outgoing {
    // Not looked at again here: it is hashed when it is sent.
    let path = lab.store().path_of(&descriptor.digest);
    Outgoing { descriptor, label: String::new(), bytes: OutgoingBytes::File(path) }
}

fn in_memory(label: String, bytes: Vec<u8>) -> Outgoing {
    Outgoing { descriptor: Descriptor::of(&bytes), label, bytes: OutgoingBytes::Memory(bytes.into()) }
}

fn placed(label: String, repository: &str, name: &str, bytes: Bytes) -> PlacedManifest {
    let (repository, name) = (repository.to_owned(), name.to_owned());
    PlacedManifest { label, repository, name, media_type: media_type(&bytes), bytes }
}

fn read(lab: &Complete, descriptor: Descriptor) -> Result<Bytes, PushError> {
    Ok(lab.blob(&descriptor.digest)?.read()?.into())
}

/// Two entries of a lock may be the same image.
fn dedup(manifests: &mut Vec<PlacedManifest>) {
    let mut seen = BTreeSet::new();
    manifests.retain(|manifest| seen.insert((manifest.repository.clone(), manifest.name.clone())));
}

/// What people call each blob of a lock.
fn labels(lock: &Lock) -> BTreeMap<Digest, String> {
    let mut labels = BTreeMap::new();
    for artifact in lock.artifacts() {
        for blob in artifact.blobs {
            labels.entry(blob.descriptor.digest).or_insert_with(|| format!("{} {}", artifact.name, blob.role));
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{Platform, report::Silent},
        lockfile::{CheckedLock, ImageEntry, ImagePin},
        store::Store,
    };

    const ENTRY: &str = "application/vnd.oci.image.manifest.v1+json";

    struct Lab {
        _folder: tempfile::TempDir,
        store: Store,
    }

    impl Lab {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).unwrap();
            Self { _folder: folder, store }
        }

        fn put(&self, text: &str) -> Descriptor {
            self.store.put(text.as_bytes(), &Silent).unwrap().descriptor()
        }

        fn pin(&self, platform: Platform) -> ImagePin {
            let config = self.put(&format!("config for {platform}"));
            let layer = self.put("a layer for every platform");
            let manifest = json!({ "schemaVersion": 2, "mediaType": ENTRY, "config": config, "layers": [layer] });
            ImagePin { manifest: self.put(&manifest.to_string()), config, layers: vec![layer] }
        }

        /// An image for these platforms, behind an index that also names `more`.
        fn plan(&self, platforms: &[Platform], indexed: bool, more: &[&str]) -> PushPlan {
            let pins: BTreeMap<Platform, ImagePin> =
                platforms.iter().map(|platform| (*platform, self.pin(*platform))).collect();
            let others = more.iter().map(|other| Descriptor::of(other.as_bytes()));
            let entries = pins.values().map(|pin| pin.manifest).chain(others);
            let entry = |blob: Descriptor| json!({ "mediaType": ENTRY, "digest": blob.digest, "size": blob.size, "annotations": { "of": "upstream" } });
            let index = json!({ "manifests": entries.map(entry).collect::<Vec<_>>(), "mediaType": OCI_INDEX });
            let index = indexed.then(|| self.put(&index.to_string()).into());
            let image =
                ImageEntry { want: "docker.io/a/a:1".to_owned(), index, platforms: pins, hints: BTreeMap::new() };
            let lock = Lock {
                name: "small".to_owned(),
                node: platforms.to_vec(),
                image: BTreeMap::from([("a".to_owned(), image)]),
                ..Lock::default()
            };
            let complete = Complete::open(CheckedLock::new(lock).unwrap(), self.store.clone()).unwrap();
            PushPlan::new(&complete, Vec::new(), &[], "oci://registry.example/lab".parse().unwrap()).unwrap()
        }
    }

    fn names(manifests: &[PlacedManifest]) -> Vec<&str> {
        manifests.iter().map(|manifest| manifest.name.as_str()).collect()
    }

    #[test]
    fn one_platform_of_many_has_the_tag_itself() {
        let lab = Lab::new();
        let plan = lab.plan(&[Platform::LinuxArm64], true, &["amd64", "attestation"]);
        assert_eq!((names(&plan.manifests), plan.indexes.len()), (vec!["1"], 0));
        assert_eq!(plan.manifests[0].repository, "lab/docker.io/a/a");
        assert_eq!(plan.manifests[0].media_type, ENTRY);
        let plan = lab.plan(&[Platform::LinuxArm64], false, &[]);
        assert_eq!((names(&plan.manifests), plan.indexes.len()), (vec!["1"], 0));
    }

    #[test]
    fn a_whole_index_has_the_tag_byte_for_byte() {
        let lab = Lab::new();
        let plan = lab.plan(&[Platform::LinuxAmd64, Platform::LinuxArm64], true, &[]);
        assert_eq!(names(&plan.indexes), ["1"]);
        assert!(lab.store.blob(Descriptor::of(&plan.indexes[0].bytes)).is_some(), "it is upstream's own");
        assert!(plan.manifests.iter().all(|manifest| manifest.name == manifest.digest().to_string()));
    }

    #[test]
    fn several_platforms_of_more_get_an_index_of_what_is_there() {
        let lab = Lab::new();
        for indexed in [true, false] {
            let plan = lab.plan(&[Platform::LinuxAmd64, Platform::LinuxArm64], indexed, &["s390x"]);
            assert_eq!(names(&plan.indexes), ["1"]);
            let index: Value = serde_json::from_slice(&plan.indexes[0].bytes).unwrap();
            let listed: BTreeSet<String> = index["manifests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["digest"].as_str().unwrap().to_owned())
                .collect();
            let there: BTreeSet<String> = plan.manifests.iter().map(|manifest| manifest.digest().to_string()).collect();
            assert_eq!(listed, there);
            let first = &index["manifests"][0];
            // Upstream's own words where there are some.
            assert_eq!(first["annotations"]["of"].as_str(), indexed.then_some("upstream"));
            assert_eq!(first["platform"]["architecture"].as_str(), (!indexed).then_some("amd64"));
        }
    }

    #[test]
    fn the_same_lab_is_the_same_artifact_under_the_labs_id() {
        let lab = Lab::new();
        let plan = lab.plan(&[Platform::LinuxArm64], true, &["amd64"]);
        let again = lab.plan(&[Platform::LinuxArm64], true, &["amd64"]);
        assert_eq!(plan.artifact, again.artifact);
        assert_eq!(plan.artifact.name.len(), 12);
        assert_eq!(plan.address.tag(), Some(plan.artifact.name.as_str()));
        assert_eq!(plan.repositories().into_iter().collect::<Vec<_>>(), ["lab", "lab/docker.io/a/a"]);
        let sizes: Vec<u64> = plan.blobs.iter().map(|placed| placed.blob.descriptor.size).collect();
        assert!(sizes.is_sorted_by(|one, next| one >= next), "the largest first: {sizes:?}");
    }

    #[test]
    fn a_name_that_no_registry_takes_is_said_before_anything_is_sent() {
        let lab = Lab::new();
        let lock = Lock {
            node: vec![Platform::LinuxArm64],
            image: BTreeMap::from([(
                "a".to_owned(),
                ImageEntry {
                    want: format!("docker.io/{}:1", "a".repeat(200)),
                    index: None,
                    platforms: BTreeMap::from([(Platform::LinuxArm64, lab.pin(Platform::LinuxArm64))]),
                    hints: BTreeMap::new(),
                },
            )]),
            ..Lock::default()
        };
        let complete = Complete::open(CheckedLock::new(lock).unwrap(), lab.store.clone()).unwrap();
        let address = format!("oci://registry.example/{}", "b".repeat(60)).parse().unwrap();
        assert!(matches!(PushPlan::new(&complete, Vec::new(), &[], address), Err(PushError::Name { .. })));
    }
}
