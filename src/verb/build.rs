//! `ztlab build`: the app's images from locked parts and source files. Opens no socket.
//!
//! The lock's app entries become recipes, the store gives the parts and takes the result. What was built is held
//! against the lock: with the locked sources it must be the locked image, byte for byte.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::{Context, fetch::AppBuilder, lock::SaveError};
use crate::{
    base::{Descriptor, Digest, Event, Platform},
    image::build::{FilePart, Recipe, WheelPart, build},
    intent::AppRequest,
    lockfile::{self, ImagePin, Lock},
    resolve::{Sources, read_sources},
    store::{NamedImage, Store},
};

/// An app entry that cannot become an image.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AppError {
    /// Something that the app is made of is not locked.
    #[error("app.{app} needs {part}, which the lock has not pinned for {platform}")]
    #[diagnostic(code("build::part"), help("with a network, `ztlab fetch` completes what is pending"))]
    Part {
        /// The app.
        app: String,
        /// The missing part.
        part: String,
        /// The image's platform.
        platform: Platform,
    },
    /// Something that the app is made of is not in the store.
    #[error("app.{app} needs {part}, and the store has no blob {digest}")]
    #[diagnostic(
        code("build::part"),
        help("with a network, `ztlab fetch --only {app}` brings it; without one, `ztlab fetch --from DIR`")
    )]
    Absent {
        /// The app.
        app: String,
        /// The part whose bytes are missing.
        part: String,
        /// One of its blobs.
        digest: Digest,
    },
}

/// The lock names another image than the parts give.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("app.{app} for {platform} came out different: locked manifest {}, built {}", .expected.digest, .found.digest)]
#[diagnostic(
    code(integrity::build),
    help(
        "its sources and parts are the locked ones, so another version of ztlab locked it: lock it anew with `ztlab lock --upgrade {app}`, then `ztlab build`"
    )
)]
pub struct BuiltDiffers {
    /// The app.
    pub app: String,
    /// The image's platform.
    pub platform: Platform,
    /// The locked manifest.
    pub expected: Descriptor,
    /// The built one.
    pub found: Descriptor,
}

/// How an image stands to the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is the locked one.
    Locked,
    /// The lock had none; it has this one now.
    Completed,
    /// The sources are others than the locked ones: the lock stays as it is.
    Unlocked,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuiltApp {
    /// The app.
    pub app: String,
    /// The image's platform.
    pub platform: Platform,
    /// The name under which pods ask for it.
    pub reference: String,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the config: a Docker runtime's image ID.
    pub config: Digest,
    /// Bytes of the layers that the base does not have.
    pub new_bytes: u64,
    /// How it stands to the lock.
    pub standing: Standing,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The images, by app and platform.
    pub images: Vec<BuiltApp>,
    /// How long it took.
    pub seconds: f64,
}

/// Builds these apps (all when none is named) for every platform of the lab's nodes.
///
/// # Errors
/// When a part is missing or unusable, and [`BuiltDiffers`].
pub fn run(context: &Context, apps: &[String]) -> miette::Result<Outcome> {
    let begun = Instant::now();
    let mut lock = lockfile::read(&context.lock_path())?;
    let names = chosen_apps(&lock, apps)?;
    let store = context.open_store()?;
    let as_it_was = lockfile::write(&lock);
    let mut images = Vec::new();
    let mut named = Vec::new();
    for app in names {
        for platform in lock.node.clone() {
            let built = app_image(context, &lock, &app, platform, &store)?;
            let standing = settle(&mut lock, &app, platform, &built)?;
            if standing == Standing::Unlocked {
                context.reporter.report(Event::Warning { text: unlocked(&app) });
            }
            let reference = lock.app[&app].request.reference.clone();
            // The layout has one place for a name: that of the first platform, as in a fetch.
            if named.last().is_none_or(|last: &NamedImage| last.reference != reference) {
                named.push(NamedImage { reference: reference.clone(), top: built.pin.manifest });
            }
            images.push(BuiltApp {
                app: app.clone(),
                platform,
                reference,
                manifest: built.pin.manifest.digest,
                config: built.pin.config.digest,
                new_bytes: built.new_bytes,
                standing,
            });
        }
    }
    if lockfile::write(&lock) != as_it_was {
        lockfile::save(&context.lock_path(), &lock).map_err(SaveError)?;
    }
    store.name_images(&named, context.reporter.as_ref())?;
    Ok(Outcome { images, seconds: begun.elapsed().as_secs_f64() })
}

/// The apps of these names, as `backend` or `app.backend`; all of them when none is named.
pub(super) fn chosen_apps(lock: &Lock, names: &[String]) -> Result<Vec<String>, NoApp> {
    let apps: Vec<String> = lock.app.keys().cloned().collect();
    let means = |name: &str, app: &str| name.strip_prefix("app.").unwrap_or(name) == app;
    if let Some(name) = names.iter().find(|name| !apps.iter().any(|app| means(name, app))) {
        return Err(NoApp { name: name.clone(), apps });
    }
    Ok(apps.into_iter().filter(|app| names.is_empty() || names.iter().any(|name| means(name, app))).collect())
}

