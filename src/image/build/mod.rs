//! The app's images as a pure function: locked base image + locked wheels + source files → layers →
//! config → manifest. The same input gives the same digest on every machine: names are sorted, owner,
//! mode and time are fixed, gzip has no header fields of the host.
//!
//! Two layers go on top of the base: the wheels (they change with the lock) and the files (they
//! change with every edit), so that an edit moves a few kilobytes only.

mod layer;
mod wheel;

use std::{collections::BTreeMap, io};

use serde_json::{Map, Value, json};

use self::layer::{Layer, LayerBuilder};
use super::{Blobs, document};
use crate::base::{Descriptor, Digest};

/// The time written into configs that ztlab makes: reproducible images have no other.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The request: everything that the result depends on.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// The base image's manifest, of the platform wanted.
    pub base_manifest: Option<Digest>,
    /// The wheels, as stored blobs, by file name.
    pub wheels: BTreeMap<String, Digest>,
    /// `3.12`: names the folder that the wheels unpack into.
    pub python: Option<String>,
    /// Place in the image → content.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What a container runs; the base's own when absent.
    pub command: Option<Vec<String>>,
    /// `uid:gid`; the base's own when absent.
    pub user: Option<String>,
    /// Working folder; the base's own when absent.
    pub workdir: Option<String>,
    /// Added to the base's environment.
    pub env: BTreeMap<String, String>,
    /// Ports the image announces, as `80/tcp`.
    pub ports: Vec<String>,
}

