//! The app's images as a pure function: locked base image + locked wheels + source files → layers →
//! config → manifest. The same input gives the same digest on every machine: names are sorted, owner,
//! mode and time are fixed, gzip has no header fields of the host.
//!
//! Two layers go on top of the base: the wheels (they change with the lock) and the files (they
//! change with every edit), so that an edit moves a few kilobytes only.

mod base;
mod error;
mod gzip;
mod layer;
mod wheel;

use std::{collections::BTreeMap, io};

use serde_json::{Map, Value, json};

pub use self::error::BuildError;
use self::{
    base::BaseTree,
    layer::{LayerBuilder, LayerFile},
};
use super::{Blobs, document};
use crate::base::{Descriptor, Digest, Platform};

/// The time written into configs that ztlab makes: reproducible images have no other.
const CREATED: &str = "1970-01-01T00:00:00Z";
/// Docker's words for layers (distribution, "Image Manifest V2, Schema 2").
const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// The variable in which the official Python images say their version.
const PYTHON_VERSION: &str = "PYTHON_VERSION";

/// The request: everything that the result depends on.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What the image runs on.
    pub platform: Platform,
    /// The base image's manifest, of that platform.
    pub base_manifest: Digest,
    /// Python packages, in any order.
    pub wheels: Vec<WheelPart>,
    /// Place in the image → file.
    pub files: BTreeMap<String, FilePart>,
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
    /// Added to the base's labels.
    pub labels: BTreeMap<String, String>,
}

/// A stored wheel and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelPart {
    /// Its file name, or a name for people.
    pub file: String,
    /// The project.
    pub name: String,
    /// The exact version.
    pub version: String,
    /// The interpreter that it was chosen for, as `3.12`.
    pub python: String,
    /// Its bytes.
    pub digest: Digest,
}

/// A source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Mode 0755 instead of 0644.
    pub executable: bool,
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

/// Builds an image from a recipe. Pure: reads only the blobs that the recipe names.
///
/// # Errors
/// See [`BuildError`].
pub fn build(recipe: &Recipe, blobs: &dyn Blobs) -> Result<BuiltImage, BuildError> {
    let base_digest = recipe.base_manifest;
    let base = document::parse_manifest(&super::read_document(blobs, &base_digest)?)
        .map_err(|source| BuildError::Base { what: "manifest", digest: base_digest, source })?;
    let config_digest = base.config.descriptor.digest;
    let mut config = document::parse_config(&super::read_document(blobs, &config_digest)?)
        .map_err(|source| BuildError::Base { what: "config", digest: config_digest, source })?;
    check_base(recipe, &config)?;

    let layers: Vec<Digest> = base.layers.iter().map(|layer| layer.descriptor.digest).collect();
    let tree = BaseTree::read(&layers, blobs)?;
    let mut new_layers = Vec::new();
    for (what, layer) in [("locked wheels", wheels(recipe, blobs)?), ("source files", files(recipe, &tree)?)] {
        if !layer.is_empty() {
            new_layers.push((what, layer.finish(&tree)?));
        }
    }

    apply_settings(recipe, &mut config.config);
    config.created = Some(CREATED.to_owned());
    for (what, layer) in &new_layers {
        config.rootfs.diff_ids.push(layer.diff_id);
        config.history.push(json!({ "created": CREATED, "created_by": format!("ztlab build: {what}") }));
    }
    let config = serde_json::to_vec(&config).map_err(io::Error::from)?;

    let mut layers: Vec<_> = base.layers.iter().map(in_oci_words).collect();
    let gzip = |layer: &layer::Layer| document::TypedDescriptor::new(document::LAYER_GZIP, Descriptor::of(&layer.gzip));
    layers.extend(new_layers.iter().map(|(_, layer)| gzip(layer)));
    let manifest = document::Manifest {
        schema_version: 2,
        media_type: Some(document::MANIFEST.to_owned()),
        config: document::TypedDescriptor::new(document::CONFIG, Descriptor::of(&config)),
        layers,
    };
    let layers = manifest.layers.iter().map(|layer| layer.descriptor).collect();
    let manifest = serde_json::to_vec(&manifest).map_err(io::Error::from)?;
    Ok(BuiltImage {
        manifest,
        config,
        layers,
        new_layers: new_layers.into_iter().map(|(_, layer)| layer.gzip).collect(),
    })
}

