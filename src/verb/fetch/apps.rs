//! The images of apps: built once everything that they are made of is in the store.

use std::sync::Arc;

use crate::{
    base::Platform,
    fetch::blocking,
    lockfile::{ImagePin, Lock},
    plan::is_selected,
    store::Store,
};

use super::{
    super::{build::BuiltDiffers, supply::ArtifactFailure},
    Run,
};

/// Makes the image of an app. Called after every other blob of the lab is in the store, on a thread that
/// may block; puts what it makes into the store.
pub trait AppBuilder: Send + Sync {
    /// Builds one app for one platform and returns what it is.
    ///
    /// # Errors
    /// Whatever keeps the image from being built.
    fn build(&self, lock: &Lock, app: &str, platform: Platform, store: &Store) -> miette::Result<ImagePin>;
}

impl Run<'_> {
    /// Builds the apps whose images are not in the store. What they are made of is there now.
    pub(super) async fn build_apps(&mut self, builder: Option<Arc<dyn AppBuilder>>) -> miette::Result<()> {
        let Some(builder) = builder else { return Ok(()) };
        for (app, platform) in self.apps_to_build() {
            let name = format!("app.{app}");
            if let Some(part) = self.failed_part(&app) {
                let error = NotBuilt { app: app.clone(), part };
                self.failures.push(ArtifactFailure::new(&name, None, &error, false));
                continue;
            }
            let (lock, store, builder, builds) =
                (self.lock.clone(), self.store.clone(), Arc::clone(&builder), app.clone());
            match blocking(move || builder.build(&lock, &builds, platform, &store)).await {
                Ok(pin) => self.take_built(&app, platform, pin),
                Err(report) => {
                    let error = BuildFailed { app: app.clone(), cause: format!("{report:#}") };
                    self.failures.push(ArtifactFailure::new(&name, None, &error, false));
                }
            }
        }
        Ok(())
    }

    fn apps_to_build(&self) -> Vec<(String, Platform)> {
        let in_store = |pin: &ImagePin| pin.blobs().all(|blob| self.store.blob(blob).is_some());
        let selected = self.lock.app.iter().filter(|(name, _)| is_selected(&format!("app.{name}"), &self.request.only));
        let pairs = selected.flat_map(|(name, entry)| {
            let absent = |platform: &&Platform| !entry.platforms.get(platform).is_some_and(in_store);
            self.lock.node.iter().filter(absent).map(move |platform| (name.clone(), *platform)).collect::<Vec<_>>()
        });
        pairs.collect()
    }

    /// The first part of an app that could not be had.
    fn failed_part(&self, app: &str) -> Option<String> {
        let request = &self.lock.app.get(app)?.request;
        let failed = |name: &String| self.failures.iter().any(|failure| failure.artifact == *name);
        let wheels = request.wheels.iter().map(|wheel| format!("wheel.{wheel}"));
        std::iter::once(request.base.clone()).chain(wheels).find(failed)
    }

    fn take_built(&mut self, app: &str, platform: Platform, pin: ImagePin) {
        let Some(entry) = self.lock.app.get_mut(app) else { return };
        let name = format!("app.{app}");
        match entry.platforms.get(&platform) {
            Some(locked) if *locked != pin => {
                let (expected, found) = (locked.manifest, pin.manifest);
                let error = BuiltDiffers { app: app.to_owned(), platform, expected, found };
                self.failures.push(ArtifactFailure::new(&name, None, &error, true));
                return;
            }
            Some(_) => {}
            None => _ = entry.platforms.insert(platform, pin),
        }
        self.built.push(name);
    }
}

/// An app whose parts are not there.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("app.{app} was not built: {part} could not be had")]
#[diagnostic(code(fetch::build), help("run `ztlab fetch` again when {part} is there"))]
struct NotBuilt {
    app: String,
    part: String,
}

/// The builder gave up.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("app.{app} cannot be built: {cause}")]
#[diagnostic(code(fetch::build))]
struct BuildFailed {
    app: String,
    cause: String,
}
