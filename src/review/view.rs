//! An entry as a reviewer sees it: what was asked for, from where it comes, which bytes it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use url::Url;

use crate::{
    base::{Expected, Platform, normalize_reference, reference::tag_of},
    lockfile::{self, ImagePin, Lock},
};

/// The sections of a lock that hold blocks, in the lock's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A program.
    Tool,
    /// A file or archive.
    File,
    /// YAML of others.
    Manifest,
    /// A container image.
    Image,
    /// A Python package.
    Wheel,
    /// An image that ztlab builds.
    App,
    /// The lab with less: no artifact, but a block of the lock.
    Profile,
}

impl Kind {
    /// The section's name in the lock.
    pub fn section(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::File => "file",
            Self::Manifest => "manifest",
            Self::Image => "image",
            Self::Wheel => "wheel",
            Self::App => "app",
            Self::Profile => "profile",
        }
    }
}

/// An entry's place in the lock: its section and its name there.
pub(super) type Key = (Kind, String);

/// `image.calico-node`
pub(super) fn artifact((kind, name): &Key) -> String {
    format!("{}.{name}", kind.section())
}

/// One entry, flat.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The whole request, as the check compares it.
    pub(super) want: String,
    /// The address or reference in the request; a wheel has its requirement.
    pub(super) address: String,
    /// The block in the lock: two entries are the same when this is.
    pub(super) text: String,
    /// Every place that bytes come from: of each platform where it has addresses of its own, else the request's.
    pub(super) hosts: BTreeSet<String>,
    /// What has a digest: index, manifest and config of an image, a file, a member, an app's source. Layers follow
    /// from their manifest.
    pub(super) parts: Vec<(String, Expected)>,
    /// Bytes for each platform or file, where all of them are known.
    pub(super) weights: Vec<(String, u64)>,
    /// Platforms that have all their digests.
    pub(super) pinned: BTreeSet<Platform>,
    /// Members of an archive.
    pub(super) members: BTreeSet<String>,
    /// What is still pending.
    pub(super) pending: Vec<String>,
}

impl View {
    /// Bytes of the entry over its platforms, as far as they are known. Members of an archive are in it already.
    pub(super) fn size(&self) -> Option<u64> {
        let outer = self.weights.iter().filter(|(part, _)| !part.starts_with("member "));
        let sizes: Vec<u64> = outer.map(|(_, size)| *size).collect();
        (!sizes.is_empty()).then(|| sizes.iter().sum())
    }

    fn new(address: &str) -> Self {
        Self {
            want: String::new(),
            address: address.to_owned(),
            text: String::new(),
            hosts: BTreeSet::new(),
            parts: Vec::new(),
            weights: Vec::new(),
            pinned: BTreeSet::new(),
            members: BTreeSet::new(),
            pending: Vec::new(),
        }
    }

    fn part(&mut self, name: impl Into<String>, expected: Expected) {
        self.parts.push((name.into(), expected));
    }

    fn download(&mut self, name: &str, expected: Expected) {
        self.part(name, expected);
        self.weights.extend(expected.size.map(|size| (name.to_owned(), size)));
    }

    fn images(&mut self, platforms: &BTreeMap<Platform, ImagePin>) {
        for (platform, pin) in platforms {
            self.part(format!("{platform} manifest"), pin.manifest.into());
            self.part(format!("{platform} config"), pin.config.into());
            self.weights.push((platform.to_string(), pin.blobs().map(|blob| blob.size).sum()));
            self.pinned.insert(*platform);
        }
    }
}

/// Every entry of a lock, in the lock's order.
pub(super) fn views(lock: &Lock) -> BTreeMap<Key, View> {
    let (mut wants, mut pending) = (lockfile::wants(lock), BTreeMap::from_iter(lock.pending()));
    let mut views = bare_views(lock);
    for (key, view) in &mut views {
        let name = artifact(key);
        view.want = wants.remove(&name).unwrap_or_default();
        view.pending = pending.remove(&name).unwrap_or_default();
        view.text = block(lock, key).unwrap_or_default();
    }
    views
}