/// A layer of the base as one manifest names it: the bytes of a Docker layer and of an OCI layer are the same, and a
/// manifest speaks one dialect. A layer in the clear stays one: a reader believes the type, not the bytes.
fn in_oci_words(layer: &document::TypedDescriptor) -> document::TypedDescriptor {
    let kind = match layer.media_type.as_str() {
        DOCKER_LAYER_GZIP => document::LAYER_GZIP,
        DOCKER_LAYER => document::LAYER,
        other => other,
    };
    document::TypedDescriptor::new(kind, layer.descriptor)
}

/// A base of another platform or Python would be found in the cluster only, by a container that does not start.
fn check_base(recipe: &Recipe, config: &document::ImageConfig) -> Result<(), BuildError> {
    let misfit = |expected: String, found: String| BuildError::Misfit { digest: recipe.base_manifest, expected, found };
    let (os, architecture) = (recipe.platform.os(), recipe.platform.architecture());
    if (config.os.as_str(), config.architecture.as_str()) != (os, architecture) {
        return Err(misfit(recipe.platform.to_string(), format!("{}-{}", config.os, config.architecture)));
    }
    let environment = config.config.get("Env").and_then(Value::as_array).into_iter().flatten();
    let version =
        environment.filter_map(Value::as_str).find_map(|entry| entry.strip_prefix(PYTHON_VERSION)?.strip_prefix('='));
    for wheel in &recipe.wheels {
        match version {
            Some(version) if version.split('.').take(2).eq(wheel.python.split('.')) => {}
            found => {
                let found = found.map_or(format!("no {PYTHON_VERSION}"), |version| format!("Python {version}"));
                return Err(misfit(format!("Python {} for {}", wheel.python, wheel.file), found));
            }
        }
    }
    Ok(())
}

fn wheels(recipe: &Recipe, blobs: &dyn Blobs) -> Result<LayerBuilder, BuildError> {
    let mut layer = LayerBuilder::default();
    for part in &recipe.wheels {
        let wanted = wheel::Wanted {
            file: &part.file,
            name: &part.name,
            version: &part.version,
            python: &part.python,
            platform: recipe.platform,
        };
        for (place, file) in wheel::install(&wanted, blobs.open(&part.digest)?)? {
            layer.file(&place, file, &part.file)?;
        }
    }
    Ok(layer)
}

