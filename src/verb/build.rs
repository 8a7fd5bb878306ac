//! The app's images: the lock's app entries become recipes, the store gives the parts and takes the result.

use std::collections::BTreeMap;

use super::{Context, fetch::AppBuilder};
use crate::{
    base::{Descriptor, Platform},
    image::build::{Recipe, build},
    lockfile::{ImagePin, Lock},
    store::Store,
};

/// An app entry that cannot become an image.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AppError {
    /// Something that the app is made of is not locked.
    #[error("app.{app} needs {part}, which the lock has not pinned for {platform}")]
    #[diagnostic(code("build::part"), help("run `ztlab fetch`: it completes what is pending"))]
    Part {
        /// The app.
        app: String,
        /// The missing part.
        part: String,
        /// The image's platform.
        platform: Platform,
    },
    /// A source file cannot be read.
    #[error("cannot read a source file of app.{app}")]
    #[diagnostic(code("build::source"), help("`files` in lock/ztlab.toml names files below the app's `path`"))]
    Source {
        /// The app.
        app: String,
        /// The reason, with the path.
        source: std::io::Error,
    },
}

/// Builds apps while a fetch runs.
pub struct Apps(Context);

impl Apps {
    /// Takes the context whose lab holds the sources.
    pub fn new(context: Context) -> Self {
        Self(context)
    }
}

impl AppBuilder for Apps {
    fn build(&self, lock: &Lock, app: &str, platform: Platform, store: &Store) -> miette::Result<ImagePin> {
        app_image(&self.0, lock, app, platform, store)
    }
}

/// Builds one app image from parts that are in the store, and puts the result there.
///
/// # Errors
/// When a part is missing or unusable.
pub fn app_image(
    context: &Context,
    lock: &Lock,
    app: &str,
    platform: Platform,
    store: &Store,
) -> miette::Result<ImagePin> {
    let part = |part: String| AppError::Part { app: app.to_owned(), part, platform };
    let request = &lock.app.get(app).ok_or_else(|| part(format!("app.{app}")))?.request;
    let base = request.base.strip_prefix("image.").and_then(|name| lock.image.get(name)?.platforms.get(&platform));
    let base = base.ok_or_else(|| part(request.base.clone()))?;
    let mut wheels = BTreeMap::new();
    let mut python = None;
    for name in &request.wheels {
        let missing = || part(format!("wheel.{name}"));
        let entry = lock.wheel.get(name).ok_or_else(missing)?;
        let download = entry.platforms.get(&platform).ok_or_else(missing)?;
        wheels.insert(name.clone(), download.digest.ok_or_else(missing)?);
        python = entry.request().map(|request| request.python.to_owned()).or(python);
    }
    let mut files = BTreeMap::new();
    for (name, place) in &request.files {
        let path = context.lab.join(&request.path).join(name);
        let content = fs_err::read(path).map_err(|source| AppError::Source { app: app.to_owned(), source })?;
        files.insert(place.clone(), content);
    }
    let said = |text: &String| (!text.is_empty()).then(|| text.clone());
    let recipe = Recipe {
        base_manifest: Some(base.manifest.digest),
        wheels,
        python,
        files,
        command: (!request.command.is_empty()).then(|| request.command.clone()),
        user: said(&request.user),
        workdir: said(&request.workdir),
        env: request.env.clone(),
        ports: request.ports.clone(),
    };
    let built = build(&recipe, store)?;
    for bytes in built.new_layers.iter().chain([&built.config, &built.manifest]) {
        store.put(bytes, context.reporter.as_ref())?;
    }
    Ok(ImagePin {
        manifest: Descriptor::of(&built.manifest),
        config: Descriptor::of(&built.config),
        layers: built.layers,
    })
}
