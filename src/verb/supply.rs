//! What `lock`, `fetch` and `store` share: the client that a context describes, and the error that
//! gathers what became of each artifact.

use std::{error::Error, sync::Arc};

use miette::Diagnostic;
use serde::Serialize;

use crate::{
    base::{Descriptor, human_bytes},
    fetch::{Client, DockerConfig, ExtraRoots, MORE_QUOTA, Mirror, Mirrors, Network, Proxies},
    lockfile::Lock,
    store::{NamedImage, Store},
};

use super::Context;

impl Context {
    /// The way out that this context describes. `per_host`: requests to one host at a time.
    ///
    /// # Errors
    /// When a mirror or a proxy is no address, or a file of certificates has none.
    pub fn client(&self, per_host: Option<usize>) -> miette::Result<Client> {
        Ok(Client::new(self.network(per_host)?, Arc::clone(&self.reporter))?)
    }

    /// The same before it is a client.
    ///
    /// # Errors
    /// When a mirror is no address, or a file of certificates has none.
    pub fn network(&self, per_host: Option<usize>) -> miette::Result<Network> {
        let mirrors: Vec<Mirror> =
            self.mirrors.iter().map(|(from, to)| Mirror::new(from, to)).collect::<Result<_, _>>()?;
        let defaults = Network::default();
        Ok(Network {
            offline: self.offline,
            mirrors: Mirrors::new(mirrors),
            per_host: per_host.unwrap_or(defaults.per_host),
            retry: self.retry.clone(),
            proxies: Proxies::of(&self.environment),
            extra_roots: ExtraRoots::read(&self.ca_files)?,
            credentials: DockerConfig::read(&self.environment),
            ..defaults
        })
    }

    /// Opens the store.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub fn open_store(&self) -> miette::Result<Store> {
        Ok(Store::open(&self.store)?)
    }
}

/// One artifact that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ArtifactFailure {
    /// `image.calico-node`
    pub artifact: String,
    /// Which part of it.
    pub part: Option<String>,
    /// Why, down to the first cause.
    pub cause: String,
    /// The cause's own code: `ztlab explain` knows it.
    pub code: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Whether wrong bytes came.
    pub integrity: bool,
}

impl ArtifactFailure {
    /// Takes an error apart.
    pub fn new<E: Diagnostic>(artifact: &str, part: Option<String>, error: &E, integrity: bool) -> Self {
        Self {
            artifact: artifact.to_owned(),
            part,
            cause: chain(error),
            code: error.code().map(|code| code.to_string()),
            help: error.help().map(|help| help.to_string()),
            integrity,
        }
    }
}

/// An error with all its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Transparent errors repeat their cause word by word.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// No space for what is still to come.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the disk of the store {} is full, and {} of this lab are still to come", .store.display(), human_bytes(*.missing))]
#[diagnostic(
    code(store::full),
    help(
        "make space on it (`ztlab store gc` removes what no known lab needs), then run `ztlab fetch` again: it goes on from here"
    )
)]
pub(super) struct DiskFull {
    pub(super) store: std::path::PathBuf,
    pub(super) missing: u64,
}

/// Some artifacts could not be had; everything else was, and is kept.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Incomplete {
    /// Missing: another run may bring them.
    #[error("{} could not be had\n{}", counted(.failures), listed(.failures))]
    #[diagnostic(
        code(fetch::incomplete),
        help(
            "everything else is in the store: run `ztlab fetch` again to go on, or name another source with `--mirror FROM=TO` or `--from DIR`"
        )
    )]
    Missing {
        /// Each with its own cause.
        failures: Vec<ArtifactFailure>,
    },
    /// A registry's quota is used up: another run would not help now.
    #[error("{} could not be had: a registry's quota is used up\n{}", counted(.failures), listed(.failures))]
    #[diagnostic(code(fetch::quota), help("{}; `docker login` raises the limit", MORE_QUOTA))]
    Quota {
        /// Each with its own cause.
        failures: Vec<ArtifactFailure>,
    },
    /// Wrong bytes came: somebody should look before going on.
    #[error("{} could not be had, and wrong bytes came\n{}", counted(.failures), listed(.failures))]
    #[diagnostic(
        code(integrity::fetch),
        help(
            "nothing wrong was stored. Try another source (`--mirror FROM=TO`, `--from DIR`); if upstream itself changed, review it with `ztlab lock --upgrade NAME`"
        )
    )]
    Wrong {
        /// Each with its own cause.
        failures: Vec<ArtifactFailure>,
    },
}

impl Incomplete {
    /// `Ok` when nothing failed.
    ///
    /// # Errors
    /// When something did.
    pub fn unless_empty(mut failures: Vec<ArtifactFailure>) -> Result<(), Self> {
        failures.sort();
        failures.dedup();
        if failures.is_empty() {
            Ok(())
        } else if failures.iter().any(|failure| failure.integrity) {
            Err(Self::Wrong { failures })
        } else if failures.iter().any(|failure| failure.code.as_deref() == Some("fetch::quota")) {
            Err(Self::Quota { failures })
        } else {
            Err(Self::Missing { failures })
        }
    }
}

pub(super) fn counted(failures: &[ArtifactFailure]) -> String {
    let mut names: Vec<&str> = failures.iter().map(|failure| failure.artifact.as_str()).collect();
    names.dedup();
    if names.len() == 1 { "1 artifact".to_owned() } else { format!("{} artifacts", names.len()) }
}

pub(super) fn listed(failures: &[ArtifactFailure]) -> String {
    let line = |failure: &ArtifactFailure| {
        let part = failure.part.as_ref().map(|part| format!(" ({part})")).unwrap_or_default();
        let help = failure.help.as_ref().map(|help| format!("\n      {help}")).unwrap_or_default();
        format!("  {}{part}: {}{help}", failure.artifact, failure.cause)
    };
    failures.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Every image of a lock with the name that other tools shall find it by.
pub(super) fn named_images(lock: &Lock) -> Vec<NamedImage> {
    let named = |reference: &str, top: Descriptor| NamedImage { reference: reference.to_owned(), top };
    let pulled = lock.image.values().filter_map(|entry| {
        let index = entry.index.and_then(|index| index.complete());
        let single = entry.platforms.values().next().map(|pin| pin.manifest);
        Some(named(&entry.want, index.or(single)?))
    });
    let built = lock
        .app
        .values()
        .filter_map(|entry| Some(named(&entry.request.reference, entry.platforms.values().next()?.manifest)));
    pulled.chain(built).collect()
}
