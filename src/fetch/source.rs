//! From upstream's names to addresses. The lock holds the real names; where the bytes really come from never
//! matters, because the digest decides.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use oci_spec::distribution::Reference;
use url::Url;

use super::FetchError;

/// Media types of what a registry calls a manifest, both families, lists first.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// `FROM=TO` that makes no sense.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{text}` is no mirror: {problem}")]
#[diagnostic(
    code(usage::mirror),
    help(
        "FROM is a registry host or an address's beginning, TO an address: `--mirror docker.io=http://10.0.0.5:5000/docker.io`"
    )
)]
pub struct MirrorError {
    text: String,
    problem: String,
}

/// Another place for everything below `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    from: String,
    to: Url,
}

impl Mirror {
    /// Makes a mirror of its two halves.
    ///
    /// # Errors
    /// When TO is no http or https address, or FROM is empty.
    pub fn new(from: &str, to: &str) -> Result<Self, MirrorError> {
        let error = |problem: &str| MirrorError { text: format!("{from}={to}"), problem: problem.to_owned() };
        let to = Url::parse(to).map_err(|cause| error(&format!("`{to}` is no address ({cause})")))?;
        if !matches!(to.scheme(), "http" | "https") || to.host().is_none() {
            return Err(error("TO must begin with http:// or https://"));
        }
        if from.is_empty() || from.contains(char::is_whitespace) {
            return Err(error("FROM is empty"));
        }
        Ok(Self { from: from.trim_end_matches('/').to_owned(), to })
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let none = || MirrorError { text: text.to_owned(), problem: "there is no `=` in it".to_owned() };
        let (from, to) = text.split_once('=').ok_or_else(none)?;
        Self::new(from, to)
    }
}

/// All mirrors, in the order given. Where one matches, upstream is not asked: a class without internet
/// would wait for a time-out on every blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    list: Vec<Mirror>,
    /// Places that were named for themselves, as in `--from http://…`.
    named: Vec<Url>,
}

/// One address and how to ask it.
#[derive(Debug, Clone)]
pub struct Location {
    /// The address.
    pub url: Url,
    /// What to accept.
    pub(super) accept: Option<&'static str>,
    /// For registries: for whose repository to ask for a token.
    pub(super) scope: Option<Reference>,
    /// What such a token has to allow.
    pub(super) access: Access,
    /// A laptop of the room: plain HTTP is what `--share` means, and it sends nobody elsewhere.
    pub(super) is_peer: bool,
}

/// What is wanted of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) enum Access {
    /// To read.
    #[default]
    Pull,
    /// To read and write; and to read `from`, whose blobs are to be mounted.
    Push {
        /// Another repository of the same registry.
        from: Option<String>,
    },
}

impl Location {
    /// The address without its secrets.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// An address that is asked as it stands.
    pub(super) fn plain(url: Url) -> Self {
        Self { url, accept: None, scope: None, access: Access::Pull, is_peer: false }
    }

    /// A laptop of the room.
    pub(super) fn peer(address: SocketAddr, path: &str) -> Result<Self, FetchError> {
        let url = parse(&format!("http://{address}{path}"))?;
        Ok(Self { is_peer: true, ..Self::plain(url) })
    }

    /// Whether asking here for a manifest counts as a pull from Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.url.scheme() == "https" && matches!(self.url.host_str(), Some("index.docker.io" | "registry-1.docker.io"))
    }

    /// The same address, asking for this media type.
    pub fn accepting(mut self, accept: &'static str) -> Self {
        self.accept = Some(accept);
        self
    }
}

/// An address without password and query: signed links carry secrets in it.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have them.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

/// What of a registry's repository is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    /// Where an upload begins.
    Uploads,
}

impl Mirrors {
    /// Takes mirrors in order.
    pub fn new(mirrors: Vec<Mirror>) -> Self {
        Self { list: mirrors, named: Vec::new() }
    }

