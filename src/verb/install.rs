//! `install`: the whole lab, from the store only.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{
    Context,
    build::unlocked,
    plan::Planned,
    profile::{self, Chosen},
    shell, signature,
};
use crate::{
    base::{Event, Platform},
    cluster::{client::Cluster, process::Environment},
    lockfile::{self, CheckedLock, Lock, Profile},
    plan::Complete,
    resolve::source_digest,
    step::{Install, Options, Report, Setup, Step, Target, dry_run::Changes, egress::Watch, undo::Removed},
    store::Store,
};

/// This machine or this lab has no platform that fits.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PlatformError {
    /// ztlab does not know the machine.
    #[error("ztlab has no lab for this machine ({} on {})", std::env::consts::OS, std::env::consts::ARCH)]
    #[diagnostic(code("machine::platform"), help("use an Apple silicon Mac or a Linux machine"))]
    Machine,
    /// The lock is for others.
    #[error("the lock has no {side} platform for this machine: expected {expected}, found {found}")]
    #[diagnostic(
        code("lock::platform"),
        help("add \"{expected}\" to `{side}` in lock/ztlab.toml, then `ztlab lock` and `ztlab fetch`")
    )]
    Lock {
        /// `host` or `node`.
        side: &'static str,
        /// This machine's.
        expected: String,
        /// The lock's.
        found: String,
    },
}

/// The lab of a context as a profile has it, every locked byte of that at hand.
///
/// # Errors
/// When the lock has gaps that matter or its signature does not fit, or the store lacks a blob: the error names it.
pub fn complete(context: &Context, lock: &Lock, profile: Profile) -> miette::Result<Complete> {
    // Gaps are told before a store is made.
    CheckedLock::new(lock.narrowed(&profile))?;
    signature::judge(context, lock)?;
    let store = Store::open(&context.store)?;
    if let Err(error) = super::store::note(context, &store, lock) {
        // Nobody collects in a store that cannot be written.
        tracing::debug!(%error, "the store does not know this lab");
    }
    Ok(Complete::open_as(lock, profile, store)?)
}

/// The whole lab: whoever hands it on hands on every profile.
///
/// # Errors
/// As for [`complete`], and when the lock cannot be read.
pub fn whole(context: &Context) -> miette::Result<Complete> {
    complete(context, &lockfile::read(&context.lock_path())?, Profile::default())
}

/// Prepares the steps for a target.
///
/// # Errors
/// When the lab is incomplete or not for this machine.
pub async fn prepare(context: &Context, target: Target, options: Options) -> miette::Result<Install> {
    Ok(prepare_watched(context, target, options, None).await?.0)
}

/// The same, with somebody who counts what tries to leave; and how the profile was chosen.
async fn prepare_watched(
    context: &Context,
    target: Target,
    options: Options,
    egress: Option<Arc<Watch>>,
) -> miette::Result<(Install, Chosen)> {
    let lock = lockfile::read(&context.lock_path())?;
    let chosen = profile::choose(context, &target, &lock, options.profile.as_deref()).await?;
    let complete = complete(context, &lock, chosen.profile.clone())?;
    let host = Platform::current().ok_or(PlatformError::Machine)?;
    locked_for("host", host, &complete.lock().host)?;
    let node = node_platform(complete.lock())?;
    let environment = match &egress {
        Some(watch) => scrubbed(context).offline_by(&watch.proxy(), []),
        None => children(context),
    };
    let install = Install::new(Setup {
        lab: context.lab.clone(),
        complete,
        target,
        host,
        node,
        environment,
        minikube_home: minikube_home(context),
        journals: context.journals.clone(),
        kubeconfig: kubeconfig(context),
        options,
        egress,
        reporter: context.reporter.clone(),
    });
    Ok((install, chosen))
}

/// The platform of a node on this machine, which the lock has to know.
pub(super) fn node_platform(lock: &Lock) -> Result<Platform, PlatformError> {
    let node = match Platform::current().ok_or(PlatformError::Machine)? {
        Platform::DarwinArm64 | Platform::LinuxArm64 => Platform::LinuxArm64,
        Platform::LinuxAmd64 => Platform::LinuxAmd64,
    };
    locked_for("node", node, &lock.node)?;
    Ok(node)
}

fn locked_for(side: &'static str, platform: Platform, locked: &[Platform]) -> Result<(), PlatformError> {
    if locked.contains(&platform) {
        return Ok(());
    }
    let found = locked.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(PlatformError::Lock { side, expected: platform.to_string(), found })
}

/// The environment of programs that ztlab starts: offline, they have no way out.
pub(super) fn children(context: &Context) -> Environment {
    let environment = scrubbed(context);
    if context.offline { environment.offline([]) } else { environment }
}

/// What programs that ztlab starts may see of this process' environment.
fn scrubbed(context: &Context) -> Environment {
    let environment = Environment::scrubbed(context.environment.clone());
    // A socket on this machine is the user's choice of a Docker; an address elsewhere would move the node there.
    match context.environment.get("DOCKER_HOST").filter(|host| host.starts_with("unix://")) {
        Some(host) => environment.with("DOCKER_HOST", host.clone()),
        None => environment,
    }
}

