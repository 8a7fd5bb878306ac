//! OCI documents (image-spec v1.1) and their Docker schema 2 twins, read and written as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::Descriptor;

/// Media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a gzip layer.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer in the clear, in OCI's words.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A descriptor as manifests hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypedDescriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its digest and size.
    #[serde(flatten)]
    pub descriptor: Descriptor,
}

impl TypedDescriptor {
    /// Names the type of a blob.
    pub fn new(media_type: &str, descriptor: Descriptor) -> Self {
        Self { media_type: media_type.to_owned(), descriptor }
    }
}

/// An image manifest, OCI or Docker schema 2: both have these fields (image-spec v1.1, manifest.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// May be absent in OCI documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The config blob.
    pub config: TypedDescriptor,
    /// From the bottom up.
    pub layers: Vec<TypedDescriptor>,
}

impl Manifest {
    /// The type to announce for this document; OCI allows a manifest not to say it.
    pub fn announced_media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or(MANIFEST)
    }
}

/// Parses a manifest.
///
/// # Errors
/// When the bytes are not a manifest with config and layers.
pub fn parse_manifest(bytes: &[u8]) -> Result<Manifest, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// An image config (image-spec v1.1, config.md). What this tool does not touch passes through unread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made; a fixed time in images that ztlab builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Go's name of the architecture.
    pub architecture: String,
    /// Go's name of the operating system.
    pub os: String,
    /// What a container runs.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// The unpacked layers.
    pub rootfs: RootFs,
    /// One entry for each layer and for each change without one.
    #[serde(default)]
    pub history: Vec<Value>,
    /// The architecture's variant, as `v8` on ARM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The digests of the uncompressed layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// From the bottom up.
    pub diff_ids: Vec<crate::base::Digest>,
}

/// Parses a config.
///
/// # Errors
/// When the bytes are not an image config.
pub fn parse_config(bytes: &[u8]) -> Result<ImageConfig, serde_json::Error> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_manifest_reads_like_an_oci_one() {
        let digest = crate::base::Digest::of(b"x");
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
               "config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":1,"digest":"{digest}"}},
               "layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":7,"digest":"{digest}","urls":[]}}]}}"#
        );
        let manifest = parse_manifest(text.as_bytes()).unwrap();
        assert_eq!(manifest.layers[0].descriptor.size, 7);
        assert_eq!(manifest.announced_media_type(), "application/vnd.docker.distribution.manifest.v2+json");
    }

    #[test]
    fn an_index_is_not_a_manifest() {
        assert!(parse_manifest(br#"{"schemaVersion":2,"manifests":[]}"#).is_err());
    }
}
