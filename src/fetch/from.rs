//! `--from SOURCE`: places that may have the lab's bytes already. The lock alone decides what is right; a source that
//! lacks something is passed over, and one that has other bytes is named. Here are those on this machine, which are
//! asked in turn; the others are `lanes`.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use url::Url;

use crate::{
    base::{Event, Reporter, human_bytes, report::next_transfer_id},
    plan::PlannedBlob,
    store::{Slot, Store, StoreError},
};

use super::{Client, RegistryAddress, RegistryAddressError, blob::blocking, docker, lanes::UPSTREAM, local, saved};

/// Read size.
const PIECE: usize = 512 * 1024;

/// A place to look in before upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder: another store, an OCI image layout, Minikube's cache, or one with files and saved images in it.
    Folder(PathBuf),
    /// A tar of images (`docker save`, `minikube image save`, an OCI archive), gzipped or not.
    Archive(PathBuf),
    /// Another store behind a web server: `URL/blobs/sha256/…`.
    Store(Url),
    /// A lab in a registry, as `ztlab push` left it.
    Registry(RegistryAddress),
    /// The Docker of this machine.
    Docker,
    /// Everybody whom the lock names, or their mirrors.
    Upstream,
}

/// `--from` names nothing that can be looked in.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{text}` is no source: {problem}")]
#[diagnostic(
    code(usage::from),
    help(
        "--from takes a folder, a tar of images, the address of another store (`http://10.0.0.5:8000/store`) or of a lab in a registry (`oci://registry.school.example/zerotrust`), `docker`, `minikube` or `upstream`"
    )
)]
pub struct SourceError {
    text: String,
    problem: String,
}

impl Source {
    /// Reads what a person wrote. `minikube` is the cache in `minikube_home`; a folder of that name is `./minikube`.
    ///
    /// # Errors
    /// When there is nothing of that name, or the address is none.
    pub fn parse(text: &str, minikube_home: &Path) -> Result<Self, SourceError> {
        let error = |problem: String| SourceError { text: text.to_owned(), problem };
        match text {
            "docker" => return Ok(Self::Docker),
            UPSTREAM => return Ok(Self::Upstream),
            _ => {}
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            let url = Url::parse(text).map_err(|cause| error(cause.to_string()))?;
            return Ok(Self::Store(url));
        }
        if RegistryAddress::is_one(text) {
            return text.parse().map(Self::Registry).map_err(|cause: RegistryAddressError| error(cause.problem));
        }
        let path = if text == "minikube" { minikube_home.join("cache") } else { PathBuf::from(text) };
        match fs_err::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self::Folder(path)),
            Ok(_) => Ok(Self::Archive(path)),
            Err(cause) => Err(error(cause.to_string())),
        }
    }

    /// What messages call it.
    pub fn shown(&self) -> String {
        match self {
            Self::Folder(path) | Self::Archive(path) => path.display().to_string(),
            Self::Store(url) => super::source::shown(url),
            Self::Registry(address) => address.to_string(),
            Self::Docker => "Docker".to_owned(),
            Self::Upstream => UPSTREAM.to_owned(),
        }
    }

    /// Whether it is on this machine: asking it costs nothing, so it comes before all others.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Folder(_) | Self::Archive(_) | Self::Docker)
    }
}

