//! One tar that every consumer in the lab accepts: `oci-layout`, `index.json`, `manifest.json` and
//! `blobs/sha256/…`, streamed straight from the store.
//!
//! - dockerd's classic store and Minikube's image cache read `manifest.json` (gzip layers included);
//! - containerd reads `index.json` and keeps the original manifest digest; it takes the name from
//!   the annotation `io.containerd.image.name`. A second entry names what upstream's digest names (`repo@sha256:…`, the
//!   index where there is one), so that a pod that asks by digest finds it too.
//!
//! (moby v24.0.7 `image/tarexport/load.go`; containerd v1.7.8 `images/archive/importer.go`;
//! go-containerregistry v0.16.1 `pkg/v1/tarball/image.go`.)

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde_json::{Value, json};

use super::{Blobs, document};
use crate::base::{Descriptor, Digest, Platform};

/// One image of an archive: all digests from the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveImage {
    /// Full reference with a tag, as pods name it.
    pub reference: String,
    /// The platform's manifest.
    pub manifest: Descriptor,
    /// The image's config; its digest is what dockerd reports as image ID.
    pub config: Descriptor,
    /// Layers from the bottom up, as the manifest lists them.
    pub layers: Vec<Descriptor>,
    /// What the image's name with a digest means upstream: its index, or its manifest where there is none. `None` for
    /// an image that was made here: nobody can ask for it by a digest of a registry.
    pub pinned: Option<Descriptor>,
}

impl ArchiveImage {
    /// The name by digest, `docker.io/library/nginx@sha256:…`, where the image has one.
    pub fn digest_name(&self) -> Option<String> {
        let repository = match self.reference.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => &self.reference,
        };
        Some(format!("{repository}@{}", self.pinned?.digest))
    }

    /// Whether a digest that a runtime tells of a container's image is this one.
    pub fn is(&self, digest: &Digest) -> bool {
        let pinned = self.pinned.map(|pinned| pinned.digest);
        [Some(self.manifest.digest), Some(self.config.digest), pinned].contains(&Some(*digest))
    }

    /// Every name that an archive gives to the image.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(self.reference.clone()).chain(self.digest_name()).collect()
    }
}

/// What one image brings into an archive. It follows from the image alone, so it can be made before it is known what the
/// archive's reader lacks.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Entries of `index.json`.
    index: Vec<Value>,
    /// The entry of `manifest.json`.
    docker: Value,
    /// Every blob of the image, in order.
    blobs: Vec<Descriptor>,
}

impl Part {
    /// Reads the image's documents.
    ///
    /// # Errors
    /// When a manifest cannot be read from the store or is none.
    pub fn read(image: &ArchiveImage, platform: Platform, blobs: &dyn Blobs) -> io::Result<Self> {
        let bytes = super::read_document(blobs, &image.manifest.digest)?;
        let manifest = document::parse_manifest(&bytes).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("manifest {} of {}: {error}", image.manifest.digest, image.reference),
            )
        })?;
        let mut index = vec![json!({
            "mediaType": manifest.announced_media_type(),
            "digest": image.manifest.digest,
            "size": image.manifest.size,
            "platform": { "architecture": platform.architecture(), "os": platform.os() },
            "annotations": {
                "io.containerd.image.name": image.reference,
                "org.opencontainers.image.ref.name": tag_of(&image.reference),
            },
        })];
        let mut members = Vec::new();
        if let (Some(pinned), Some(name)) = (image.pinned, image.digest_name()) {
            let media_type = match pinned == image.manifest {
                true => manifest.announced_media_type().to_owned(),
                false => index_type(blobs, &pinned)?,
            };
            index.push(json!({
                "mediaType": media_type,
                "digest": pinned.digest,
                "size": pinned.size,
                "annotations": { "io.containerd.image.name": name },
            }));
            members.push(pinned);
        }
        let docker = json!({
            "Config": blob_path(&image.config.digest),
            "RepoTags": [image.reference],
            "Layers": image.layers.iter().map(|layer| blob_path(&layer.digest)).collect::<Vec<_>>(),
        });
        members.extend([image.manifest, image.config].iter().chain(&image.layers));
        Ok(Self { index, docker, blobs: members })
    }
}

/// Everything that goes into one archive, in order, with its length known before the first byte.
#[derive(Debug, Clone)]
pub struct Archive {
    documents: Vec<(String, Vec<u8>)>,
    blobs: Vec<Descriptor>,
}