/// Installs; says whether anything changed. With `record`, what the cluster asked for is written to that file, after an
/// install that failed as well: an image that is missed is seen there.
///
/// # Errors
/// The first step's that fails; else why there is no record.
pub async fn run(context: &Context, target: Target, options: Options, record: Option<&Path>) -> miette::Result<Report> {
    let watch = if options.offline { Some(Arc::new(Watch::start().await?)) } else { None };
    let (install, chosen) = prepare_watched(context, target, options, watch.clone()).await?;
    signature::introduce(context, install.complete.whole_lock())?;
    say_profile(context, &chosen);
    for app in edited(&context.lab, install.complete.lock()) {
        context.reporter.report(Event::Warning { text: format!("{} (the locked image is installed)", unlocked(&app)) });
    }
    let result = match &watch {
        Some(watch) => watched(&install, watch).await,
        None => install.run().await,
    };
    let Some(path) = record else { return result };
    match super::record::write(&install, path).await {
        Ok(containers) => context.reporter.report(Event::Note {
            text: format!("{containers} containers and the node's images are recorded in {}", path.display()),
        }),
        // The step's own error is the one to read.
        Err(error) if result.is_ok() => return Err(error),
        Err(_) => {}
    }
    result
}

/// Says how much of the lab this is, where that is not everything or not what a person just typed.
fn say_profile(context: &Context, chosen: &Chosen) {
    let Chosen { profile, asked } = chosen;
    if profile.is_full() {
        return;
    }
    let how = if *asked { "" } else { ", as it was there before (`--profile full` is the whole lab)" };
    let without = profile.without.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    context.reporter.report(Event::Note { text: format!("profile {}{how}: without {without}", profile.name) });
}

/// Runs an offline install and looks after what left meanwhile. What was refused is told after a failure too: a program
/// that wanted the network may be the reason.
async fn watched(install: &Install, watch: &Watch) -> miette::Result<Report> {
    // A connection of its own: a cluster that is about to be started may get another address.
    let before = Cluster::connect(install.kubeconfig.as_deref(), install.target.context()).await;
    watch.remember(before.ok().as_ref()).await;
    let result = install.run().await;
    let egress = watch.report(install.connect().await.ok()).await;
    match result {
        Ok(report) => {
            egress.verdict()?;
            Ok(Report { egress: Some(egress), ..report })
        }
        Err(error) => {
            if egress.attempts() > 0 {
                install.reporter.report(Event::Note { text: egress.to_string() });
            }
            Err(error)
        }
    }
}

/// The apps whose files are not the locked ones, or not there. An install is made of locked bytes only, so it neither
/// builds them nor needs them.
fn edited(lab: &Path, lock: &Lock) -> Vec<String> {
    let mut edited = Vec::new();
    for (name, entry) in &lock.app {
        // A folder that holds a lock and a store, and no sources, is enough for an install.
        if lab.join(&entry.request.path).is_dir() && source_digest(lab, name, &entry.request).ok() != entry.source {
            edited.push(name.clone());
        }
    }
    edited
}

/// What an install would do: the plan, and what would become of the cluster's objects.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DryRun {
    /// The steps to come.
    #[serde(flatten)]
    pub planned: Planned,
    /// The objects, as far as there is a cluster to ask.
    #[serde(flatten)]
    pub changes: Changes,
}

/// Plans an install and asks the cluster what it would change; changes nothing.
///
/// # Errors
/// When the lab is incomplete, or the server refuses an object.
pub async fn dry_run(context: &Context, target: Target, options: Options) -> miette::Result<DryRun> {
    let install = prepare(context, target, options).await?;
    Ok(DryRun { planned: super::plan::of(&install)?, changes: install.changes().await? })
}

/// Takes the lab back down to a step, which stays; with `None`, away.
///
/// # Errors
/// When the cluster refuses.
pub async fn reset(context: &Context, target: Target, options: Options, to: Option<Step>) -> miette::Result<Removed> {
    prepare(context, target, options).await?.reset(to).await
}

/// Minikube's folder: `$MINIKUBE_HOME/.minikube`, or `$MINIKUBE_HOME` itself when it already ends so
/// (kubernetes/minikube v1.32.0, `pkg/minikube/localpath/localpath.go:42-51`).
pub fn minikube_home(context: &Context) -> PathBuf {
    let home = || context.environment.get("HOME").cloned().unwrap_or_default();
    let base = PathBuf::from(context.environment.get("MINIKUBE_HOME").cloned().unwrap_or_else(home));
    if base.file_name().is_some_and(|name| name == ".minikube") { base } else { base.join(".minikube") }
}

/// `$KUBECONFIG` when it names one file; a list is left to the tools that merge it.
pub(super) fn kubeconfig(context: &Context) -> Option<PathBuf> {
    let Some(value) = context.environment.get("KUBECONFIG").filter(|value| !value.is_empty()) else {
        // In a lab's shell this process has that variable all the same, and a library that reads it would take it.
        let home = context.environment.get("HOME").filter(|_| context.environment.contains_key(shell::NAME))?;
        return Some(Path::new(home).join(".kube/config"));
    };
    let mut files = std::env::split_paths(value);
    let first = files.next()?;
    files.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_source_file_is_an_edit_and_stops_no_install() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let lock = lockfile::read(&project.join("lock/ztlab.lock")).unwrap();
        assert_eq!(edited(project, &lock), Vec::<String>::new());
        let lab = tempfile::tempdir().unwrap();
        assert_eq!(edited(lab.path(), &lock), Vec::<String>::new(), "a lab without sources is whole");
        fs_err::create_dir_all(lab.path().join("app/frontend")).unwrap();
        assert_eq!(edited(lab.path(), &lock), ["frontend"]);
    }
}