impl From<PathBuf> for Source {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

/// Takes what a source on this machine has, every byte checked, and returns what is still missing. Says what was taken,
/// and why a source was passed over. Other sources have nothing here: see [`super::Lanes`]. `environment` is for the programs of [`Source::Docker`].
///
/// # Errors
/// When our own store fails.
pub async fn take_from(
    source: &Source,
    client: &Client,
    store: &Store,
    missing: Vec<PlannedBlob>,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<PlannedBlob>, StoreError> {
    if missing.is_empty() || !source.is_local() {
        return Ok(missing);
    }
    let before: u64 = missing.iter().map(|blob| blob.descriptor.size).sum();
    let count = missing.len();
    let name = source.shown();
    let (local, environment) = (source.clone(), environment.clone());
    let (own_store, reporter, shown) = (store.clone(), client.shared_reporter(), name.clone());
    let work = move || {
        let passed_over = Cell::new(false);
        let place = Place { name: &shown, store: &own_store, reporter: &reporter, passed_over: &passed_over };
        let left = match &local {
            Source::Archive(path) => saved::take_file(path, &place, missing),
            Source::Docker => docker::take(&environment, &place, missing),
            Source::Folder(path) => local::take(path, &place, missing),
            Source::Store(_) | Source::Registry(_) | Source::Upstream => Ok(missing),
        }?;
        Ok::<_, StoreError>((left, passed_over.get()))
    };
    let (left, passed_over) = blocking(work).await?;
    let bytes = before - left.iter().map(|blob| blob.descriptor.size).sum::<u64>();
    let text = match count - left.len() {
        // The reason has been told.
        0 if passed_over => return Ok(left),
        0 => format!("{name} has none of the {count} missing blobs"),
        taken => format!("{name} had {taken} of {count} missing blobs ({})", human_bytes(bytes)),
    };
    client.reporter().report(Event::Note { text });
    Ok(left)
}

/// A source at work.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) store: &'a Store,
    pub(super) reporter: &'a Arc<dyn Reporter>,
    pub(super) passed_over: &'a Cell<bool>,
}

/// What became of a blob that a source offered.
pub(super) enum Offer {
    Taken,
    /// It is not the locked one, or cannot be read; that has been told.
    Refused,
}

impl Place<'_> {
    /// Says that the source was not used, and why.
    pub(super) fn pass_over(&self, why: &str) {
        self.passed_over.set(true);
        self.reporter.report(Event::Warning { text: format!("{} is passed over: {why}", self.name) });
    }

    /// Takes a blob from a reader that should give exactly its bytes.
    pub(super) fn take(&self, blob: &PlannedBlob, mut bytes: impl Read) -> Result<Offer, StoreError> {
        let descriptor = blob.descriptor;
        let slot = self.store.begin(descriptor.into(), &descriptor.digest.hex(), self.reporter.as_ref())?;
        let Slot::Empty(mut ingest) = slot else { return Ok(Offer::Taken) };
        let id = next_transfer_id();
        let started = Event::TransferStarted { id, name: blob.label.clone(), total: Some(descriptor.size) };
        self.reporter.report(started);
        ingest.restart()?;
        let mut piece = vec![0; PIECE];
        let mut problem = None;
        loop {
            let count = match bytes.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                // The source's disk, not ours.
                Err(error) => {
                    problem = Some(error.to_string());
                    break;
                }
            };
            match ingest.append(&piece[..count]) {
                Ok(()) => self.reporter.report(Event::TransferProgress { id, bytes: count as u64 }),
                Err(error) if error.is_local() => return Err(error),
                Err(error) => {
                    problem = Some(error.to_string());
                    break;
                }
            }
        }
        let problem = match problem {
            Some(problem) => {
                // What came is not to be trusted as anybody's first half.
                ingest.restart()?;
                Some(problem)
            }
            None => match ingest.finish() {
                Ok(_) => None,
                Err(error) if error.is_local() => return Err(error),
                Err(error) => Some(error.to_string()),
            },
        };
        match problem {
            None => {
                self.reporter.report(Event::TransferFinished { id });
                Ok(Offer::Taken)
            }
            Some(problem) => {
                let error = format!("{} has it damaged: {problem}", self.name);
                self.reporter.report(Event::TransferFailed { id, error, retrying: false });
                Ok(Offer::Refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_what_its_text_looks_like() {
        let home = tempfile::tempdir().unwrap();
        let archive = home.path().join("images.tar");
        fs_err::create_dir_all(home.path().join("cache")).unwrap();
        fs_err::write(&archive, "").unwrap();
        let parse = |text: &str| Source::parse(text, home.path());
        assert_eq!(parse("minikube").unwrap(), Source::Folder(home.path().join("cache")));
        assert_eq!(parse("docker").unwrap(), Source::Docker);
        assert_eq!(parse("upstream").unwrap(), Source::Upstream);
        assert_eq!(parse(archive.to_str().unwrap()).unwrap(), Source::Archive(archive.clone()));
        assert_eq!(parse("http://u:secret@10.0.0.5/store").unwrap().shown(), "http://10.0.0.5/store");
        let registry = parse("oci://registry.school.example/zerotrust:3f2a").unwrap();
        assert!(matches!(&registry, Source::Registry(_)) && !registry.is_local());
        for nothing in ["/nowhere/at/all", "http://", "https://[broken", "oci://registry.school.example"] {
            let error = parse(nothing).unwrap_err();
            assert!(error.to_string().contains(nothing), "{error}");
        }
    }
}