/// The result: documents and new layers with their bytes, and every layer's descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The config's bytes.
    pub config: Vec<u8>,
    /// All layers from the bottom up, the base's included.
    pub layers: Vec<Descriptor>,
    /// The bytes of the layers that the base does not have.
    pub new_layers: Vec<Vec<u8>>,
}

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BuildError {
    /// The recipe names no base.
    #[error("the recipe has no base image")]
    #[diagnostic(code("build::base"), help("give the app a `base = \"image.NAME\"` in lock/ztlab.toml"))]
    NoBase,
    /// A document of the base is unreadable.
    #[error("the base image's {what} {digest} is not one")]
    #[diagnostic(code("build::base"), help("run `ztlab store verify`, then `ztlab fetch`"))]
    Base {
        /// `manifest` or `config`.
        what: &'static str,
        /// The document.
        digest: Digest,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A wheel breaks the wheel specification.
    #[error("wheel {wheel}: {problem}")]
    #[diagnostic(code("build::wheel"), help("choose another version in lock/ztlab.toml and run `ztlab lock`"))]
    Wheel {
        /// Its file name.
        wheel: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A place in the image that is not an absolute, plain path.
    #[error("`{0}` is not a place in an image: expected an absolute path without `..`")]
    #[diagnostic(code("build::path"), help("correct `files` of the app in lock/ztlab.toml"))]
    Path(String),
    /// A blob cannot be read.
    #[error("cannot read the parts of the image")]
    #[diagnostic(code("build::read"), help("run `ztlab fetch`, then the same command again"))]
    Read(#[from] io::Error),
}

/// Builds an image from a recipe. Pure: reads only the blobs that the recipe names.
///
/// # Errors
/// See [`BuildError`].
pub fn build(recipe: &Recipe, blobs: &dyn Blobs) -> Result<BuiltImage, BuildError> {
    let base_digest = recipe.base_manifest.ok_or(BuildError::NoBase)?;
    let base = document::parse_manifest(&super::read_document(blobs, &base_digest)?)
        .map_err(|source| BuildError::Base { what: "manifest", digest: base_digest, source })?;
    let config_digest = base.config.descriptor.digest;
    let mut config = document::parse_config(&super::read_document(blobs, &config_digest)?)
        .map_err(|source| BuildError::Base { what: "config", digest: config_digest, source })?;

    let mut new_layers = Vec::new();
    if !recipe.wheels.is_empty() {
        new_layers.push(("locked wheels", wheel_layer(recipe, blobs)?));
    }
    if !recipe.files.is_empty() {
        new_layers.push(("source files", file_layer(recipe)?));
    }

    apply_settings(recipe, &mut config.config);
    config.created = Some(CREATED.to_owned());
    for (what, layer) in &new_layers {
        config.rootfs.diff_ids.push(layer.diff_id);
        config.history.push(json!({ "created": CREATED, "created_by": format!("ztlab build: {what}") }));
    }
    let config = serde_json::to_vec(&config).map_err(io::Error::from)?;

    // The bytes of a Docker layer and an OCI layer are the same gzip tar: one manifest speaks one dialect.
    let mut layers: Vec<Descriptor> = base.layers.iter().map(|layer| layer.descriptor).collect();
    layers.extend(new_layers.iter().map(|(_, layer)| Descriptor::of(&layer.gzip)));
    let manifest = document::Manifest {
        schema_version: 2,
        media_type: Some(document::MANIFEST.to_owned()),
        config: document::TypedDescriptor::new(document::CONFIG, Descriptor::of(&config)),
        layers: layers.iter().map(|layer| document::TypedDescriptor::new(document::LAYER_GZIP, *layer)).collect(),
    };
    let manifest = serde_json::to_vec(&manifest).map_err(io::Error::from)?;
    Ok(BuiltImage {
        manifest,
        config,
        layers,
        new_layers: new_layers.into_iter().map(|(_, layer)| layer.gzip).collect(),
    })
}

fn wheel_layer(recipe: &Recipe, blobs: &dyn Blobs) -> Result<Layer, BuildError> {
    let Some(python) = &recipe.python else {
        return Err(BuildError::Wheel {
            wheel: recipe.wheels.keys().cloned().collect::<Vec<_>>().join(", "),
            problem: "no Python version is given for the wheels".to_owned(),
        });
    };
    let site_packages = format!("usr/local/lib/python{python}/site-packages");
    let mut layer = LayerBuilder::default();
    for (name, digest) in &recipe.wheels {
        for (path, content) in wheel::unpack(name, blobs.open(digest)?)? {
            layer.file(&format!("/{site_packages}/{path}"), content)?;
        }
    }
    layer.finish()
}

fn file_layer(recipe: &Recipe) -> Result<Layer, BuildError> {
    let mut layer = LayerBuilder::default();
    for (place, content) in &recipe.files {
        layer.file(place, content.clone())?;
    }
    layer.finish()
}

/// Changes what the recipe names and leaves the rest of the base's settings, as a Dockerfile does.
fn apply_settings(recipe: &Recipe, settings: &mut Map<String, Value>) {
    if let Some(command) = &recipe.command {
        settings.insert("Cmd".to_owned(), json!(command));
    }
    if let Some(user) = &recipe.user {
        settings.insert("User".to_owned(), json!(user));
    }
    if let Some(workdir) = &recipe.workdir {
        settings.insert("WorkingDir".to_owned(), json!(workdir));
    }
    if !recipe.ports.is_empty() {
        let ports: BTreeMap<_, _> = recipe.ports.iter().map(|port| (port, json!({}))).collect();
        settings.insert("ExposedPorts".to_owned(), json!(ports));
    }
    if !recipe.env.is_empty() {
        let mut env: Vec<String> = settings
            .get("Env")
            .and_then(Value::as_array)
            .map(|entries| entries.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        for (name, value) in &recipe.env {
            env.retain(|entry| entry.split('=').next() != Some(name));
            env.push(format!("{name}={value}"));
        }
        settings.insert("Env".to_owned(), json!(env));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::test_blobs::Folder;

    fn base(folder: &Folder) -> Digest {
        let layer = folder.add(b"not really gzip, never opened");
        let config = folder.add(
            br#"{"architecture":"arm64","os":"linux","variant":"v8","config":{"Env":["PATH=/bin","LANG=C"],"Cmd":["python3"]},
                "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"history":[]}"#,
        );
        let manifest = document::Manifest {
            schema_version: 2,
            media_type: None,
            config: document::TypedDescriptor::new("application/vnd.docker.container.image.v1+json", config),
            layers: vec![document::TypedDescriptor::new("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
        };
        folder.add(&serde_json::to_vec(&manifest).unwrap()).digest
    }

    fn recipe(folder: &Folder) -> Recipe {
        Recipe {
            base_manifest: Some(base(folder)),
            files: BTreeMap::from([("/app/app.py".to_owned(), b"print('hi')\n".to_vec())]),
            command: Some(vec!["python3".to_owned(), "app.py".to_owned()]),
            user: Some("10001:10001".to_owned()),
            env: BTreeMap::from([("LANG".to_owned(), "C.UTF-8".to_owned())]),
            ..Recipe::default()
        }
    }

    #[test]
    fn the_same_recipe_gives_the_same_bytes_everywhere() {
        let folder = Folder::new();
        let built = build(&recipe(&folder), &folder).unwrap();
        // Pinned: a change of any byte here changes every student's lock.
        insta::assert_snapshot!(Digest::of(&built.manifest), @"sha256:3af81634de4b24def45194b565a2780690a5b3bc2490f87b42d1951261636930");
        assert_eq!(built, build(&recipe(&folder), &folder).unwrap());
    }

    #[test]
    fn settings_change_only_what_the_recipe_names() {
        let folder = Folder::new();
        let built = build(&recipe(&folder), &folder).unwrap();
        let config = document::parse_config(&built.config).unwrap();
        assert_eq!(config.config["Env"], json!(["PATH=/bin", "LANG=C.UTF-8"]));
        assert_eq!(config.config["Cmd"], json!(["python3", "app.py"]));
        assert_eq!(config.variant.as_deref(), Some("v8"));
        assert_eq!(config.rootfs.diff_ids.len(), 2);
        let manifest = document::parse_manifest(&built.manifest).unwrap();
        assert!(manifest.layers.iter().all(|layer| layer.media_type == document::LAYER_GZIP));
    }

    #[test]
    fn a_place_outside_the_image_is_refused() {
        let folder = Folder::new();
        for place in ["app.py", "/app/../../etc/passwd", "/", "/a//b"] {
            let mut bad = recipe(&folder);
            bad.files = BTreeMap::from([(place.to_owned(), Vec::new())]);
            assert!(matches!(build(&bad, &folder), Err(BuildError::Path(_))), "{place}");
        }
    }
}
