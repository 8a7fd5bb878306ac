//! The OCI documents of a lab: its folder as an artifact (image-spec v1.1, manifest.md, "Guidelines for Artifact
//! Usage"), which `oras pull` turns into a folder again. The same in a bundle and in a registry.

use serde_json::{Value, json};

use crate::base::Descriptor;

use super::{Identity, LabFile, lab::LOCK};

/// What the artifact is.
pub const LAB_TYPE: &str = "application/vnd.ztlab.lab.v1";
/// Its lock.
pub const LOCK_TYPE: &str = "application/vnd.ztlab.lock.v1+toml";
/// Any other file of the lab's folder.
pub const FILE_TYPE: &str = "application/vnd.ztlab.file.v1";
/// OCI image-spec v1.1, media-types.md.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// What an artifact without configuration has as one (manifest.md, "Guidance for an Empty Descriptor").
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// Its two bytes.
pub const EMPTY: &[u8] = b"{}";
/// The name of a file: annotations.md; `oras pull` writes it there.
pub const TITLE: &str = "org.opencontainers.image.title";
/// The lab's name.
pub const LAB_NAME: &str = "dev.ztlab.lab.name";
/// The lab id.
pub const LAB_ID: &str = "dev.ztlab.lab.id";
/// The name of the artifact in a layout's `index.json`.
pub const LAB_REFERENCE: &str = "lab";

/// The manifest of a lab's folder.
pub fn lab_manifest(lab: &Identity, files: &[LabFile]) -> Vec<u8> {
    let layers = files.iter().map(|LabFile { path, file }| {
        let media_type = if path == LOCK { LOCK_TYPE } else { FILE_TYPE };
        layer(media_type, *file, path)
    });
    artifact(LAB_TYPE, lab, layers.collect())
}

/// One layer with a name.
pub fn layer(media_type: &str, file: Descriptor, title: &str) -> Value {
    json!({
        "mediaType": media_type,
        "digest": file.digest,
        "size": file.size,
        "annotations": { TITLE: title },
    })
}

/// A manifest of these layers, without configuration.
pub fn artifact(artifact_type: &str, lab: &Identity, layers: Vec<Value>) -> Vec<u8> {
    let config = Descriptor::of(EMPTY);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": artifact_type,
        "config": { "mediaType": EMPTY_TYPE, "digest": config.digest, "size": config.size },
        "layers": layers,
        "annotations": { LAB_NAME: lab.name, LAB_ID: lab.id },
    });
    manifest.to_string().into_bytes()
}

/// The entry of the lab's artifact in an `index.json`. `name` is the annotation by which tools choose.
pub(super) fn index_entry(manifest: &[u8], name: &str) -> Value {
    let descriptor = Descriptor::of(manifest);
    json!({
        "mediaType": MANIFEST_TYPE,
        "digest": descriptor.digest,
        "size": descriptor.size,
        "artifactType": LAB_TYPE,
        "annotations": { name: LAB_REFERENCE },
    })
}
