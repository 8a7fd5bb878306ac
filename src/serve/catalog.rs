//! What a server has: the blobs of one lab, its lock, and the names of its images.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    base::{Descriptor, Digest, reference},
    lockfile::{self, CheckedLock, ImagePin, Lock},
    plan::{Complete, PlanError},
    store::{Store, StoreError},
};

/// OCI image-spec v1.1, media-types.md.
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `GET /lab.json`: what is served, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabDocument {
    /// The lab's name.
    pub name: String,
    /// SHA-256 of the lock.
    pub lab_id: Digest,
    /// Bytes of all blobs, each counted once.
    pub bytes: u64,
    /// How many blobs.
    pub blobs: usize,
    /// The version of ztlab that serves.
    pub version: String,
    /// Every entry of the lock.
    pub artifacts: Vec<ArtifactDocument>,
}

/// One entry of the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactDocument {
    /// `image.calico-node`
    pub name: String,
    /// How many blobs it needs; others may need some of them too.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// The images of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Repository {
    /// Tag → index or manifest.
    pub(super) tags: BTreeMap<String, Digest>,
    /// Indexes and manifests, with their media types.
    pub(super) manifests: BTreeMap<Digest, (Descriptor, String)>,
}

/// See the top of this file.
#[derive(Debug)]
pub struct Catalog {
    pub(super) lab: LabDocument,
    /// The lock, as it is on disk.
    pub(super) lock: Bytes,
    /// Its detached signature, where there is one.
    pub(super) signature: Option<Bytes>,
    pub(super) store: Store,
    /// Full name, `docker.io/calico/node`.
    pub(super) repositories: BTreeMap<String, Repository>,
    /// Whether every blob was there at the beginning. Where blobs still come, one that is absent is nobody's fault.
    pub(super) is_whole: bool,
    blobs: BTreeMap<Digest, Descriptor>,
    artifact_of: BTreeMap<Digest, String>,
}

/// A lab that cannot be served.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CatalogError {
    /// A blob is not what it was.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(#[from] PlanError),
    /// A blob cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl Catalog {
    /// Lists what there is. Reads every index and manifest once. `signature`: the lock's, when there is one.
    ///
    /// # Errors
    /// When a manifest has gone or differs.
    pub fn of(complete: &Complete, signature: Option<Vec<u8>>) -> Result<Self, CatalogError> {
        let mut catalog = Self::listed(complete.lock(), complete.store());
        catalog.signature = signature.map(Bytes::from);
        catalog.repositories = repositories(complete)?;
        catalog.is_whole = true;
        Ok(catalog)
    }

    /// What a laptop has to give that has not everything yet: the blobs of the lab that are in its store at the moment
    /// when they are asked for, and no names of images.
    pub fn so_far(lock: &CheckedLock, store: &Store) -> Self {
        Self::listed(lock, store)
    }

    fn listed(lock: &Lock, store: &Store) -> Self {
        let mut blobs = BTreeMap::new();
        let mut artifact_of = BTreeMap::new();
        let mut artifacts = Vec::new();
        for artifact in lock.artifacts() {
            let own: BTreeSet<Descriptor> = artifact.blobs.iter().map(|blob| blob.descriptor).collect();
            for blob in &own {
                artifact_of.entry(blob.digest).or_insert_with(|| artifact.name.clone());
            }
            blobs.extend(own.iter().map(|blob| (blob.digest, *blob)));
            let bytes = own.iter().map(|blob| blob.size).sum();
            artifacts.push(ArtifactDocument { name: artifact.name, blobs: own.len(), bytes });
        }
        let lab = LabDocument {
            name: lock.name.clone(),
            lab_id: lock.lab_id(),
            bytes: blobs.values().map(|blob| blob.size).sum(),
            blobs: blobs.len(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            artifacts,
        };
        Self {
            lab,
            lock: Bytes::from(lockfile::write(lock)),
            signature: None,
            store: store.clone(),
            repositories: BTreeMap::new(),
            is_whole: false,
            blobs,
            artifact_of,
        }
    }

    /// Sizes of the blobs, in the order of their digests.
    pub(super) fn sizes(&self) -> Vec<u64> {
        self.blobs.values().map(|blob| blob.size).collect()
    }

    /// What is served, for programs.
    pub fn lab(&self) -> &LabDocument {
        &self.lab
    }

    /// A blob of this lab.
    pub(super) fn blob(&self, digest: &Digest) -> Option<Descriptor> {
        self.blobs.get(digest).copied()
    }

    /// An artifact that needs the blob, for messages.
    pub(super) fn artifact_of(&self, digest: &Digest) -> &str {
        self.artifact_of.get(digest).map_or("", String::as_str)
    }

    /// The repository of a name in a request: the full name, or a short one as a mirror is asked. `host` is whom the
    /// client really means (containerd's `?ns=`); without it a short name is Docker Hub's, as dockerd's mirrors have
    /// it, or the only one that ends so.
    pub(super) fn repository(&self, name: &str, host: Option<&str>) -> Option<(&str, &Repository)> {
        let found = |name: &str| self.repositories.get_key_value(name);
        let entry = match host {
            Some(host) => found(&full_name(host, name)).or_else(|| found(name)),
            None => found(name).or_else(|| found(&full_name("docker.io", name))).or_else(|| {
                // `docker.io/nginx`, for what is in full `docker.io/library/nginx`.
                let (host, rest) = name.split_once('/')?;
                found(&full_name(host, rest)).or_else(|| self.only_ending(name))
            }),
        };
        entry.map(|(name, repository)| (name.as_str(), repository))
    }

    fn only_ending(&self, name: &str) -> Option<(&String, &Repository)> {
        let mut ending = self
            .repositories
            .iter()
            .filter(|(full, _)| full.split_once('/').is_some_and(|(_, repository)| repository == name));
        let first = ending.next()?;
        ending.next().is_none().then_some(first)
    }
}

