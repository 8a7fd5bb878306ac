//! What a team allows its lock to name: `lock/policy.toml`. Pure: text in, value out.
//!
//! ```toml
//! schema = 1
//! https-only = true                 # no plain http anywhere
//! digest = ["sha256"]               # algorithms that may pin bytes
//! forbid-tag = ["latest"]           # tags that no image may have; none at all means "latest"
//! forbid-pull-policy = ["Always"]   # what no container may say (or get by default)
//! min-age = "7d"                    # how long upstream must have had it: 36h, 7d, 2w
//! unknown-age = "allow"             # or "refuse": what offline nobody can date
//!
//! [signature]                       # who vouches for the lock: see `signature`
//! required = false
//! key.anna = "RWQ…"
//!
//! [host]                            # who may be asked, by kind; `*.example.org` allows every name below it
//! tool = ["github.com", "dl.k8s.io"]
//! file = ["github.com"]
//! manifest = ["raw.githubusercontent.com"]
//! image = ["docker.io", "quay.io"]
//! wheel = ["files.pythonhosted.org"]
//! ```
//!
//! What is not said is strict: a kind without hosts has none, `https-only` is true, the two `forbid` lists and
//! `digest` are as above. Without `min-age` no age is asked for.

use miette::{NamedSource, SourceSpan};
use serde::{Deserialize, Serialize};

use super::signature::Signing;
use crate::base::MinimumAge;

/// The schema that this version of ztlab reads.
pub const SCHEMA: u32 = 1;

/// The parsed `lock/policy.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// Whether plain http is forbidden.
    #[serde(default = "yes")]
    pub https_only: bool,
    /// Digest algorithms that may pin bytes.
    #[serde(default = "sha256")]
    pub digest: Vec<Algorithm>,
    /// Tags that no image may have.
    #[serde(default = "latest")]
    pub forbid_tag: Vec<String>,
    /// Pull policies that no container may have.
    #[serde(default = "always")]
    pub forbid_pull_policy: Vec<PullPolicy>,
    /// How long upstream must have had what is locked.
    #[serde(default)]
    pub min_age: Option<MinimumAge>,
    /// What to make of entries whose age nobody can tell offline.
    #[serde(default)]
    pub unknown_age: UnknownAge,
    /// Who may be asked.
    #[serde(default)]
    pub host: Hosts,
    /// Whose signature of the lock counts.
    #[serde(default)]
    pub signature: Signing,
}

/// Hosts by the kind of entry. An app has none: nobody publishes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    /// Of `[tool.*]`.
    #[serde(default)]
    pub tool: Vec<String>,
    /// Of `[file.*]`.
    #[serde(default)]
    pub file: Vec<String>,
    /// Of `[manifest.*]`.
    #[serde(default)]
    pub manifest: Vec<String>,
    /// Registries of `[image.*]`.
    #[serde(default)]
    pub image: Vec<String>,
    /// Of `[wheel.*]`.
    #[serde(default)]
    pub wheel: Vec<String>,
}

/// A digest algorithm that the OCI image specification registers (v1.1, descriptor.md, "Registered algorithms").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// The one that ztlab's locks have.
    Sha256,
    /// Registered, and so far in no lock.
    Sha512,
}

/// Kubernetes' pull policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Asks a registry at every start.
    Always,
    /// Asks when the node lacks the image.
    IfNotPresent,
    /// Never asks.
    Never,
}

/// What to make of an entry whose age nobody can tell offline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownAge {
    /// Say so, and go on.
    #[default]
    Allow,
    /// A finding.
    Refuse,
}

fn yes() -> bool {
    true
}

fn sha256() -> Vec<Algorithm> {
    vec![Algorithm::Sha256]
}

fn latest() -> Vec<String> {
    vec!["latest".to_owned()]
}

