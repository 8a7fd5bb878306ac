//! What a person asks for: `lock/ztlab.toml`.
//!
//! Short enough to review by eye: versions in one table, then one block per artifact whose address
//! names them in braces. `{name}` is a key of `[version]`; `{os}` and `{arch}` are the platform's
//! words. Any subset of the tables is a valid lab. Pure: text in, value out.

mod check;
pub mod compatibility;
pub mod profile;

use std::{collections::BTreeMap, sync::Arc};

use miette::{NamedSource, SourceSpan};
use serde::{Deserialize, Serialize};

pub use self::profile::ProfileRequest;
use crate::base::{Place, Platform, conflict_marker};

/// The schema that this version of ztlab reads and writes.
pub const SCHEMA: u32 = 1;

/// The parsed `lock/ztlab.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// The lab's name, for people.
    pub name: String,
    /// Platforms of tools and files.
    #[serde(default)]
    pub host: Vec<Platform>,
    /// Platforms of images, wheels and node binaries.
    #[serde(default)]
    pub node: Vec<Platform>,
    /// One place for every version.
    #[serde(default)]
    pub version: BTreeMap<String, String>,
    /// Programs.
    #[serde(default)]
    pub tool: BTreeMap<String, ToolRequest>,
    /// Files, or archives with members.
    #[serde(default)]
    pub file: BTreeMap<String, FileRequest>,
    /// YAML of others, applied as it is.
    #[serde(default)]
    pub manifest: BTreeMap<String, ManifestRequest>,
    /// Container images.
    #[serde(default)]
    pub image: BTreeMap<String, ImageRequest>,
    /// Python packages.
    #[serde(default)]
    pub wheel: BTreeMap<String, WheelRequest>,
    /// Images that ztlab builds itself.
    #[serde(default)]
    pub app: BTreeMap<String, AppRequest>,
    /// The lab with less.
    #[serde(default)]
    pub profile: BTreeMap<String, ProfileRequest>,
}

/// Which of the two machines a program runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The machine that runs ztlab.
    #[default]
    Host,
    /// The Linux inside Minikube.
    Node,
}

/// `[tool.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRequest {
    /// Address template.
    pub url: String,
    /// Where the program runs.
    #[serde(default)]
    pub platform: Side,
    /// When the address is an archive: the program's path in it.
    pub member: Option<String>,
    /// Address template of upstream's own checksum: a file with the bare digest, or a list of digests and names.
    pub checksum: Option<String>,
}

/// `[file.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRequest {
    /// Address template.
    pub url: String,
    /// When the file is an archive: name → path of the members that the lab uses.
    #[serde(default)]
    pub member: BTreeMap<String, String>,
    /// Address template of upstream's own checksum.
    pub checksum: Option<String>,
}

/// `[manifest.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRequest {
    /// Address template.
    pub url: String,
    /// Address template of upstream's own checksum.
    pub checksum: Option<String>,
}

/// `[image.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRequest {
    /// Full reference template: registry, repository and tag.
    #[serde(rename = "ref")]
    pub reference: String,
}

/// `[wheel.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelRequest {
    /// The exact version.
    pub version: String,
    /// The interpreter's version, as `3.12`.
    pub python: String,
}

