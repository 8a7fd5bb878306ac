//! The OCI documents of a lab: its folder as an artifact (image-spec v1.1, manifest.md, "Guidelines for Artifact
//! Usage"), which `oras pull` turns into a folder again. In a registry the artifact has the lab's blobs as well.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::{Descriptor, Digest};

use super::{
    Identity, LabFile,
    lab::{LOCK, files_problem},
};

/// What the artifact is.
pub const LAB_TYPE: &str = "application/vnd.ztlab.lab.v1";
/// Its lock.
pub const LOCK_TYPE: &str = "application/vnd.ztlab.lock.v1+toml";
/// Any other file of the lab's folder.
pub const FILE_TYPE: &str = "application/vnd.ztlab.file.v1";
/// A tool, archive, manifest of others or wheel, as upstream published it.
pub const BLOB_TYPE: &str = "application/vnd.ztlab.blob.v1";
/// An image's index for all platforms, as upstream published it: a file here, because the lab lacks some of them.
pub const INDEX_TYPE: &str = "application/vnd.ztlab.index.v1+json";
/// ztlab itself, for the platform that its name says.
pub const PROGRAM_TYPE: &str = "application/vnd.ztlab.program.v1";
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
    artifact(LAB_TYPE, lab, folder_layers(files))
}

/// The layers of a lab's folder.
pub fn folder_layers(files: &[LabFile]) -> Vec<Value> {
    let layers = files.iter().map(|LabFile { path, file }| {
        let media_type = if path == LOCK { LOCK_TYPE } else { FILE_TYPE };
        layer(media_type, *file, path)
    });
    layers.collect()
}

/// What the manifest of a lab's artifact says of the lab's folder. It is a stranger's text until its files are read.
///
/// # Errors
/// Why it is no lab, for people.
pub fn read_artifact(manifest: &[u8]) -> Result<Vec<LabFile>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        artifact_type: Option<String>,
        layers: Vec<Layer>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layer {
        media_type: String,
        digest: Digest,
        size: u64,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let Manifest { artifact_type, layers } =
        serde_json::from_slice(manifest).map_err(|error| format!("its manifest is no artifact's ({error})"))?;
    if artifact_type.as_deref() != Some(LAB_TYPE) {
        return Err(format!("its artifactType is not {LAB_TYPE}: something else is kept there"));
    }
    let mut files = Vec::new();
    for Layer { media_type, digest, size, mut annotations } in layers {
        if media_type == LOCK_TYPE || media_type == FILE_TYPE {
            let path = annotations.remove(TITLE).ok_or("one of its files has no name")?;
            files.push(LabFile { path, file: Descriptor { digest, size } });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files_problem(&files).map_or(Ok(files), Err)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> Identity {
        Identity { name: "small".to_owned(), id: Digest::of(b"lock") }
    }

    fn file(path: &str) -> LabFile {
        LabFile { path: path.to_owned(), file: Descriptor::of(path.as_bytes()) }
    }

    #[test]
    fn a_labs_folder_is_read_back_and_its_blobs_are_left_out() {
        let files = [file("lock/ztlab.lock"), file("lock/ztlab.toml"), file("manifests/01.yaml")];
        let mut layers = folder_layers(&files);
        layers.push(layer(BLOB_TYPE, Descriptor::of(b"tool"), "blobs/tool.a/a"));
        assert_eq!(read_artifact(&artifact(LAB_TYPE, &lab(), layers)).unwrap(), files);
        assert_eq!(read_artifact(&lab_manifest(&lab(), &files)).unwrap(), files);
    }

    #[test]
    fn a_strangers_artifact_writes_nowhere_else() {
        let whole = [file("lock/ztlab.lock"), file("lock/ztlab.toml")];
        for path in
            ["../a", "/etc/passwd", "lock/../../a", "lock/.git", "elsewhere/a", "lock/ztlab.LOCK", "lock/a\u{1b}"]
        {
            let files: Vec<LabFile> = whole.iter().cloned().chain([file(path)]).collect();
            assert!(read_artifact(&lab_manifest(&lab(), &files)).is_err(), "{path}");
        }
        let mut large = whole.to_vec();
        large[0].file.size = u64::MAX;
        assert!(read_artifact(&lab_manifest(&lab(), &large)).is_err());
        for text in [
            &lab_manifest(&lab(), &whole[..1])[..],
            &artifact("application/vnd.example.chart", &lab(), folder_layers(&whole)),
            b"{}",
            b"<html>",
        ] {
            assert!(read_artifact(text).is_err());
        }
    }
}
