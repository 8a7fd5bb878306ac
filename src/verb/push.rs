//! `ztlab push`: the lab into a registry of others.

use std::{path::PathBuf, sync::Arc};

use serde::Serialize;

use super::{Context, install, signature};
use crate::{
    base::{Digest, Platform},
    bundle::{Identity, Program, read_lab},
    fetch::{Client, FetchError, RegistryAddress, blocking},
    push::{PushPlan, push},
};

/// Uploads at a time, unless the command line says otherwise.
pub const DEFAULT_JOBS: usize = 4;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to.
    pub destination: RegistryAddress,
    /// Blobs at a time.
    pub jobs: usize,
    /// Bytes per second over all connections; `None` is no limit.
    pub max_rate: Option<u64>,
    /// Programs to take along: ztlab for each platform.
    pub programs: Vec<PathBuf>,
}

/// ztlab itself in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushedProgram {
    /// Where it runs.
    pub platform: Platform,
    /// SHA-256 of it.
    pub digest: Digest,
    /// Where a browser or curl finds it, if the registry lets everybody read.
    pub url: String,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The lab's artifact with tag and digest, as `ztlab pull` takes it.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The lab.
    pub lab: Identity,
    /// Repositories that hold it.
    pub repositories: usize,
    /// Blobs that it consists of there, each counted once.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs whose bytes were sent in this run.
    pub sent_blobs: usize,
    /// Bytes of blobs and manifests that were sent in this run.
    pub sent_bytes: u64,
    /// Blobs that the registry took from another of its repositories.
    pub mounted_blobs: usize,
    /// Manifests and indexes that were sent in this run.
    pub sent_manifests: usize,
    /// Programs in it.
    pub programs: Vec<PushedProgram>,
    /// Requests that went out.
    pub requests: u64,
}

/// A destination that names what is still to be made.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{address} names a digest, and that is known when the lab is there")]
#[diagnostic(code(usage::registry), help("push to a name and a tag: oci://registry.school.example/zerotrust:TAG"))]
struct Digested {
    address: String,
}

/// Pushes the lab.
///
/// # Errors
/// When the lab is not complete in the store, its signature does not fit, or a part of it did not arrive.
pub async fn run(context: &Context, request: Request) -> miette::Result<Outcome> {
    let Request { destination, jobs, max_rate, programs } = request;
    if destination.digest().is_some() {
        return Err(Digested { address: destination.to_string() }.into());
    }
    let mut network = context.network(Some(jobs.max(1) * 2))?;
    network.max_rate = max_rate;
    network.mirrors.name(destination.base().clone());
    let client = Arc::new(Client::new(network, Arc::clone(&context.reporter))?);
    let work = context.clone();
    let (plan, lab, store) = blocking(move || {
        let complete = install::whole(&work)?;
        signature::introduce(&work, complete.lock())?;
        let lab = Identity { name: complete.lock().name.clone(), id: complete.lock().lab_id() };
        let plan = PushPlan::new(&complete, read_lab(&work.lab)?, &programs, destination)?;
        Ok::<_, miette::Report>((plan, lab, complete.store().clone()))
    })
    .await?;
    let digest = plan.artifact.digest();
    let (repositories, blobs) = (plan.repositories().len(), plan.blobs.len());
    let bytes = plan.blobs.iter().map(|placed| placed.blob.descriptor.size).sum();
    let reference = plan.address.clone().pinned(digest).to_string();
    let programs = plan.programs.iter().map(|program| {
        let Program { platform, file } = program;
        let url = plan.address.blob(&file.digest)?.shown();
        Ok(PushedProgram { platform: *platform, digest: file.digest, url })
    });
    let programs = programs.collect::<Result<_, FetchError>>()?;
    let report = push(&client, plan, jobs).await?;
    // Open until here: nobody collected what was still to be sent.
    drop(store);
    Ok(Outcome {
        reference,
        digest,
        lab,
        repositories,
        blobs,
        bytes,
        sent_blobs: report.sent_blobs,
        sent_bytes: report.sent_bytes,
        mounted_blobs: report.mounted_blobs,
        sent_manifests: report.sent_manifests,
        programs,
        requests: client.requests(),
    })
}
