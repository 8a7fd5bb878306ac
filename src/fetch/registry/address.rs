//! `oci://HOST/REPOSITORY[:TAG][@DIGEST]`: a lab's place in a registry.

use std::{fmt, str::FromStr};

use url::Url;

use crate::{
    base::{
        Digest,
        reference::{Parts, split_full},
    },
    fetch::{
        FetchError,
        source::{Access, Location, Part, is_loopback_name, part_location},
    },
};

/// TLS, or plain HTTP where the registry is on this machine.
const PREFIX: &str = "oci://";
/// Plain HTTP, which somebody wrote down.
const PLAIN_PREFIX: &str = "oci+http://";

/// Text that names no place in a registry.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{text}` is no place in a registry: {problem}")]
#[diagnostic(
    code(usage::registry),
    help(
        "it looks like oci://registry.school.example/zerotrust:TAG, in lower case; a registry without TLS on another machine is oci+http://10.0.0.5:5000/zerotrust:TAG"
    )
)]
pub struct RegistryAddressError {
    text: String,
    pub(in crate::fetch) problem: String,
}

/// A lab's place in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAddress {
    plain: bool,
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
    base: Url,
}

impl RegistryAddress {
    /// Whether a text means a place in a registry, right or wrong.
    pub fn is_one(text: &str) -> bool {
        text.starts_with(PREFIX) || text.starts_with(PLAIN_PREFIX)
    }

    /// The registry itself: scheme, host and port.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The repository of the lab's own artifact; its images are in repositories below it.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where there is one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What the lab's manifest is asked for by: its digest, else its tag.
    pub fn name(&self) -> Option<String> {
        self.digest.map(|digest| digest.to_string()).or_else(|| self.tag.clone())
    }

    /// The same place under this tag, unless it has one.
    pub fn or_tag(mut self, tag: &str) -> Self {
        self.tag.get_or_insert_with(|| tag.to_owned());
        self
    }

    /// The same place with this digest.
    pub fn pinned(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// The whole name of the repository that holds a part of the lab.
    pub fn repository_of(&self, below: Option<&str>) -> String {
        below.map_or_else(|| self.repository.clone(), |below| format!("{}/{below}", self.repository))
    }

    /// The address of the lab's own manifest, by its digest or its tag.
    ///
    /// # Errors
    /// When it has neither.
    pub fn manifest(&self) -> Result<Location, FetchError> {
        let none =
            || FetchError::Address { text: self.to_string(), problem: "it has neither tag nor digest".to_owned() };
        part_location(&self.base, self.repository.clone(), Part::Manifest(&self.name().ok_or_else(none)?))
    }

    /// The address of a blob in the lab's own repository.
    ///
    /// # Errors
    /// None that its parser lets through.
    pub fn blob(&self, digest: &Digest) -> Result<Location, FetchError> {
        self.part(self.repository.clone(), Part::Blob(&digest.to_string()), Access::Pull)
    }

    pub(in crate::fetch) fn part(
        &self,
        repository: String,
        part: Part<'_>,
        access: Access,
    ) -> Result<Location, FetchError> {
        Ok(Location { access, ..part_location(&self.base, repository, part)? })
    }
}

impl FromStr for RegistryAddress {
    type Err = RegistryAddressError;

    fn from_str(text: &str) -> Result<Self, RegistryAddressError> {
        // Whoever wrote a password into it does not want to read it again.
        let shown =
            text.rsplit_once('@').filter(|(_, rest)| !rest.starts_with("sha256:")).map_or(text, |(_, rest)| rest);
        let error = |problem: &str| RegistryAddressError { text: shown.to_owned(), problem: problem.to_owned() };
        let (plain, rest) = match (text.strip_prefix(PREFIX), text.strip_prefix(PLAIN_PREFIX)) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(error("it does not begin with oci://")),
        };
        let Parts { registry, repository, tag, digest } = split_full(rest).map_err(error)?;
        // Docker Hub's registry answers under another name than its references have (oci-spec, `resolve_registry`).
        let host = if registry == "docker.io" { "index.docker.io" } else { registry };
        let scheme = if plain || is_loopback_name(host) { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/")).map_err(|cause| error(&cause.to_string()))?;
        Ok(Self {
            plain,
            host: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
            base,
        })
    }
}

impl fmt::Display for RegistryAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.plain { PLAIN_PREFIX } else { PREFIX };
        write!(formatter, "{prefix}{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(formatter, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> String {
        text.parse::<RegistryAddress>().unwrap().base().to_string()
    }

    #[test]
    fn the_first_part_is_a_registry_whatever_it_looks_like() {
        let digest = Digest::of(b"lab");
        for text in [
            "oci://registry.school.example/zerotrust",
            "oci://registry/zerotrust:3f2a",
            "oci://localhost:5000/a/b:1",
            "oci+http://10.0.0.5:5000/zerotrust:1",
            &format!("oci://registry.school.example/zerotrust@{digest}"),
            &format!("oci://registry.school.example/zerotrust:1@{digest}"),
        ] {
            assert_eq!(text.parse::<RegistryAddress>().unwrap().to_string(), *text);
        }
        let address: RegistryAddress = "oci://registry/zerotrust:3f2a".parse().unwrap();
        assert_eq!((address.repository(), address.tag()), ("zerotrust", Some("3f2a")));
        assert_eq!(address.repository_of(Some("docker.io/calico/node")), "zerotrust/docker.io/calico/node");
        assert_eq!(
            address.pinned(digest).manifest().unwrap().url.as_str(),
            format!("https://registry/v2/zerotrust/manifests/{digest}")
        );
    }

    #[test]
    fn plain_http_is_for_this_machine_or_written_down() {
        assert_eq!(base("oci://127.0.0.1:5000/a"), "http://127.0.0.1:5000/");
        assert_eq!(base("oci://localhost/a"), "http://localhost/");
        assert_eq!(base("oci://10.0.0.5:5000/a"), "https://10.0.0.5:5000/");
        assert_eq!(base("oci+http://10.0.0.5:5000/a"), "http://10.0.0.5:5000/");
        assert_eq!(base("oci://docker.io/school/lab"), "https://index.docker.io/");
    }

    #[test]
    fn nonsense_is_refused_and_no_password_is_repeated() {
        for text in [
            "registry.school.example/zerotrust",
            "oci://",
            "oci://registry.school.example",
            "oci://registry.school.example/",
            "oci://registry.school.example/Zerotrust",
            "oci://registry.school.example/zerotrust:",
            "oci://registry.school.example/zerotrust@sha256:00",
            "oci://teacher:secret@registry.school.example/zerotrust",
        ] {
            let error = text.parse::<RegistryAddress>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
