//! Every image into the node's runtime, then read back: the proof is the runtime's own answer, not our exit code.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::{
    graph::{Step, Target},
    images::{self, LabImage, Role},
    report::Done,
    run::{Install, InstallError},
};
use crate::{
    base::{Event, Reporter, human_bytes, report::next_transfer_id},
    image::{
        Blobs,
        archive::{Archive, ArchiveImage},
    },
    node::{ImageId, Node, NodeAddress},
};

/// Two streams keep two cores of the node busy: the runtime unpacks one layer of a stream at a time.
const STREAMS: usize = 2;
/// Between the archive's writer and the runtime.
const PIPE: usize = 1 << 20;
/// 1.5 GiB of images took two minutes on two cores; a laptop on battery may take several times that.
pub(super) const LOAD: Duration = Duration::from_secs(1800);

/// The node's images are not the locked ones.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the node's images are not the locked ones:\n{}", .findings.join("\n"))]
#[diagnostic(
    code("preload::proof"),
    help("run the same command again: it loads what is missing; `ztlab verify --probe images-present` shows the rest")
)]
pub(super) struct PreloadError {
    pub(super) findings: Vec<String>,
}

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let node = connect(install).await?;
    let expected = expected(install);
    let present = node.images(install.node).await?;
    let missing: Vec<ArchiveImage> =
        expected.iter().filter(|image| !holds(&present, &image.image)).map(|image| image.image.clone()).collect();
    if missing.is_empty() {
        return Ok(Done::unchanged(format!("the node holds all {} images under their locked digests", expected.len())));
    }
    install.waiting(Step::Preload)(format!("{} images to be loaded", missing.len()));
    let count = missing.len();
    let loads = split(missing).into_iter().enumerate().map(|(number, images)| {
        let node = &node;
        async move {
            let archive =
                Archive::plan(&images, install.node, &install.complete).map_err(crate::store::StoreError::from)?;
            let size = archive.size();
            let names: Vec<String> = images.iter().map(|image| image.reference.clone()).collect();
            let input = stream(install, &format!("images to the node, stream {}", number + 1), archive);
            node.load(Box::pin(input), &names, install.node, LOAD).await?;
            Ok::<_, InstallError>(size)
        }
    });
    let sizes = futures::future::try_join_all(loads).await?;
    let present = node.images(install.node).await?;
    let findings: Vec<String> = expected
        .iter()
        .filter(|image| !holds(&present, &image.image))
        .map(|image| {
            let found = present.get(&image.image.reference).map_or("nothing".to_owned(), |id| id.config.to_string());
            format!("  {}: expected {}, found {found}", image.image.reference, image.image.config.digest)
        })
        .collect();
    if !findings.is_empty() {
        return Err(PreloadError { findings }.into());
    }
    let bytes: u64 = sizes.iter().sum();
    Ok(Done::changed(format!(
        "{count} images loaded ({}), all {} read back by digest",
        human_bytes(bytes),
        expected.len()
    )))
}

/// The node's runtime. Which one it is, the cluster's Node object says.
pub(super) async fn connect(install: &Install) -> Result<Node, InstallError> {
    let runtime = install.cluster().await?.runtime_version().await?;
    let address = match &install.target {
        Target::Minikube { profile, .. } => NodeAddress::Docker { container: profile.clone() },
        Target::Existing { node, .. } => node.clone(),
    };
    Ok(Node::new(&address, &runtime, &install.environment)?)
}

/// The images that must be in the node. A cluster that was there before brought its own control plane.
pub(super) fn expected(install: &Install) -> Vec<LabImage> {
    let ours = matches!(install.target, Target::Minikube { .. });
    images::of_lock(install.complete.lock(), install.node)
        .into_iter()
        .filter(|image| image.role == Role::Workload || (ours && image.role == Role::Bootstrap))
        .collect()
}