fn bare_views(lock: &Lock) -> BTreeMap<Key, View> {
    let mut views = BTreeMap::new();
    for (name, entry) in &lock.tool {
        let mut view = View::new(&entry.want);
        for (platform, pin) in &entry.platforms {
            view.hosts.insert(host_of_address(&pin.url));
            view.download(&platform.to_string(), pin.expected());
            if let Some(program) = pin.program {
                view.part(format!("{platform} program"), program);
            }
            view.pinned.extend(pin.digest.map(|_| *platform));
        }
        view.members.extend(entry.member.clone());
        views.insert((Kind::Tool, name.clone()), view);
    }
    for (name, entry) in &lock.file {
        let mut view = View::new(&entry.want);
        view.hosts.insert(host_of_address(&entry.want));
        view.download("file", entry.expected());
        for (member, pin) in &entry.member {
            view.download(&format!("member {member}"), pin.expected());
            view.members.insert(member.clone());
        }
        views.insert((Kind::File, name.clone()), view);
    }
    for (name, entry) in &lock.manifest {
        let mut view = View::new(&entry.want);
        view.hosts.insert(host_of_address(&entry.want));
        view.download("file", entry.expected());
        views.insert((Kind::Manifest, name.clone()), view);
    }
    for (name, entry) in &lock.image {
        let mut view = View::new(&entry.want);
        view.hosts.insert(registry_of(&entry.want));
        if let Some(index) = entry.index {
            view.part("index", index);
        }
        for (platform, hint) in &entry.hints {
            view.part(format!("{platform} manifest"), *hint);
        }
        view.images(&entry.platforms);
        views.insert((Kind::Image, name.clone()), view);
    }
    for (name, entry) in &lock.wheel {
        let mut view = View::new(&entry.want);
        for (platform, download) in &entry.platforms {
            view.hosts.extend(download.url.as_deref().map(host_of_address));
            view.download(&platform.to_string(), download.expected());
            view.pinned.extend(download.digest.map(|_| *platform));
        }
        views.insert((Kind::Wheel, name.clone()), view);
    }
    for (name, entry) in &lock.app {
        let mut view = View::new(&entry.request.reference);
        if let Some(source) = entry.source {
            view.part("source", Expected { digest: Some(source), size: None });
        }
        view.images(&entry.platforms);
        views.insert((Kind::App, name.clone()), view);
    }
    views
}

/// One entry's block of the canonical text, without the blank line before it.
pub(super) fn block(lock: &Lock, (kind, name): &Key) -> Option<String> {
    let mut alone = Lock { host: lock.host.clone(), node: lock.node.clone(), ..Lock::default() };
    fn pick<T: Clone>(from: &BTreeMap<String, T>, to: &mut BTreeMap<String, T>, name: &str) -> Option<()> {
        to.insert(name.to_owned(), from.get(name)?.clone());
        Some(())
    }
    match kind {
        Kind::Tool => pick(&lock.tool, &mut alone.tool, name)?,
        Kind::File => pick(&lock.file, &mut alone.file, name)?,
        Kind::Manifest => pick(&lock.manifest, &mut alone.manifest, name)?,
        Kind::Image => pick(&lock.image, &mut alone.image, name)?,
        Kind::Wheel => pick(&lock.wheel, &mut alone.wheel, name)?,
        Kind::App => pick(&lock.app, &mut alone.app, name)?,
        Kind::Profile => pick(&lock.profile, &mut alone.profile, name)?,
    }
    let text = lockfile::write(&alone);
    Some(text.split_once("\n\n")?.1.to_owned())
}

