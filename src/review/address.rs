//! Every address that a lock names.

use url::Url;

use crate::{
    base::normalize_reference,
    intent::for_platform,
    lockfile::{Lock, Origin},
};

/// Something that bytes come from.
pub(super) struct Address {
    pub(super) entry: String,
    pub(super) text: String,
    /// Scheme and host; `None` for text that is no address.
    pub(super) parts: Option<(String, String)>,
}

impl Address {
    fn file(entry: &str, text: &str) -> Self {
        let parts = Url::parse(text).ok().and_then(|url| {
            let host = url.host_str()?;
            let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            Some((url.scheme().to_owned(), host))
        });
        Self { entry: entry.to_owned(), text: text.to_owned(), parts }
    }

    /// Registries speak https, but for those on this machine (`src/fetch/source.rs` has the same rule).
    fn image(entry: &str, reference: &str) -> Self {
        let full = normalize_reference(reference);
        let registry = full.split('/').next().unwrap_or_default().to_owned();
        let name = registry.split(':').next().unwrap_or_default();
        let scheme = if name == "localhost" || name.starts_with("127.") { "http" } else { "https" };
        Self { entry: entry.to_owned(), text: reference.to_owned(), parts: Some((scheme.to_owned(), registry)) }
    }
}

/// Every address of the lock, once for each entry: what is asked for, and what that resolved to.
pub(super) fn addresses(lock: &Lock) -> Vec<Address> {
    let mut found: Vec<Address> = Vec::new();
    let mut add = |address: Address| {
        if !found.iter().any(|old| old.entry == address.entry && old.text == address.text) {
            found.push(address);
        }
    };
    for (name, entry) in &lock.tool {
        let name = format!("tool.{name}");
        for platform in lock.platforms(entry.side) {
            add(Address::file(&name, &for_platform(&entry.want, *platform)));
        }
        for platform in lock.platforms(entry.side) {
            let checksum = entry.checksum.iter();
            checksum.for_each(|checksum| add(Address::file(&name, &for_platform(checksum, *platform))));
        }
        for pin in entry.platforms.values() {
            [Some(&pin.url), pin.checked.as_ref()].into_iter().flatten().for_each(|url| add(Address::file(&name, url)));
        }
    }
    for (name, entry) in &lock.file {
        let all = [Some(&entry.want), entry.checksum.as_ref(), entry.checked.as_ref()];
        all.into_iter().flatten().for_each(|url| add(Address::file(&format!("file.{name}"), url)));
    }
    for (name, entry) in &lock.manifest {
        let all = [Some(&entry.want), entry.checksum.as_ref(), entry.checked.as_ref()];
        all.into_iter().flatten().for_each(|url| add(Address::file(&format!("manifest.{name}"), url)));
    }
    lock.image.iter().for_each(|(name, entry)| add(Address::image(&format!("image.{name}"), &entry.want)));
    // Whatever the blobs come from besides: wheels have their address only there.
    for artifact in lock.artifacts() {
        for blob in artifact.blobs {
            if let Origin::Url(url) = blob.origin {
                add(Address::file(&artifact.name, &url));
            }
        }
    }
    for (name, entry) in &lock.wheel {
        let urls = entry.platforms.values().filter_map(|download| download.url.as_deref());
        urls.for_each(|url| add(Address::file(&format!("wheel.{name}"), url)));
    }
    found
}