/// A dockerd reports the config digest, or the manifest's when it keeps its images in containerd: both are locked.
pub(super) fn holds(present: &BTreeMap<String, ImageId>, image: &ArchiveImage) -> bool {
    present.get(&image.reference).is_some_and(|id| [image.config.digest, image.manifest.digest].contains(&id.config))
}

/// Shares the images out so that both streams end at about the same time: largest first, to the lighter one.
fn split(mut images: Vec<ArchiveImage>) -> Vec<Vec<ArchiveImage>> {
    let size = |image: &ArchiveImage| image.layers.iter().map(|layer| layer.size).sum::<u64>();
    images.sort_by_key(|image| std::cmp::Reverse(size(image)));
    let mut streams = vec![(0, Vec::new()); STREAMS];
    for image in images {
        if let Some((weight, stream)) = streams.iter_mut().min_by_key(|(weight, _)| *weight) {
            *weight += size(&image);
            stream.push(image);
        }
    }
    streams.into_iter().map(|(_, images)| images).filter(|images| !images.is_empty()).collect()
}

/// The archive's bytes, written from the store while the runtime reads: no copy on disk.
pub(super) fn stream(install: &Install, name: &str, archive: Archive) -> impl AsyncRead + Send + use<> {
    stream_from(install.complete.clone(), Arc::clone(&install.reporter), name, archive)
}

/// The same from any place that has the archive's blobs.
pub(super) fn stream_from<B: Blobs + 'static>(
    blobs: B,
    reporter: Arc<dyn Reporter>,
    name: &str,
    archive: Archive,
) -> impl AsyncRead + Send + use<B> {
    let id = next_transfer_id();
    let (writer, reader) = tokio::io::duplex(PIPE);
    reporter.report(Event::TransferStarted { id, name: name.to_owned(), total: Some(archive.size()) });
    let bridge = SyncIoBridge::new(writer);
    tokio::task::spawn_blocking(move || {
        let counting = Counting { inner: bridge, reporter: Arc::clone(&reporter), id };
        let written = archive.write_to(&blobs, io::BufWriter::with_capacity(256 << 10, counting));
        reporter.report(match written {
            Ok(()) => Event::TransferFinished { id },
            // The reader sees the end too early and fails with the runtime's own words.
            Err(error) => Event::TransferFailed { id, error: error.to_string(), retrying: false },
        });
    });
    reader
}

struct Counting<W> {
    inner: W,
    reporter: Arc<dyn Reporter>,
    id: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.reporter.report(Event::TransferProgress { id: self.id, bytes: count as u64 });
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Descriptor, Digest};

    fn named(reference: &str, config: Digest) -> BTreeMap<String, ImageId> {
        BTreeMap::from([(reference.to_owned(), ImageId { config, target: None })])
    }

    fn image(name: &str, size: u64) -> ArchiveImage {
        let descriptor = Descriptor { digest: Digest::of(name.as_bytes()), size };
        ArchiveImage { reference: name.to_owned(), manifest: descriptor, config: descriptor, layers: vec![descriptor] }
    }

    #[test]
    fn streams_are_balanced_and_lose_nothing() {
        let streams = split(vec![image("a", 10), image("b", 60), image("c", 50), image("d", 5)]);
        let names = |stream: &[ArchiveImage]| stream.iter().map(|one| one.reference.clone()).collect::<Vec<_>>();
        assert_eq!(names(&streams[0]), ["b", "d"]);
        assert_eq!(names(&streams[1]), ["c", "a"]);
        assert_eq!(split(vec![image("a", 1)]).len(), 1);
    }

    #[test]
    fn an_image_counts_only_under_its_own_name_and_id() {
        let one = image("docker.io/a/b:1", 1);
        assert!(holds(&named("docker.io/a/b:1", one.config.digest), &one));
        assert!(!holds(&named("docker.io/a/b:1", Digest::of(b"other")), &one));
        assert!(!holds(&named("docker.io/a/b:2", one.config.digest), &one));
    }
}