/// Registry and repository in one, as the lock's references have them.
fn full_name(host: &str, name: &str) -> String {
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    let library = if host == "docker.io" && !name.contains('/') { "library/" } else { "" };
    format!("{host}/{library}{name}")
}

fn repositories(complete: &Complete) -> Result<BTreeMap<String, Repository>, CatalogError> {
    let mut repositories: BTreeMap<String, Repository> = BTreeMap::new();
    for (reference, index, pins) in images(complete.lock()) {
        // The lock's parser has refused what is no reference.
        let Ok((host, name)) = reference::split_reference(&reference) else { continue };
        let repository = repositories.entry(format!("{host}/{name}")).or_default();
        let top = index.or_else(|| pins.first().map(|pin| pin.manifest));
        let Some(top) = top else { continue };
        for descriptor in pins.iter().map(|pin| pin.manifest).chain(index) {
            let bytes = complete.blob(&descriptor.digest)?.read()?;
            repository.manifests.insert(descriptor.digest, (descriptor, media_type(&bytes)));
        }
        let full = reference::normalize_reference(&reference);
        if let Some(tag) = reference::tag_of(&full) {
            repository.tags.insert(tag.to_owned(), top.digest);
        }
    }
    Ok(repositories)
}

/// Reference, index and manifests of every image, upstream's and our own.
fn images(lock: &Lock) -> Vec<(String, Option<Descriptor>, Vec<&ImagePin>)> {
    let pulled = lock.image.values().map(|entry| {
        (entry.want.clone(), entry.index.and_then(|index| index.complete()), entry.platforms.values().collect())
    });
    let built =
        lock.app.values().map(|entry| (entry.request.reference.clone(), None, entry.platforms.values().collect()));
    pulled.chain(built).collect()
}

/// What the document calls itself; OCI allows it not to say (image-spec v1.1, manifest.md, "mediaType").
fn media_type(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let head: Option<Head> = serde_json::from_slice(bytes).ok();
    let fallback = if head.as_ref().is_some_and(|head| head.manifests.is_some()) { OCI_INDEX } else { OCI_MANIFEST };
    let named = head.and_then(|head| head.media_type);
    // It becomes a header: a name of a media type and nothing else.
    let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.+-_".contains(&byte));
    named.filter(plain).unwrap_or_else(|| fallback.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_say_what_they_are() {
        assert_eq!(media_type(br#"{"schemaVersion":2,"manifests":[]}"#), OCI_INDEX);
        assert_eq!(media_type(br#"{"schemaVersion":2,"config":{}}"#), OCI_MANIFEST);
        let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
        assert_eq!(media_type(format!(r#"{{"mediaType":"{docker}"}}"#).as_bytes()), docker);
        assert_eq!(media_type(br#"{"mediaType":"a\r\nSet-Cookie: b"}"#), OCI_MANIFEST);
    }

    #[test]
    fn hub_names_are_written_out() {
        assert_eq!(full_name("docker.io", "nginx"), "docker.io/library/nginx");
        assert_eq!(full_name("registry-1.docker.io", "calico/node"), "docker.io/calico/node");
        assert_eq!(full_name("quay.io", "tigera/operator"), "quay.io/tigera/operator");
    }
}