fn always() -> Vec<PullPolicy> {
    vec![PullPolicy::Always]
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PolicyError {
    /// There is none.
    #[error("this lab has no policy ({path} does not exist)")]
    #[diagnostic(
        code(policy::absent),
        help(
            "write one: `schema = 1` and a table `[host]` with the allowed hosts of tool, file, manifest, image and wheel; docs/lab.md has the shipped one"
        )
    )]
    Absent {
        /// Where it was looked for.
        path: String,
    },
    /// The file system says no.
    #[error("cannot read the policy")]
    #[diagnostic(
        code(policy::unreadable),
        help("look at the rights of lock/policy.toml, then run the same command again")
    )]
    Unreadable(#[source] std::io::Error),
    /// Not TOML, or not of the policy's shape.
    #[error("cannot read the policy: {message}")]
    #[diagnostic(
        code(policy::syntax),
        help("correct lock/policy.toml at the marked place, then run `ztlab lock lint`")
    )]
    Syntax {
        /// What the parser found.
        message: String,
        /// The text.
        #[source_code]
        text: NamedSource<String>,
        /// The place.
        #[label("here")]
        place: Option<SourceSpan>,
    },
    /// Written for another version of ztlab.
    #[error("the policy has schema {found}, and this ztlab knows schema {SCHEMA}")]
    #[diagnostic(
        code(policy::schema),
        help("a newer ztlab wrote it: install that version; `ztlab version` shows yours")
    )]
    Schema {
        /// The schema in the file.
        found: u32,
    },
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

impl Policy {
    /// Parses the text of `lock/policy.toml`.
    ///
    /// # Errors
    /// When the text is no policy of this schema.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let syntax = |error: toml::de::Error| PolicyError::Syntax {
            message: error.message().to_owned(),
            text: NamedSource::new("lock/policy.toml", text.to_owned()),
            place: error.span().map(Into::into),
        };
        let Schema { schema } = toml::from_str(text).map_err(syntax)?;
        if schema != SCHEMA {
            return Err(PolicyError::Schema { found: schema });
        }
        toml::from_str(text).map_err(syntax)
    }

    /// The hosts that entries of a kind may name; `None` for a kind that is fetched from nowhere.
    pub fn hosts(&self, kind: &str) -> Option<&[String]> {
        match kind {
            "tool" => Some(&self.host.tool),
            "file" => Some(&self.host.file),
            "manifest" => Some(&self.host.manifest),
            "image" => Some(&self.host.image),
            "wheel" => Some(&self.host.wheel),
            _ => None,
        }
    }
}

/// Whether one of these names allows a host: itself, or `*.example.org` for every name below `example.org`.
pub fn allows(allowed: &[String], host: &str) -> bool {
    allowed.iter().any(|pattern| match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|name| name.len() > 1 && name.ends_with('.')),
        None => pattern == host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_strict() {
        let policy = Policy::parse("schema = 1\n").unwrap();
        assert!(policy.https_only);
        assert_eq!(policy.digest, [Algorithm::Sha256]);
        assert_eq!(policy.forbid_tag, ["latest"]);
        assert_eq!(policy.forbid_pull_policy, [PullPolicy::Always]);
        assert_eq!((policy.min_age, policy.unknown_age), (None, UnknownAge::Allow));
        assert_eq!(policy.hosts("image"), Some([].as_slice()), "nobody is allowed");
        assert_eq!(policy.hosts("app"), None);
    }

    #[test]
    fn what_is_unknown_is_refused_in_its_place() {
        for (text, expected) in [
            ("schema = 1\nhttps = true\n", "unknown field `https`"),
            ("schema = 1\n[host]\nimages = []\n", "unknown field `images`"),
            ("schema = 1\ndigest = [\"md5\"]\n", "unknown variant `md5`"),
            ("schema = 1\nmin-age = \"7 days\"\n", "is not an age"),
            ("schema = 1\nmin-age = \"7d\"\nmin-age = \"8d\"\n", "duplicate key"),
            ("schema = 1\nunknown-age = \"ignore\"\n", "unknown variant `ignore`"),
            ("schema = 1\n[signature]\nkey.anna = \"RWQ\"\n", "`RWQ` is no public key of minisign"),
            ("schema = 1\n[signature]\nrequired = true\n", "nobody's key is named"),
            ("schema = 1\n[signature]\nkeys = []\n", "unknown field `keys`"),
            ("https-only = true\n", "missing field `schema`"),
        ] {
            let error = Policy::parse(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(
                matches!(&error, PolicyError::Syntax { place, .. } if text.starts_with("https") || place.is_some())
            );
        }
        assert!(matches!(Policy::parse("schema = 2\nnovelty = 1\n"), Err(PolicyError::Schema { found: 2 })));
    }

    #[test]
    fn a_star_allows_names_below_and_nothing_else() {
        let allowed = ["docker.io".to_owned(), "*.example.org".to_owned()];
        for (host, expected) in [
            ("docker.io", true),
            ("evil-docker.io", false),
            ("docker.io.evil.example", false),
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            (".example.org", false),
            ("badexample.org", false),
        ] {
            assert_eq!(allows(&allowed, host), expected, "{host}");
        }
    }
}