    /// Takes note of a place that somebody named: plain HTTP to it is their decision.
    pub fn name(&mut self, place: Url) {
        self.named.push(place);
    }

    /// The addresses of a file, to be tried in turn.
    pub(super) fn file(&self, text: &str) -> Result<Vec<Location>, FetchError> {
        let mut locations = Vec::new();
        for mirror in &self.list {
            if let Some(rest) = below(text, &mirror.from) {
                let address = format!("{}{rest}", mirror.to.as_str().trim_end_matches('/'));
                locations.push(file_location(&address)?);
            }
        }
        if locations.is_empty() {
            locations.push(file_location(text)?);
        }
        Ok(locations)
    }

    /// The addresses of a part of a repository, to be tried in turn.
    pub(super) fn registry(&self, reference: &Reference, part: Part<'_>) -> Result<Vec<Location>, FetchError> {
        let mut locations = Vec::new();
        for mirror in self.list.iter().filter(|mirror| names_registry(&mirror.from, reference)) {
            locations.push(registry_location(&mirror.to, reference, part)?);
        }
        if locations.is_empty() {
            let host = reference.resolve_registry();
            let scheme = if is_loopback_name(host) { "http" } else { "https" };
            let base = parse(&format!("{scheme}://{host}"))?;
            locations.push(registry_location(&base, reference, part)?);
        }
        Ok(locations)
    }

    /// Whether plain HTTP to this address is somebody's decision, or stays on this machine.
    pub(super) fn allows_plain_http(&self, url: &Url) -> bool {
        let mut named = self.list.iter().map(|mirror| &mirror.to).chain(&self.named);
        let same_place = |named: &Url| {
            named.scheme() == "http"
                && named.host() == url.host()
                && named.port_or_known_default() == url.port_or_known_default()
        };
        is_loopback(url) || named.any(same_place)
    }
}

/// Takes an address as it stands.
///
/// # Errors
/// When it is none.
pub(super) fn file_location(text: &str) -> Result<Location, FetchError> {
    Ok(Location::plain(parse(text)?))
}

/// A part of a repository below `base`, whose path becomes a prefix of the repository's name.
pub(super) fn registry_location(base: &Url, reference: &Reference, part: Part<'_>) -> Result<Location, FetchError> {
    let prefix = base.path().trim_matches('/');
    let repository = match prefix {
        "" => reference.repository().to_owned(),
        prefix => format!("{prefix}/{}", reference.repository()),
    };
    part_location(base, repository, part)
}

/// A part of the repository of this whole name at the registry of `base`, whose own path takes no part in it.
pub(super) fn part_location(base: &Url, repository: String, part: Part<'_>) -> Result<Location, FetchError> {
    let (kind, name, accept) = match part {
        Part::Manifest(name) => ("manifests", name, Some(MANIFEST_TYPES)),
        Part::Blob(name) => ("blobs", name, None),
        Part::Uploads => ("blobs/uploads", "", None),
    };
    let mut url = base.clone();
    url.set_path(&format!("/v2/{repository}/{kind}/{name}"));
    let host = match (base.host_str(), base.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err(FetchError::Address { text: base.to_string(), problem: "it has no host".to_owned() }),
    };
    let scope = Reference::with_tag(host, repository, "latest".to_owned());
    Ok(Location { url, accept, scope: Some(scope), access: Access::Pull, is_peer: false })
}

/// What follows `prefix`, when the text is below it: `https://a.b` is not below `https://a`.
fn below<'text>(text: &'text str, prefix: &str) -> Option<&'text str> {
    text.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// Docker Hub has three names; a mirror of any is a mirror of it.
fn names_registry(from: &str, reference: &Reference) -> bool {
    let canonical = |host: &str| match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    };
    let host = from.strip_prefix("https://").or_else(|| from.strip_prefix("http://")).unwrap_or(from);
    canonical(host) == canonical(reference.registry())
}