fn files(recipe: &Recipe, base: &BaseTree) -> Result<LayerBuilder, BuildError> {
    let mut layer = LayerBuilder::default();
    for (place, part) in &recipe.files {
        let file = LayerFile { content: part.content.clone(), executable: part.executable };
        layer.file(place, file, "the app's files")?;
    }
    // As a Dockerfile does: a working folder that is nowhere is made.
    let absent = |workdir: &&str| *workdir != "/" && base.at(workdir.trim_start_matches('/')).is_none();
    if let Some(workdir) = recipe.workdir.as_deref().filter(absent) {
        layer.folder(workdir)?;
    }
    Ok(layer)
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
    for (setting, added) in [
        ("ExposedPorts", recipe.ports.iter().map(|port| (port, json!({}))).collect::<Vec<_>>()),
        ("Labels", recipe.labels.iter().map(|(name, value)| (name, json!(value))).collect()),
    ] {
        add(settings, setting, added);
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

/// Adds to a table of the settings, as `EXPOSE` and `LABEL` do: what the base says stays, unless it is said anew.
/// In the order of the names, because an order that depends on the base's would not be the recipe's.
fn add(settings: &mut Map<String, Value>, setting: &str, added: Vec<(&String, Value)>) {
    if added.is_empty() {
        return;
    }
    let mut table: BTreeMap<String, Value> = match settings.remove(setting) {
        Some(Value::Object(base)) => base.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    table.extend(added.into_iter().map(|(name, value)| (name.clone(), value)));
    settings.insert(setting.to_owned(), json!(table));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::test_blobs::Folder;

    fn base(folder: &Folder) -> Digest {
        let layer = folder.add(&base::tests::layer(&["usr/", "usr/local/", "tmp/"]));
        let config = folder.add(
            br#"{"architecture":"arm64","os":"linux","variant":"v8",
                "config":{"Env":["PATH=/bin","LANG=C","PYTHON_VERSION=3.12.14"],"Cmd":["python3"]},
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
        let demo = wheel::tests::wheel(wheel::tests::PURE, &[("demo/__init__.py", "x = 1\n")]);
        Recipe {
            platform: Platform::LinuxArm64,
            base_manifest: base(folder),
            wheels: vec![WheelPart {
                file: "demo-1-py3-none-any.whl".to_owned(),
                name: "demo".to_owned(),
                version: "1".to_owned(),
                python: "3.12".to_owned(),
                digest: folder.add(&demo).digest,
            }],
            files: BTreeMap::from([(
                "/app/app.py".to_owned(),
                FilePart { content: b"print('hi')\n".to_vec(), executable: false },
            )]),
            command: Some(vec!["python3".to_owned(), "app.py".to_owned()]),
            user: Some("10001:10001".to_owned()),
            workdir: Some("/work".to_owned()),
            env: BTreeMap::from([("LANG".to_owned(), "C.UTF-8".to_owned())]),
            ports: vec!["5000/tcp".to_owned()],
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn the_same_recipe_gives_the_same_bytes_everywhere() {
        let folder = Folder::new();
        let built = build(&recipe(&folder), &folder).unwrap();
        // Pinned: a change of any byte here changes every student's lock.
        insta::assert_snapshot!(Digest::of(&built.manifest), @"sha256:e787b970f411233798b4c2ddd89b5206a4178ca44189531ee13b9830285e0c86");
        assert_eq!(built, build(&recipe(&folder), &folder).unwrap());
    }

    #[test]
    fn settings_change_only_what_the_recipe_names() {
        let folder = Folder::new();
        let built = build(&recipe(&folder), &folder).unwrap();
        let config = document::parse_config(&built.config).unwrap();
        assert_eq!(config.config["Env"], json!(["PATH=/bin", "PYTHON_VERSION=3.12.14", "LANG=C.UTF-8"]));
        assert_eq!(config.config["Cmd"], json!(["python3", "app.py"]));
        assert_eq!(config.config["User"], json!("10001:10001"));
        assert_eq!(config.config["WorkingDir"], json!("/work"));
        assert_eq!(config.config["ExposedPorts"], json!({ "5000/tcp": {} }));
        assert_eq!(config.variant.as_deref(), Some("v8"));
        assert_eq!(config.rootfs.diff_ids.len(), 3);
        let manifest = document::parse_manifest(&built.manifest).unwrap();
        assert!(manifest.layers.iter().all(|layer| layer.media_type == document::LAYER_GZIP));
    }

    #[test]
    fn ports_and_labels_are_added_to_the_bases() {
        let folder = Folder::new();
        let labelled = Recipe {
            labels: BTreeMap::from([("b".to_owned(), "ours".to_owned()), ("a".to_owned(), "new".to_owned())]),
            ..recipe(&folder)
        };
        let mut settings =
            json!({ "ExposedPorts": { "80/tcp": {} }, "Labels": { "maintainer": "somebody", "b": "theirs" } });
        apply_settings(&labelled, settings.as_object_mut().unwrap());
        let expected = json!({
            "ExposedPorts": { "5000/tcp": {}, "80/tcp": {} },
            "Labels": { "a": "new", "b": "ours", "maintainer": "somebody" },
        });
        for setting in ["ExposedPorts", "Labels"] {
            assert_eq!(settings[setting].to_string(), expected[setting].to_string());
        }
        let built = build(&labelled, &folder).unwrap();
        let config = document::parse_config(&built.config).unwrap();
        assert_eq!(config.config["Labels"], json!({ "a": "new", "b": "ours" }));
    }

    #[test]
    fn an_edit_changes_one_layer() {
        let folder = Folder::new();
        let before = build(&recipe(&folder), &folder).unwrap();
        let mut edited = recipe(&folder);
        edited.files.get_mut("/app/app.py").unwrap().content.push(b'\n');
        let after = build(&edited, &folder).unwrap();
        assert_eq!(before.layers[..2], after.layers[..2]);
        assert_ne!(before.layers[2], after.layers[2]);
    }

    #[test]
    fn a_place_outside_the_image_is_refused() {
        let folder = Folder::new();
        for place in ["app.py", "/app/../../etc/passwd", "/", "/a//b"] {
            let mut bad = recipe(&folder);
            let part = FilePart { content: Vec::new(), executable: false };
            bad.files = BTreeMap::from([(place.to_owned(), part)]);
            assert!(matches!(build(&bad, &folder), Err(BuildError::Path(_))), "{place}");
        }
    }

    #[test]
    fn a_base_for_something_else_is_refused() {
        let folder = Folder::new();
        let mut bad = recipe(&folder);
        bad.platform = Platform::LinuxAmd64;
        let error = build(&bad, &folder).unwrap_err().to_string();
        assert!(error.contains("expected linux-amd64, found linux-arm64"), "{error}");
        let mut bad = recipe(&folder);
        bad.wheels[0].python = "3.11".to_owned();
        let error = build(&bad, &folder).unwrap_err().to_string();
        assert!(error.contains("expected Python 3.11 for demo-1-py3-none-any.whl, found Python 3.12.14"), "{error}");
    }
}
