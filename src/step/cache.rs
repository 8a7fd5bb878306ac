//! Fills Minikube's own offline cache. Minikube asks only whether the files exist, so their bytes are ours to check.
//!
//! ```text
//! MINIKUBE_HOME/cache/linux/arm64/v1.28.3/{kubelet,kubeadm,kubectl}
//! MINIKUBE_HOME/cache/images/arm64/registry.k8s.io/pause_3.9           (docker-archive, no extension)
//! ```
//! (kubernetes/minikube v1.32.0, `pkg/minikube/download/binary.go:57-78`, `pkg/minikube/image/cache.go:66-73`.)
//!
//! `cache/kic` stays empty: Minikube reads it only when Docker lacks the node's image, and the step after this one sees to
//! it that Docker has it, by its ID. `cache/preloaded-tarball` is not used at all (`--preload=false`).

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{
    images::{self, Role},
    report::Done,
    run::{Install, InstallError},
    setup::version,
    tool::{self, copy_executable, digest_of},
};
use crate::{
    base::human_bytes,
    demand::minikube::NODE_PROGRAMS,
    image::archive::{Archive, ArchiveImage},
};

/// The cache cannot be filled.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot place {what} in Minikube's cache")]
#[diagnostic(code("machine::cache"), help("look at the free space and the rights of {}", .path.display()))]
pub(super) struct CacheError {
    what: String,
    path: PathBuf,
    source: io::Error,
}

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let kubernetes = version(&install.complete.lock().version, "kubernetes")?;
    let cache = install.minikube_home.join("cache");
    let architecture = install.node.architecture();
    let (mut written, mut files) = (0, 0);
    for (entry, name) in NODE_PROGRAMS {
        let blob = tool::node_program(install, entry, install.node)?;
        let path = cache.join(format!("linux/{architecture}/v{kubernetes}/{name}"));
        let error = |source| CacheError { what: name.to_owned(), path: path.clone(), source };
        files += 1;
        if !path.is_file() || digest_of(&path).map_err(error)? != blob.descriptor().digest {
            copy_executable(blob.path(), &path).map_err(error)?;
            written += blob.descriptor().size;
        }
    }
    for image in images::of_lock(install.complete.lock(), install.node) {
        if image.role != Role::Bootstrap {
            continue;
        }
        let path = cache.join("images").join(architecture).join(file_name(&image.image.reference));
        let (complete, platform, target) = (install.complete.clone(), install.node, path.clone());
        let wrote = tokio::task::spawn_blocking(move || place_archive(&complete, &image.image, platform, &target))
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
            .map_err(|source| CacheError { what: image.name, path, source })?;
        files += 1;
        written += wrote;
    }
    let place = cache.display();
    Ok(if written == 0 {
        Done::unchanged(format!("{files} files in {place} have the locked bytes"))
    } else {
        Done::changed(format!("{files} files in {place}, {} written", human_bytes(written)))
    })
}

/// Minikube's file name of an image: the tag's colon becomes an underscore.
fn file_name(reference: &str) -> String {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => format!("{repository}_{tag}"),
        _ => reference.to_owned(),
    }
}

/// Writes the archive unless the file already has exactly its bytes; the number of bytes written.
fn place_archive(
    complete: &crate::plan::Complete,
    image: &ArchiveImage,
    platform: crate::base::Platform,
    path: &Path,
) -> io::Result<u64> {
    let archive = Archive::plan(std::slice::from_ref(image), platform, complete)?;
    if fs_err::metadata(path).is_ok_and(|found| found.len() == archive.size()) {
        let found = io::BufReader::with_capacity(1 << 20, fs_err::File::open(path)?);
        let mut comparing = Comparing { found, differs: false };
        match archive.write_to(complete, &mut comparing) {
            Ok(()) => return Ok(0),
            Err(error) if !comparing.differs => return Err(error),
            Err(_) => {}
        }
    }
    let folder = path.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    fs_err::create_dir_all(folder)?;
    let mut temporary = tempfile::Builder::new().prefix(".ztlab-").tempfile_in(folder)?;
    archive.write_to(complete, io::BufWriter::with_capacity(1 << 20, temporary.as_file_mut()))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(archive.size())
}

/// Takes what should be in a file and compares it with what is: the blobs were hashed by the step before, so this says
/// as much about the file as its digest would, and reads each only once.
struct Comparing<R> {
    found: R,
    differs: bool,
}

impl<R: Read> Write for Comparing<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut found = vec![0; bytes.len()];
        self.found.read_exact(&mut found)?;
        if found != bytes {
            self.differs = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_that_differs_is_found_and_a_broken_file_is_no_difference() {
        let compare = |found: &[u8]| {
            let mut comparing = Comparing { found, differs: false };
            let written = comparing.write_all(b"what should be").is_ok();
            (written, comparing.differs)
        };
        assert_eq!(compare(b"what should be"), (true, false));
        assert_eq!(compare(b"what should bE"), (false, true));
        assert_eq!(compare(b"what"), (false, false));
    }

    #[test]
    fn file_names_are_minikubes() {
        assert_eq!(file_name("registry.k8s.io/coredns/coredns:v1.10.1"), "registry.k8s.io/coredns/coredns_v1.10.1");
        assert_eq!(file_name("127.0.0.1:5000/pause"), "127.0.0.1:5000/pause");
    }
}
