//! Images: tag → index → the node platform's manifest → config and layers.
//!
//! Documents are digested and stored as the bytes that came, never re-serialised: a re-written manifest has
//! another digest. Both families of media types are read, OCI's and Docker's.

use oci_spec::{
    distribution::Reference,
    image::{ImageConfiguration, ImageIndex, ImageManifest},
};
use serde_json::Value;

use crate::{
    base::{Descriptor, Digest, Expected, Platform},
    fetch::Wanted,
    lockfile::{ImageEntry, ImagePin},
};

use super::{ResolveError, Room, file::check};

/// Either kind of what a tag may name.
enum Top {
    Index(Box<ImageIndex>),
    Manifest(Box<ImageManifest>),
}

impl Room<'_> {
    pub(super) async fn image(self, mut entry: ImageEntry, node: &[Platform]) -> Result<ImageEntry, ResolveError> {
        let want = entry.want.clone();
        let known = entry.index.unwrap_or(Expected::NOTHING);
        // A known digest is what was published; the tag may have moved since.
        let name = match known.digest {
            Some(digest) => digest.to_string(),
            None => tag_of(&want)?,
        };
        let (top, bytes) = self.document(&want, &name, known).await?;
        match parse_top(&want, &bytes)? {
            Top::Index(index) => {
                for platform in
                    node.iter().filter(|platform| !entry.platforms.contains_key(platform)).copied().collect::<Vec<_>>()
                {
                    let child = child_of(&want, &index, platform)?;
                    let hint = entry.hints.get(&platform).copied().unwrap_or(Expected::NOTHING);
                    check(format!("{want} for {platform}"), hint, child)?;
                    let (_, bytes) = self.document(&want, &child.digest.to_string(), child.into()).await?;
                    let manifest = parse(&want, &bytes)?;
                    entry.platforms.insert(platform, pin(&want, child, &manifest)?);
                    entry.hints.remove(&platform);
                }
                entry.index = Some(top.into());
            }
            Top::Manifest(manifest) => {
                let pin = pin(&want, top, &manifest)?;
                let made_for = self.made_for(&want, &pin).await?;
                for platform in node {
                    if made_for != format!("{}/{}", platform.os(), platform.architecture()) {
                        let present = vec![made_for];
                        return Err(ResolveError::Platform { reference: want, platform: *platform, present });
                    }
                    let hint = entry.hints.remove(platform).unwrap_or(Expected::NOTHING);
                    check(format!("{want} for {platform}"), hint, top)?;
                    entry.platforms.insert(*platform, pin.clone());
                }
                entry.index = None;
            }
        }
        Ok(entry)
    }

    /// An index or manifest, from the store when it is there.
    async fn document(self, want: &str, name: &str, expected: Expected) -> Result<(Descriptor, Vec<u8>), ResolveError> {
        if let Some(stored) = expected.complete().and_then(|descriptor| self.store.blob(descriptor)) {
            return Ok((stored.descriptor(), stored.read()?));
        }
        let locations = self.client.manifest_locations(want, name)?;
        let bytes = self.client.document(&locations).await?.bytes;
        let found = Descriptor::of(&bytes);
        check(format!("{want} ({name})"), expected, found)?;
        self.store.put(&bytes, self.client.reporter())?;
        Ok((found, bytes))
    }

    /// A single manifest does not say its platform; its config does.
    async fn made_for(self, want: &str, pin: &ImagePin) -> Result<String, ResolveError> {
        let locations = self.client.blob_locations(want, &pin.config.digest.to_string())?;
        let wanted = Wanted { expected: pin.config.into(), label: format!("{want} config") };
        let stored = self.client.blob(self.store, &wanted, &locations).await?;
        let config: ImageConfiguration = parse(want, &stored.read()?)?;
        Ok(format!("{}/{}", config.os(), config.architecture()))
    }
}

fn tag_of(want: &str) -> Result<String, ResolveError> {
    let problem = |problem: &str| ResolveError::Document { name: want.to_owned(), problem: problem.to_owned() };
    let reference: Reference = want.parse().map_err(|_| problem("it is no image reference"))?;
    reference.tag().map(str::to_owned).ok_or_else(|| problem("it has no tag"))
}

fn parse_top(want: &str, bytes: &[u8]) -> Result<Top, ResolveError> {
    let value: Value = parse(want, bytes)?;
    if value["manifests"].is_array() {
        return Ok(Top::Index(Box::new(parse(want, bytes)?)));
    }
    if value["layers"].is_array() {
        return Ok(Top::Manifest(Box::new(parse(want, bytes)?)));
    }
    let problem = match value["schemaVersion"].as_u64() {
        Some(1) => "a manifest of Docker's schema 1, which has no config to prove",
        _ => "neither an index nor a manifest",
    };
    Err(ResolveError::Document { name: want.to_owned(), problem: problem.to_owned() })
}

fn parse<T: serde::de::DeserializeOwned>(want: &str, bytes: &[u8]) -> Result<T, ResolveError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ResolveError::Document { name: want.to_owned(), problem: error.to_string() })
}

fn child_of(want: &str, index: &ImageIndex, platform: Platform) -> Result<Descriptor, ResolveError> {
    let of_platform = |entry: &&oci_spec::image::Descriptor| {
        entry.platform().as_ref().is_some_and(|found| {
            found.os().to_string() == platform.os() && found.architecture().to_string() == platform.architecture()
        })
    };
    match index.manifests().iter().find(of_platform) {
        Some(entry) => ours(want, entry),
        None => Err(ResolveError::Platform { reference: want.to_owned(), platform, present: platforms(index) }),
    }
}

/// What the index offers, for a message. Attestations call themselves `unknown/unknown`.
fn platforms(index: &ImageIndex) -> Vec<String> {
    let named = index.manifests().iter().filter_map(|entry| {
        let platform = entry.platform().as_ref()?;
        let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        Some(format!("{}/{}{variant}", platform.os(), platform.architecture()))
    });
    named.filter(|platform| platform != "unknown/unknown").collect()
}

fn pin(want: &str, manifest: Descriptor, document: &ImageManifest) -> Result<ImagePin, ResolveError> {
    let layers = document.layers().iter().map(|layer| ours(want, layer)).collect::<Result<_, _>>()?;
    Ok(ImagePin { manifest, config: ours(want, document.config())?, layers })
}

fn ours(want: &str, descriptor: &oci_spec::image::Descriptor) -> Result<Descriptor, ResolveError> {
    let digest: Digest = descriptor.digest().to_string().parse().map_err(|error: crate::base::DigestError| {
        ResolveError::Document { name: want.to_owned(), problem: error.to_string() }
    })?;
    Ok(Descriptor { digest, size: descriptor.size() })
}