/// Who serves an address: its host, with the port where it is not the scheme's, and the scheme where it is not https.
/// Text that is no address stands for itself: it must not pass for the same host as something else.
pub(super) fn host_of_address(address: &str) -> String {
    let Ok(url) = Url::parse(address) else { return address.to_owned() };
    let Some(host) = url.host_str() else { return address.to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    match url.scheme() {
        "https" => format!("{host}{port}"),
        other => format!("{other}://{host}{port}"),
    }
}

fn registry_of(reference: &str) -> String {
    let full = normalize_reference(reference);
    full.split_once('/').map_or(full.clone(), |(registry, _)| registry.to_owned())
}

/// What moved between two requests of one entry, in as few words as tell it: tags, versions, or the part of an
/// address that differs; both in full where more than that differs.
pub(super) fn moved(kind: Kind, was: &str, now: &str) -> (String, String) {
    let short = match kind {
        Kind::Image | Kind::App => tags(was, now),
        Kind::Wheel => requirements(was, now),
        Kind::Tool | Kind::File | Kind::Manifest => differing_segment(was, now),
        Kind::Profile => None,
    };
    short.unwrap_or_else(|| (was.to_owned(), now.to_owned()))
}

fn tags(was: &str, now: &str) -> Option<(String, String)> {
    let name = |reference: &str, tag: &str| reference.strip_suffix(&format!(":{tag}")).map(str::to_owned);
    let (old, new) = (tag_of(was)?, tag_of(now)?);
    (name(was, old)? == name(now, new)? && old != new).then(|| (old.to_owned(), new.to_owned()))
}

fn requirements(was: &str, now: &str) -> Option<(String, String)> {
    let ((old_name, old), (new_name, new)) = (was.split_once("==")?, now.split_once("==")?);
    let python = |text: &str| text.split_once(' ').map(|(_, python)| python.to_owned());
    let shown = |text: &str| match python(old) == python(new) {
        true => text.split(' ').next().unwrap_or(text).to_owned(),
        false => text.to_owned(),
    };
    (old_name == new_name && old != new).then(|| (shown(old), shown(new)))
}

/// The first part between slashes that differs: `v1.28.3` and `v1.28.4`. A version often stands in the file's name
/// once more; an address that differs in any other way is told in full.
fn differing_segment(was: &str, now: &str) -> Option<(String, String)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (was.split('/').collect(), now.split('/').collect());
    if old.len() != new.len() || other_place(was, now) {
        return None;
    }
    let (old, new) = old.iter().zip(&new).find(|(old, new)| old != new)?;
    Some(((*old).to_owned(), (*new).to_owned()))
}

/// Whether two addresses differ in more than versions: another project, another file. A part between slashes may
/// differ when it holds a digit on both sides, as every version does and no project's name should.
pub(super) fn other_place(was: &str, now: &str) -> bool {
    let (old, new): (Vec<&str>, Vec<&str>) = (was.split('/').collect(), now.split('/').collect());
    let digit = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    old.len() != new.len() || old.iter().zip(&new).any(|(old, new)| old != new && !(digit(old) && digit(new)))
}

/// The name of an image without its tag.
pub(super) fn repository(reference: &str) -> String {
    let full = normalize_reference(reference);
    let tag = tag_of(&full).map(|tag| format!(":{tag}")).unwrap_or_default();
    full.strip_suffix(&tag).unwrap_or(&full).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_with_what_could_hide_another() {
        for (address, host) in [
            ("https://dl.k8s.io/release/v1.28.3/bin/{os}/{arch}/kubectl", "dl.k8s.io"),
            ("https://github.com@evil.example/istio", "evil.example"),
            ("https://GITHUB.com:443/istio", "github.com"),
            ("https://github.com:8443/istio", "github.com:8443"),
            ("http://github.com/istio", "http://github.com"),
            ("no address", "no address"),
        ] {
            assert_eq!(host_of_address(address), host, "{address}");
        }
        assert_eq!(registry_of("nginx:1"), "docker.io");
        assert_eq!(registry_of("quay.io:5000/kiali/kiali:v1"), "quay.io:5000");
    }

    #[test]
    fn what_moved_is_told_in_few_words_only_where_they_tell_all() {
        for (kind, was, now, told) in [
            (Kind::Image, "docker.io/calico/node:v3.27.0", "docker.io/calico/node:v3.28.0", ("v3.27.0", "v3.28.0")),
            (Kind::Image, "docker.io/a/b:1", "docker.io/c/b:2", ("docker.io/a/b:1", "docker.io/c/b:2")),
            (Kind::Wheel, "flask==3.1.2 python 3.12", "flask==3.1.3 python 3.12", ("3.1.2", "3.1.3")),
            (
                Kind::Wheel,
                "flask==3.1.2 python 3.12",
                "flask==3.1.2 python 3.13",
                ("3.1.2 python 3.12", "3.1.2 python 3.13"),
            ),
            (Kind::Tool, "https://a.b/v1.28.3/kubectl", "https://a.b/v1.28.4/kubectl", ("v1.28.3", "v1.28.4")),
            (
                Kind::File,
                "https://a.b/istio/1.20.0/istio-1.20.0.tgz",
                "https://a.b/istio/1.21.0/istio-1.21.0.tgz",
                ("1.20.0", "1.21.0"),
            ),
            (
                Kind::File,
                "https://a.b/istio/1.20.0",
                "https://a.b/ist1o/1.21.0",
                ("https://a.b/istio/1.20.0", "https://a.b/ist1o/1.21.0"),
            ),
        ] {
            assert_eq!(moved(kind, was, now), (told.0.to_owned(), told.1.to_owned()));
        }
    }
}