/// A name that no app has.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{name}` is no app of this lab: expected {}", .apps.join(" or "))]
#[diagnostic(code(usage::name), help("without a name, all of them are meant"))]
pub struct NoApp {
    /// What was given.
    pub name: String,
    /// What there is.
    pub apps: Vec<String>,
}

/// What a person should know who built, or is about to install, something else than the files say.
pub(super) fn unlocked(app: &str) -> String {
    format!(
        "app.{app}: its files are not the locked ones. To see them in the cluster: `ztlab dev`; to make them the lab's: \
         `ztlab lock`, `ztlab build`, `ztlab install`"
    )
}

/// Compares an image with the lock, and gives the lock what it lacks.
fn settle(lock: &mut Lock, app: &str, platform: Platform, built: &Built) -> Result<Standing, BuiltDiffers> {
    let Some(entry) = lock.app.get_mut(app) else { return Ok(Standing::Unlocked) };
    if *entry.source.get_or_insert(built.source) != built.source {
        return Ok(Standing::Unlocked);
    }
    match entry.platforms.get(&platform) {
        Some(pin) if *pin == built.pin => Ok(Standing::Locked),
        Some(pin) => {
            let (expected, found) = (pin.manifest, built.pin.manifest);
            Err(BuiltDiffers { app: app.to_owned(), platform, expected, found })
        }
        None => {
            entry.platforms.insert(platform, built.pin.clone());
            Ok(Standing::Completed)
        }
    }
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
        Ok(app_image(&self.0, lock, app, platform, store)?.pin)
    }
}

/// An image in the store.
#[derive(Debug, Clone)]
pub(super) struct Built {
    /// Every byte of it.
    pub(super) pin: ImagePin,
    /// What it was made from.
    pub(super) source: Digest,
    /// Bytes of the layers that the base does not have.
    pub(super) new_bytes: u64,
}

/// Builds one app image from parts that are in the store, and puts the result there.
///
/// # Errors
/// When a part is missing or unusable.
pub(super) fn app_image(
    context: &Context,
    lock: &Lock,
    app: &str,
    platform: Platform,
    store: &Store,
) -> miette::Result<Built> {
    let missing = |part: &str| AppError::Part { app: app.to_owned(), part: part.to_owned(), platform };
    let request = &lock.app.get(app).ok_or_else(|| missing(&format!("app.{app}")))?.request;
    let sources = read_sources(&context.lab, app, request)?;
    let base = request.base.strip_prefix("image.").and_then(|name| lock.image.get(name)?.platforms.get(&platform));
    let base = base.ok_or_else(|| missing(&request.base))?;
    let present = |part: &str, descriptor: Descriptor| match store.blob(descriptor) {
        Some(_) => Ok(()),
        None => Err(AppError::Absent { app: app.to_owned(), part: part.to_owned(), digest: descriptor.digest }),
    };
    for blob in base.blobs() {
        present(&request.base, blob)?;
    }
    let mut wheels = Vec::new();
    for name in &request.wheels {
        let part = format!("wheel.{name}");
        let entry = lock.wheel.get(name).ok_or_else(|| missing(&part))?;
        let wanted = entry.request().ok_or_else(|| missing(&part))?;
        let download = entry.platforms.get(&platform).ok_or_else(|| missing(&part))?;
        let descriptor = download.expected().complete().ok_or_else(|| missing(&part))?;
        present(&part, descriptor)?;
        let file = download.url.as_deref().and_then(|url| url.rsplit('/').next());
        wheels.push(WheelPart {
            file: file.unwrap_or(&part).to_owned(),
            name: wanted.name.to_owned(),
            version: wanted.version.to_owned(),
            python: wanted.python.to_owned(),
            digest: descriptor.digest,
        });
    }
    let recipe = recipe(request, platform, base.manifest.digest, wheels, &sources);
    let built = build(&recipe, store)?;
    for bytes in built.new_layers.iter().chain([&built.config, &built.manifest]) {
        store.put(bytes, context.reporter.as_ref())?;
    }
    Ok(Built {
        pin: ImagePin {
            manifest: Descriptor::of(&built.manifest),
            config: Descriptor::of(&built.config),
            layers: built.layers,
        },
        source: sources.digest,
        new_bytes: built.new_layers.iter().map(|layer| layer.len() as u64).sum(),
    })
}

fn recipe(
    request: &AppRequest,
    platform: Platform,
    base_manifest: Digest,
    wheels: Vec<WheelPart>,
    sources: &Sources,
) -> Recipe {
    let said = |text: &String| (!text.is_empty()).then(|| text.clone());
    let places = request.files.iter().filter_map(|(name, place)| {
        let file = sources.files.get(name)?;
        Some((place.clone(), FilePart { content: file.content.clone(), executable: file.executable }))
    });
    Recipe {
        platform,
        base_manifest,
        wheels,
        files: places.collect::<BTreeMap<_, _>>(),
        command: (!request.command.is_empty()).then(|| request.command.clone()),
        user: said(&request.user),
        workdir: said(&request.workdir),
        env: request.env.clone(),
        ports: request.ports.clone(),
        labels: request.labels.clone(),
    }
}