/// `[app.NAME]`: an image made of a base image, wheels and files. The lock repeats it word by word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRequest {
    /// The folder that `files` are in, relative to the lab.
    pub path: String,
    /// The base, as `image.NAME`.
    pub base: String,
    /// The name that pods ask for.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Names of `[wheel]` entries.
    #[serde(default)]
    pub wheels: Vec<String>,
    /// Name in `path` → absolute path in the image.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// What the container runs.
    pub command: Vec<String>,
    /// User, as in the image configuration.
    #[serde(default)]
    pub user: String,
    /// Working directory.
    #[serde(default)]
    pub workdir: String,
    /// Environment added to the base's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Exposed ports, as `5000/tcp`.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Labels added to the base's (OCI image-spec v1.1, `config.md`: `Labels`; names by `annotations.md`).
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// An intent that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum IntentError {
    /// The file cannot be read.
    #[error("cannot read the intent")]
    #[diagnostic(
        code(intent::unreadable),
        help("a lab's folder holds `lock/ztlab.toml`: change into it, or name it with `--lab DIR`")
    )]
    Unreadable(#[source] std::io::Error),
    /// Not TOML, or not of the intent's shape.
    #[error("cannot read the intent: {message} ({place})")]
    #[diagnostic(
        code(intent::syntax),
        help("correct lock/ztlab.toml at the marked place, then run `ztlab lock --check`")
    )]
    Syntax {
        /// What the parser found.
        message: String,
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// The place.
        #[label("here")]
        span: SourceSpan,
    },
    /// Git left its marks.
    #[error("the intent holds an unfinished merge: a conflict marker in {place}")]
    #[diagnostic(
        code(intent::conflict),
        help("keep the lines that you want and remove the markers, then run `ztlab lock`")
    )]
    Conflict {
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// The marker.
        #[label("conflict marker")]
        span: SourceSpan,
    },
    /// A schema of the future (or none that ever was).
    #[error("the intent has schema {found}, and this ztlab knows schema {SCHEMA}")]
    #[diagnostic(
        code(intent::schema),
        help("a newer ztlab wrote this lab: install the version that the lab names; `ztlab version` shows yours")
    )]
    Schema {
        /// The schema in the file.
        found: u32,
    },
    /// One entry contradicts itself or names something that is not there.
    #[error("{entry} in the intent: {problem}")]
    #[diagnostic(code(intent::entry), help("correct [{entry}] in lock/ztlab.toml, then run `ztlab lock --check`"))]
    Entry {
        /// `tool.minikube` and the like.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Intent {
    /// Parses and checks the text of `lock/ztlab.toml`.
    ///
    /// # Errors
    /// When the text is no intent of this schema, or an entry contradicts itself.
    pub fn parse(text: &str) -> Result<Self, IntentError> {
        let named = || Arc::new(NamedSource::new("lock/ztlab.toml", text.to_owned()));
        if let Some(marker) = conflict_marker(text) {
            let place = Place::of(text, marker.start);
            return Err(IntentError::Conflict { place, text: named(), span: marker.into() });
        }
        let syntax = |error: toml::de::Error| {
            let range = error.span().unwrap_or_default();
            // Multi-line messages repeat the place, which is drawn anyway.
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            IntentError::Syntax { message, place: Place::of(text, range.start), text: named(), span: range.into() }
        };
        let Schema { schema } = toml::from_str(text).map_err(syntax)?;
        if schema != SCHEMA {
            return Err(IntentError::Schema { found: schema });
        }
        let intent: Self = toml::from_str(text).map_err(syntax)?;
        intent.check()?;
        Ok(intent)
    }

    /// Reads and parses a file.
    ///
    /// # Errors
    /// As [`Intent::parse`], and when the file cannot be read.
    pub fn read(path: &std::path::Path) -> Result<Self, IntentError> {
        Self::parse(&fs_err::read_to_string(path).map_err(IntentError::Unreadable)?)
    }

    /// Replaces every `{name}` of `[version]`, and leaves `{os}` and `{arch}` for [`for_platform`].
    ///
    /// # Errors
    /// When a brace names no version, or is left open.
    pub fn fill(&self, entry: &str, template: &str) -> Result<String, IntentError> {
        let problem = |problem: String| IntentError::Entry { entry: entry.to_owned(), problem };
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| problem(format!("`{template}` has a brace without its partner")))?;
            filled.push_str(before);
            match (name, self.version.get(name)) {
                ("os" | "arch", _) => filled.push_str(&format!("{{{name}}}")),
                (_, Some(version)) => filled.push_str(version),
                (_, None) => return Err(problem(format!("`{{{name}}}` is no key of [version]"))),
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Puts a platform's words into `{os}` and `{arch}`.
pub fn for_platform(template: &str, platform: Platform) -> String {
    template.replace("{os}", platform.os()).replace("{arch}", platform.architecture())
}

/// Whether the address differs between platforms.
pub fn names_platform(template: &str) -> bool {
    template.contains("{os}") || template.contains("{arch}")
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
schema = 1
name = "small"
host = ["darwin-arm64"]
node = ["linux-arm64"]
[version]
minikube = "1.32.0"
[tool.minikube]
url = "https://example.org/v{minikube}/minikube-{os}-{arch}"
"#;

    #[test]
    fn versions_are_filled_and_platforms_are_left() {
        let intent = Intent::parse(SMALL).unwrap();
        let filled = intent.fill("tool.minikube", &intent.tool["minikube"].url).unwrap();
        assert_eq!(filled, "https://example.org/v1.32.0/minikube-{os}-{arch}");
        assert_eq!(for_platform(&filled, Platform::DarwinArm64), "https://example.org/v1.32.0/minikube-darwin-arm64");
    }

    #[test]
    fn an_unknown_version_is_named() {
        let intent = Intent::parse(SMALL).unwrap();
        let error = intent.fill("tool.x", "https://example.org/{calico}").unwrap_err();
        assert_eq!(error.to_string(), "tool.x in the intent: `{calico}` is no key of [version]");
        assert!(intent.fill("tool.x", "https://example.org/{calico").is_err());
    }

    #[test]
    fn a_newer_schema_is_told_before_its_unknown_keys() {
        let error = Intent::parse("schema = 2\nname = \"x\"\nnovelty = true\n").unwrap_err();
        assert!(matches!(error, IntentError::Schema { found: 2 }), "{error}");
    }
}