fn parse(text: &str) -> Result<Url, FetchError> {
    let problem = |problem: String| FetchError::Address { text: text.to_owned(), problem };
    let url = Url::parse(text).map_err(|error| problem(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(problem(format!("`{scheme}` is not fetched from, only https"))),
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

pub(super) fn is_loopback_name(host_and_port: &str) -> bool {
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host);
    is_loopback_host(host)
}

fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(texts: &[&str]) -> Mirrors {
        Mirrors::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn manifest(mirrors: &Mirrors, reference: &str) -> Vec<String> {
        let reference: Reference = reference.parse().unwrap();
        let tag = reference.tag().unwrap_or_default().to_owned();
        let locations = mirrors.registry(&reference, Part::Manifest(&tag)).unwrap();
        locations.iter().map(|location| location.url.to_string()).collect()
    }

    #[test]
    fn registries_are_rewritten_by_host_with_a_path_prefix() {
        let rig = mirrors(&["docker.io=http://127.0.0.1:5055/docker.io"]);
        for (mirrors, reference, expected) in [
            (&rig, "docker.io/calico/node:v3.27.0", "http://127.0.0.1:5055/v2/docker.io/calico/node/manifests/v3.27.0"),
            (&rig, "docker.io/library/nginx:1", "http://127.0.0.1:5055/v2/docker.io/library/nginx/manifests/1"),
            (&rig, "quay.io/kiali/kiali:v1.76", "https://quay.io/v2/kiali/kiali/manifests/v1.76"),
            (&Mirrors::default(), "docker.io/calico/node:v1", "https://index.docker.io/v2/calico/node/manifests/v1"),
            (&Mirrors::default(), "localhost:5000/a:1", "http://localhost:5000/v2/a/manifests/1"),
            (
                &mirrors(&["registry-1.docker.io=https://hub.school.example"]),
                "docker.io/calico/node:v1",
                "https://hub.school.example/v2/calico/node/manifests/v1",
            ),
        ] {
            assert_eq!(manifest(mirrors, reference), [expected]);
        }
    }

    #[test]
    fn files_are_rewritten_by_prefix_and_only_at_a_boundary() {
        let mirrors =
            mirrors(&["https://github.com=http://127.0.0.1:5056/github.com", "https://github.com=https://b.example/"]);
        let addresses = |text: &str| -> Vec<String> {
            mirrors.file(text).unwrap().iter().map(|location| location.url.to_string()).collect()
        };
        assert_eq!(
            addresses("https://github.com/istio/a.tar.gz"),
            ["http://127.0.0.1:5056/github.com/istio/a.tar.gz", "https://b.example/istio/a.tar.gz"]
        );
        assert_eq!(addresses("https://github.community/a"), ["https://github.community/a"]);
    }

    #[test]
    fn plain_http_stays_on_the_machine_or_is_asked_for() {
        let mirrors = mirrors(&["docker.io=http://10.0.0.5:5000/docker.io"]);
        for (address, allowed) in [
            ("http://127.0.0.1:1/a", true),
            ("http://[::1]:1/a", true),
            ("http://localhost/a", true),
            ("http://10.0.0.5:5000/v2/", true),
            ("http://10.0.0.5:5001/v2/", false),
            ("http://example.org/a", false),
        ] {
            assert_eq!(mirrors.allows_plain_http(&address.parse().unwrap()), allowed, "{address}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["docker.io", "docker.io=", "=http://a", "docker.io=ftp://a/b", "docker.io=a.example"] {
            assert!(text.parse::<Mirror>().is_err(), "{text}");
        }
        assert!(matches!(Mirrors::default().file("ftp://a/b").unwrap_err(), FetchError::Address { .. }));
    }

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        let url = "https://user:word@cdn.example/blob?signature=secret".parse().unwrap();
        assert_eq!(shown(&url), "https://cdn.example/blob");
    }
}
