//! Image references in their full form, as containerd writes them: `docker.io/library/nginx:1.30`.

use super::Digest;

/// The registry that a reference without one means.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Writes a reference out in full: registry, `library/` for Docker's own images, and a tag where nothing is given.
///
/// dockerd prints `prom/prometheus:v2.41.0` for what manifests call `docker.io/prom/prometheus:v2.41.0`; only the
/// full forms can be compared. A digest stays, and a tag beside a digest too.
pub fn normalize_reference(reference: &str) -> String {
    let (name, digest) = reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    // Docker's rule: the first part is a registry when it could not be a folder of Docker Hub.
    let registry = first.contains(['.', ':']) || first == "localhost";
    let mut full = match (registry, first) {
        (true, "index.docker.io" | DEFAULT_REGISTRY) if !rest.contains('/') => {
            format!("{DEFAULT_REGISTRY}/library/{rest}")
        }
        (true, "index.docker.io") => format!("{DEFAULT_REGISTRY}/{rest}"),
        (true, _) => name.to_owned(),
        (false, "") => format!("{DEFAULT_REGISTRY}/library/{name}"),
        (false, _) => format!("{DEFAULT_REGISTRY}/{name}"),
    };
    match digest {
        Some(digest) => {
            full.push('@');
            full.push_str(digest);
        }
        None if tag_of(&full).is_none() => full.push_str(":latest"),
        None => {}
    }
    full
}

/// The tag of a reference, if it has one; a port of the registry is not a tag.
pub fn tag_of(reference: &str) -> Option<&str> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map(|(_, tag)| tag)
}

/// Registry and repository of a reference.
///
/// The grammar is that of the distribution specification (OCI distribution-spec v1.1, "Pulling manifests"),
/// read by hand: compiling `oci-spec`'s regular expression for it takes 17 MB, more than all the rest of a fetch.
///
/// # Errors
/// What is wrong with the text, for people.
pub fn split_reference(reference: &str) -> Result<(String, String), &'static str> {
    let full = normalize_reference(reference);
    let Parts { registry, repository, .. } = split_full(&full)?;
    Ok((registry.to_owned(), repository.to_owned()))
}

/// A reference taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'text> {
    /// The host, and perhaps its port.
    pub registry: &'text str,
    /// The repository's whole name.
    pub repository: &'text str,
    /// The tag, where there is one.
    pub tag: Option<&'text str>,
    /// The digest, where there is one.
    pub digest: Option<Digest>,
}

/// Takes a reference apart whose first part is a registry in any case, whatever it looks like.
///
/// # Errors
/// What is wrong with the text, for people.
pub fn split_full(full: &str) -> Result<Parts<'_>, &'static str> {
    let (name, digest) = full.split_once('@').map_or((full, None), |(name, digest)| (name, Some(digest)));
    let digest = digest.map(|digest| digest.parse::<Digest>().map_err(|_| "its digest is none")).transpose()?;
    let tag = tag_of(name);
    if !tag.is_none_or(is_tag) {
        return Err("its tag has letters that no tag has");
    }
    let name = tag.map_or(name, |tag| &name[..name.len() - tag.len() - 1]);
    let (registry, repository) = name.split_once('/').ok_or("it names no repository")?;
    if !is_host(registry) {
        return Err("its registry is no host");
    }
    if repository.len() > 255 || !repository.split('/').all(is_component) {
        return Err("its repository is not in lower case, or has letters that no repository has");
    }
    Ok(Parts { registry, repository, tag, digest })
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    (1..=128).contains(&tag.len())
        && tag.starts_with(word)
        && tag.chars().all(|letter| word(letter) || matches!(letter, '.' | '-'))
}

/// A name or an IPv4 address, and perhaps a port.
fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let digits = |port: &str| !port.is_empty() && port.chars().all(|letter| letter.is_ascii_digit());
    let plain = |letter: char| letter.is_ascii_alphanumeric();
    let is_label = |label: &str| {
        label.starts_with(plain) && label.ends_with(plain) && label.chars().all(|letter| plain(letter) || letter == '-')
    };
    port.is_none_or(digits) && host.split('.').all(is_label)
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.chars().all(|letter| letter == '-');
    text.starts_with(plain) && text.ends_with(plain) && text.split(plain).all(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_one_image_becomes_one_reference() {
        for (given, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.30", "docker.io/library/nginx:1.30"),
            ("docker.io/nginx:1.30", "docker.io/library/nginx:1.30"),
            ("index.docker.io/library/nginx:1.30", "docker.io/library/nginx:1.30"),
            ("prom/prometheus:v2.41.0", "docker.io/prom/prometheus:v2.41.0"),
            ("docker.io/prom/prometheus:v2.41.0", "docker.io/prom/prometheus:v2.41.0"),
            ("quay.io/kiali/kiali:v1.76", "quay.io/kiali/kiali:v1.76"),
            ("localhost/app:1", "localhost/app:1"),
            ("127.0.0.1:5055/app", "127.0.0.1:5055/app:latest"),
            ("nginx@sha256:00", "docker.io/library/nginx@sha256:00"),
            ("nginx:1@sha256:00", "docker.io/library/nginx:1@sha256:00"),
        ] {
            assert_eq!(normalize_reference(given), full, "{given}");
            assert_eq!(normalize_reference(full), full, "{full} is full already");
        }
    }

    #[test]
    fn registry_and_repository_are_what_the_specification_says() {
        let digest = Digest::of(b"index");
        for text in [
            "nginx",
            "nginx:1.30",
            "calico/node:v3.27.0",
            "quay.io/kiali/kiali:v1.76",
            "127.0.0.1:5055/a/b_c/d-e.f",
            "localhost/app:1",
            "index.docker.io/library/nginx:1.30",
            &format!("registry.k8s.io/pause:3.9@{digest}"),
            "Nginx",
            "docker.io/calico/Node:v1",
            "a//b:1",
            "nginx:",
            "nginx:a b",
            "nginx@sha256:00",
            "quay.io/:v1",
            "../secret",
            "a.b./c:1",
            "a.b:/c",
            "[::1]:5000/a:1",
            "quay.io/a..b",
            "quay.io/a.-b",
            "quay.io/a__b--c",
            "quay.io/a___b",
            "",
        ] {
            let theirs = text.parse::<oci_spec::distribution::Reference>().ok();
            let theirs = theirs.map(|found| (found.registry().to_owned(), found.repository().to_owned()));
            assert_eq!(split_reference(text).ok(), theirs, "{text:?}");
        }
    }

    #[test]
    fn a_port_is_not_a_tag() {
        assert_eq!(tag_of("127.0.0.1:5055/app"), None);
        assert_eq!(tag_of("127.0.0.1:5055/app:1@sha256:00"), Some("1"));
    }
}