impl Archive {
    /// Plans the archive of some images.
    ///
    /// # Errors
    /// When a manifest cannot be read from the store or is none.
    pub fn plan(images: &[ArchiveImage], platform: Platform, blobs: &dyn Blobs) -> io::Result<Self> {
        let parts = images.iter().map(|image| Part::read(image, platform, blobs)).collect::<io::Result<Vec<_>>>()?;
        Ok(Self::of(&parts))
    }

    /// Puts an archive together. Blobs that several images share are in it once.
    pub fn of<'part>(parts: impl IntoIterator<Item = &'part Part>) -> Self {
        let (mut index, mut docker, mut members) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for part in parts {
            index.extend(part.index.iter().cloned());
            docker.push(part.docker.clone());
            members.extend(part.blobs.iter().filter(|blob| seen.insert(blob.digest)));
        }
        let documents = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), json!({ "schemaVersion": 2, "manifests": index }).to_string().into_bytes()),
            ("manifest.json".to_owned(), json!(docker).to_string().into_bytes()),
        ];
        Self { documents, blobs: members }
    }

    /// Leaves out blobs that the reader is known to have: a runtime asks for a layer only when it lacks it.
    #[must_use]
    pub fn without(mut self, present: &BTreeSet<Digest>) -> Self {
        self.blobs.retain(|blob| !present.contains(&blob.digest));
        self
    }

    /// Length of the whole tar in bytes (512-byte headers and padding, two empty blocks at the end).
    pub fn size(&self) -> u64 {
        let member = |length: u64| 512 + length.div_ceil(512) * 512;
        let documents: u64 = self.documents.iter().map(|(_, bytes)| member(bytes.len() as u64)).sum();
        let blobs: u64 = self.blobs.iter().map(|blob| member(blob.size)).sum();
        documents + blobs + 1024
    }

    /// Writes the tar. The caller streams it into a runtime or a file.
    ///
    /// # Errors
    /// When a blob cannot be read or is shorter than the lock says, or the writer fails.
    pub fn write_to(&self, blobs: &dyn Blobs, writer: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(writer);
        for (name, bytes) in &self.documents {
            tar.append_data(&mut header(bytes.len() as u64), name, bytes.as_slice())?;
        }
        for blob in &self.blobs {
            let file = blobs.open(&blob.digest)?;
            let length = file.metadata()?.len();
            if length != blob.size {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("blob {} has {length} bytes in the store, the lock says {}", blob.digest, blob.size),
                ));
            }
            tar.append_data(&mut header(blob.size), blob_path(&blob.digest), file)?;
        }
        tar.into_inner()?.flush()
    }
}

/// The type to announce for an index; OCI allows an index not to say it.
fn index_type(blobs: &dyn Blobs, index: &Descriptor) -> io::Result<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let bytes = super::read_document(blobs, &index.digest)?;
    let typed: Typed = serde_json::from_slice(&bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("index {}: {error}", index.digest)))?;
    Ok(typed.media_type.unwrap_or_else(|| document::INDEX.to_owned()))
}

