//! Image references in their full form, as containerd writes them: `docker.io/library/nginx:1.30`.

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
    fn a_port_is_not_a_tag() {
        assert_eq!(tag_of("127.0.0.1:5055/app"), None);
        assert_eq!(tag_of("127.0.0.1:5055/app:1@sha256:00"), Some("1"));
    }
}
