//! Images: tag → index → the node platform's manifest → config and layers.
//!
//! Documents are digested and stored as the bytes that came, never re-serialised: a re-written manifest has
//! another digest. Both families of media types are read, OCI's and Docker's.

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};
use serde_json::Value;

use crate::{
    base::{Descriptor, Digest, Expected, Platform, reference::tag_of},
    fetch::Wanted,
    lockfile::{ImageEntry, ImagePin},
};

use super::{ResolveError, Room, age, file::check};

/// Either kind of what a tag may name.
enum Top {
    Index(Box<ImageIndex>),
    Manifest(Box<ImageManifest>),
}

impl Room<'_> {
    pub(super) async fn image(
        self,
        name: &str,
        mut entry: ImageEntry,
        node: &[Platform],
    ) -> Result<ImageEntry, ResolveError> {
        let want = entry.want.clone();
        let before = self.before.and_then(|lock| lock.image.get(name)).filter(|before| before.want == want);
        let known = entry.index.unwrap_or(Expected::NOTHING);
        // A known digest is what was published; the tag may have moved since.
        let asked_for = match known.digest {
            Some(digest) => digest.to_string(),
            None => tag(&want)?,
        };
        let (top, bytes) = self.document(&want, &asked_for, known).await?;
        match parse_top(&want, &bytes)? {
            Top::Index(index) => {
                // The same list has the same images: nothing below it needs to be asked again.
                let same = before.filter(|before| before.index.and_then(|index| index.complete()) == Some(top));
                for platform in
                    node.iter().filter(|platform| !entry.platforms.contains_key(platform)).copied().collect::<Vec<_>>()
                {
                    let hint = entry.hints.remove(&platform).unwrap_or(Expected::NOTHING);
                    let pin = match same.and_then(|before| before.platforms.get(&platform)) {
                        Some(pin) => pin.clone(),
                        None => self.child(&want, &index, platform, hint).await?,
                    };
                    entry.platforms.insert(platform, pin);
                }
                entry.index = Some(top.into());
            }
            Top::Manifest(manifest) => {
                let pin = pin(&want, top, &manifest)?;
                let config = self.config(&want, &pin).await?;
                for platform in node {
                    let variant = config.variant().as_deref();
                    if !fits(*platform, &config.os().to_string(), &config.architecture().to_string(), variant) {
                        let present = vec![told(config.os(), config.architecture(), variant)];
                        return Err(ResolveError::Platform { reference: want, platform: *platform, present });
                    }
                    let hint = entry.hints.remove(platform).unwrap_or(Expected::NOTHING);
                    check(format!("{want} for {platform}"), hint, top)?;
                    entry.platforms.insert(*platform, pin.clone());
                }
                entry.index = None;
            }
        }
        self.judge_image(name, &entry, before).await?;
        Ok(entry)
    }

    /// The image that an index has for a platform.
    async fn child(
        self,
        want: &str,
        index: &ImageIndex,
        platform: Platform,
        hint: Expected,
    ) -> Result<ImagePin, ResolveError> {
        let child = child_of(want, index, platform)?;
        check(format!("{want} for {platform}"), hint, child)?;
        let (_, bytes) = self.document(want, &child.digest.to_string(), child.into()).await?;
        pin(want, child, &parse(want, &bytes)?)
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

    /// An image's config: it says the platform where no index does, and when the image was made.
    async fn config(self, want: &str, pin: &ImagePin) -> Result<ImageConfiguration, ResolveError> {
        let locations = self.client.blob_locations(want, &pin.config.digest.to_string())?;
        let wanted = Wanted { expected: pin.config.into(), label: format!("{want} config") };
        let stored = self.client.blob(self.store, &wanted, &locations).await?;
        parse(want, &stored.read()?)
    }

    /// Refuses an image that was made too recently. What the lock had before is not judged again.
    async fn judge_image(
        self,
        name: &str,
        entry: &ImageEntry,
        before: Option<&ImageEntry>,
    ) -> Result<(), ResolveError> {
        let Some(limit) = self.age else { return Ok(()) };
        for (platform, pin) in &entry.platforms {
            if before.and_then(|before| before.platforms.get(platform)) != Some(pin) {
                let config = self.config(&entry.want, pin).await?;
                let made = age::created(config.created().as_deref());
                limit.judge(&format!("image.{name} {platform}"), made, self.now)?;
            }
        }
        Ok(())
    }
}

fn tag(want: &str) -> Result<String, ResolveError> {
    let problem = || ResolveError::Document { name: want.to_owned(), problem: "it has no tag".to_owned() };
    tag_of(want).map(str::to_owned).ok_or_else(problem)
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
            let (os, architecture) = (found.os().to_string(), found.architecture().to_string());
            fits(platform, &os, &architecture, found.variant().as_deref())
        })
    };
    match index.manifests().iter().find(of_platform) {
        Some(entry) => ours(want, entry),
        None => Err(ResolveError::Platform { reference: want.to_owned(), platform, present: platforms(index) }),
    }
}

/// Whether an image runs on every machine of a platform. A variant narrows an architecture: `arm64/v8` is all of it,
/// `amd64/v3` or `arm64/v9` are newer processors only.
fn fits(platform: Platform, os: &str, architecture: &str, variant: Option<&str>) -> bool {
    let baseline = match platform {
        Platform::LinuxAmd64 => "v1",
        Platform::DarwinArm64 | Platform::LinuxArm64 => "v8",
    };
    os == platform.os()
        && architecture == platform.architecture()
        && variant.is_none_or(|variant| variant.is_empty() || variant == baseline)
}

/// What the index offers, for a message. Attestations call themselves `unknown/unknown`.
fn platforms(index: &ImageIndex) -> Vec<String> {
    let named = index.manifests().iter().filter_map(|entry| {
        let platform = entry.platform().as_ref()?;
        Some(told(platform.os(), platform.architecture(), platform.variant().as_deref()))
    });
    named.filter(|platform| platform != "unknown/unknown").collect()
}

fn told(os: &impl std::fmt::Display, architecture: &impl std::fmt::Display, variant: Option<&str>) -> String {
    let variant = variant.filter(|variant| !variant.is_empty()).map(|variant| format!("/{variant}"));
    format!("{os}/{architecture}{}", variant.unwrap_or_default())
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