/// A header without owner, group or time: the same images give the same archive.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The tag of a reference, or `latest` where it has none; a port's colon is no tag.
fn tag_of(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => "latest",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::image::test_blobs::Folder;

    fn image(folder: &Folder, reference: &str, layers: &[&[u8]]) -> ArchiveImage {
        let config = folder.add(format!("{{\"config of\":\"{reference}\"}}").as_bytes());
        let layers: Vec<Descriptor> = layers.iter().map(|bytes| folder.add(bytes)).collect();
        let manifest = document::Manifest {
            schema_version: 2,
            media_type: None,
            config: document::TypedDescriptor::new(document::CONFIG, config),
            layers: layers.iter().map(|layer| document::TypedDescriptor::new(document::LAYER_GZIP, *layer)).collect(),
        };
        let manifest = folder.add(&serde_json::to_vec(&manifest).unwrap());
        ArchiveImage { reference: reference.to_owned(), manifest, config, layers, pinned: None }
    }

    fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        tar::Archive::new(bytes)
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect()
    }

    #[test]
    fn two_images_with_a_common_layer_hold_it_once_and_name_both() {
        let folder = Folder::new();
        let images = [
            image(&folder, "docker.io/calico/node:v3.27.0", &[b"base", b"node"]),
            image(&folder, "127.0.0.1:5000/cni:v1", &[b"base", b"cni"]),
        ];
        let archive = Archive::plan(&images, Platform::LinuxAmd64, &folder).unwrap();
        let mut bytes = Vec::new();
        archive.write_to(&folder, &mut bytes).unwrap();
        assert_eq!(archive.size(), bytes.len() as u64);

        let members = members(&bytes);
        let base = blob_path(&Digest::of(b"base"));
        assert_eq!(members.iter().filter(|(name, _)| *name == base).count(), 1);
        assert!(
            members
                .iter()
                .all(|(name, content)| !name.starts_with("blobs/") || *name == blob_path(&Digest::of(content)))
        );

        let index: serde_json::Value = serde_json::from_slice(&members[1].1).unwrap();
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "docker.io/calico/node:v3.27.0");
        assert_eq!(index["manifests"][1]["annotations"]["org.opencontainers.image.ref.name"], "v1");
        let docker: serde_json::Value = serde_json::from_slice(&members[2].1).unwrap();
        assert_eq!(docker[1]["RepoTags"][0], "127.0.0.1:5000/cni:v1");
        assert_eq!(docker[0]["Layers"][0], serde_json::Value::String(base));
    }

    #[test]
    fn a_pinned_image_has_its_name_by_digest_too_and_brings_its_index() {
        let folder = Folder::new();
        let mut listed = image(&folder, "docker.io/library/nginx:1", &[b"base"]);
        let bytes = format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{}"}}]}}"#, listed.manifest.digest);
        listed.pinned = Some(folder.add(bytes.as_bytes()));
        let mut alone = image(&folder, "quay.io/a/b:2", &[b"base", b"b"]);
        alone.pinned = Some(alone.manifest);
        let archive = Archive::plan(&[listed.clone(), alone.clone()], Platform::LinuxAmd64, &folder).unwrap();
        let mut bytes = Vec::new();
        archive.write_to(&folder, &mut bytes).unwrap();
        assert_eq!(archive.size(), bytes.len() as u64);

        let members = members(&bytes);
        let index: serde_json::Value = serde_json::from_slice(&members[1].1).unwrap();
        let named = |number: usize| {
            let entry = &index["manifests"][number];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (text(&entry["annotations"]["io.containerd.image.name"]), text(&entry["digest"]), text(&entry["mediaType"]))
        };
        let pinned = listed.pinned.unwrap().digest;
        assert_eq!(
            named(1),
            (format!("docker.io/library/nginx@{pinned}"), pinned.to_string(), document::INDEX.to_owned())
        );
        let manifest = alone.manifest.digest;
        let expected = (format!("quay.io/a/b@{manifest}"), manifest.to_string(), document::MANIFEST.to_owned());
        assert_eq!(named(3), expected);
        assert_eq!(members.iter().filter(|(name, _)| *name == blob_path(&pinned)).count(), 1);
        assert_eq!(members.iter().filter(|(name, _)| *name == blob_path(&manifest)).count(), 1);
        let docker: serde_json::Value = serde_json::from_slice(&members[2].1).unwrap();
        assert_eq!(docker[0]["RepoTags"], json!(["docker.io/library/nginx:1"]), "dockerd refuses a digest here");
    }

    #[test]
    fn what_the_reader_has_is_left_out_and_still_named() {
        let folder = Folder::new();
        let one = image(&folder, "a/b:1", &[b"base", b"files"]);
        let present = BTreeSet::from([Digest::of(b"base")]);
        let archive = Archive::plan(&[one], Platform::LinuxAmd64, &folder).unwrap().without(&present);
        let mut bytes = Vec::new();
        archive.write_to(&folder, &mut bytes).unwrap();
        assert_eq!(archive.size(), bytes.len() as u64);
        let members = members(&bytes);
        let (base, files) = (blob_path(&Digest::of(b"base")), blob_path(&Digest::of(b"files")));
        assert!(members.iter().all(|(name, _)| *name != base) && members.iter().any(|(name, _)| *name == files));
        let docker = String::from_utf8(members[2].1.clone()).unwrap();
        assert!(docker.contains(&base), "{docker}");
    }

    #[test]
    fn a_blob_of_another_length_than_locked_is_refused_by_name() {
        let folder = Folder::new();
        let mut one = image(&folder, "a/b:1", &[b"base"]);
        one.layers[0].size += 1;
        let archive = Archive::plan(&[one], Platform::LinuxAmd64, &folder).unwrap();
        let error = archive.write_to(&folder, io::sink()).unwrap_err().to_string();
        assert!(error.contains(&Digest::of(b"base").to_string()), "{error}");
    }
}
