//! `ztlab pull`: a lab out of a registry onto a machine that has nothing of it: its folder, then its blobs.

use std::{path::PathBuf, sync::Arc};

use serde::Serialize;

use super::{Context, bundle, fetch};
use crate::{
    base::{Descriptor, Digest},
    bundle::{Identity, LOCK, LabFileBytes, document::read_artifact, look_at_lab, write_lab},
    fetch::{Client, FetchError, RegistryAddress, Source},
    lockfile::{self, CheckedLock, LockError},
};

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where from.
    pub source: RegistryAddress,
    /// The digest of the lab's manifest, when somebody said it.
    pub expected: Option<Digest>,
    /// The lab's folder.
    pub into: Option<PathBuf>,
    /// The folder that we stand in: a lab that is none of ours gets a folder of its name in it.
    pub here: PathBuf,
    /// Overwrite files that differ.
    pub replace: bool,
    /// Downloads at a time.
    pub jobs: usize,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The lab's folder.
    pub folder: PathBuf,
    /// The lab.
    pub lab: Identity,
    /// The lab's artifact with its digest.
    pub reference: String,
    /// Files of the lab's folder that were not there.
    pub new_files: usize,
    /// Those that had other bytes.
    pub replaced_files: Vec<String>,
    /// What came into the store.
    pub fetched: fetch::Outcome,
}

/// Something else than the lab that was meant.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum PullError {
    /// Which of its versions?
    #[error("{address} names neither a tag nor a digest")]
    #[diagnostic(
        code(usage::registry),
        help("write it as `ztlab push` printed it: {address}:TAG, or with @sha256:… as well")
    )]
    Unnamed {
        /// The place.
        address: String,
    },
    /// Other bytes than the digest that somebody said.
    #[error("{address} is another one: expected {expected}, found {found}")]
    #[diagnostic(
        code(integrity::pull),
        help("ask whoever gave you the digest for the right address; nothing was taken")
    )]
    Other { address: String, expected: Digest, found: Digest },
    /// No artifact of ztlab.
    #[error("{address} is no lab: {problem}")]
    #[diagnostic(code(pull::none), help("name what `ztlab push` printed; nothing was taken"))]
    NoLab { address: String, problem: String },
    /// A file that is not what the manifest says.
    #[error("{path} of {address} has other bytes than its manifest says: expected {expected}, found {found}")]
    #[diagnostic(code(integrity::pull), help("do not use this registry; nothing was taken"))]
    File { path: String, address: String, expected: Digest, found: Digest },
    /// Its lock is none.
    #[error("the lock of {address} cannot be used")]
    #[diagnostic(code(pull::lock), help("it was not made by `ztlab push`; nothing was taken"))]
    Lock {
        address: String,
        #[source]
        source: Box<LockError>,
    },
    /// The registry.
    #[error("the lab at {address} cannot be had")]
    #[diagnostic(code(pull::registry), help("{}", advice(source)))]
    Registry {
        address: String,
        #[source]
        source: FetchError,
    },
    /// Refused before anything was asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(FetchError),
}

fn advice(error: &FetchError) -> &'static str {
    match error {
        FetchError::Status { status, .. } if status.as_u16() == 404 => {
            "is the tag right? Write the address as `ztlab push` printed it"
        }
        FetchError::Status { status, .. } if matches!(status.as_u16(), 401 | 403) => {
            "it is not public, or not there: sign in with `docker login`, ztlab uses the same credentials"
        }
        FetchError::Token { .. } => "sign in with `docker login`: ztlab uses the same credentials",
        _ => "look at the network, then run the same command again",
    }
}

/// Pulls a lab.
///
/// # Errors
/// When there is none, something of it is not what its digest says, the folder has other files, or not every blob could
/// be had; then the folder is there, and the same command goes on.
pub async fn run(
    context: &Context,
    request: Request,
    builder: Option<Arc<dyn fetch::AppBuilder>>,
) -> miette::Result<Outcome> {
    let Request { source, expected, into, here, replace, jobs } = request;
    let artifact = Artifact::read(context, source, expected).await?;
    let folder = bundle::folder(context, into, &here, &artifact.lock);
    if !replace {
        look_at_lab(&folder, &artifact.files)?;
    }
    let written = write_lab(&folder, &artifact.files, replace)?;
    let inside = Context { lab: folder.clone(), ..context.clone() };
    let request = fetch::Request {
        locked: true,
        from: vec![Source::Registry(artifact.address.clone())],
        jobs: Some(jobs),
        ..fetch::Request::default()
    };
    let fetched = fetch::run(&inside, &request, builder).await?;
    Ok(Outcome {
        folder,
        lab: Identity { name: artifact.lock.name.clone(), id: artifact.lock.lab_id() },
        reference: artifact.address.to_string(),
        new_files: written.new,
        replaced_files: written.replaced,
        fetched,
    })
}

/// A lab's artifact, read and compared.
struct Artifact {
    /// With its digest.
    address: RegistryAddress,
    files: Vec<LabFileBytes>,
    lock: CheckedLock,
}

impl Artifact {
    async fn read(
        context: &Context,
        source: RegistryAddress,
        expected: Option<Digest>,
    ) -> Result<Self, miette::Report> {
        if source.name().is_none() {
            return Err(PullError::Unnamed { address: source.to_string() }.into());
        }
        let mut network = context.network(None)?;
        network.mirrors.name(source.base().clone());
        let client = Client::new(network, Arc::clone(&context.reporter))?;
        let address = source.to_string();
        let none = |problem: String| PullError::NoLab { address: address.clone(), problem };
        let failed = |source: FetchError| match source {
            FetchError::Offline { .. } | FetchError::PlainHttp { .. } => PullError::Fetch(source),
            source => PullError::Registry { address: address.clone(), source },
        };
        let location = source.manifest().map_err(failed)?;
        let manifest = client.document(&[location]).await.map_err(failed)?.bytes;
        let found = Digest::of(&manifest);
        for expected in [source.digest(), expected].into_iter().flatten() {
            if expected != found {
                return Err(PullError::Other { address: address.clone(), expected, found }.into());
            }
        }
        let mut files = Vec::new();
        for entry in read_artifact(&manifest).map_err(none)? {
            let location = source.blob(&entry.file.digest).map_err(failed)?;
            let bytes = client.document(&[location]).await.map_err(failed)?.bytes;
            if Descriptor::of(&bytes) != entry.file {
                let (path, expected, found) = (entry.path, entry.file.digest, Digest::of(&bytes));
                return Err(PullError::File { path, address: address.clone(), expected, found }.into());
            }
            files.push(LabFileBytes { entry, bytes });
        }
        let lock = read_lock(&files, &address)?;
        Ok(Self { address: source.pinned(found), files, lock })
    }
}

fn read_lock(files: &[LabFileBytes], address: &str) -> Result<CheckedLock, PullError> {
    let none = |problem: String| PullError::NoLab { address: address.to_owned(), problem };
    let bytes = files.iter().find(|file| file.entry.path == LOCK).map(|file| file.bytes.clone());
    let text = String::from_utf8(bytes.unwrap_or_default()).map_err(|_| none("its lock is no text".to_owned()))?;
    let lock = lockfile::parse(&text)
        .map_err(|source| PullError::Lock { address: address.to_owned(), source: Box::new(source) })?;
    CheckedLock::new(lock).map_err(|error| none(format!("its lock is not complete: {error}")))
}
