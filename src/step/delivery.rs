//! Brings images into a node's runtime: asks what is there, streams an archive with what is missing straight from the
//! blobs, and reads back.
//!
//! What the runtime says that it has may be gone when the archive comes. A stream that fails after something was left
//! out is therefore sent once more with everything in it. After a failure no name of the images stands for something
//! that is not whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::{draft::Drafts, run::InstallError, share_out::share_out};
use crate::{
    base::{Descriptor, Digest, Event, Platform, Reporter, report::next_transfer_id},
    image::{
        Blobs,
        archive::{Archive, ArchiveImage},
    },
    node::{ImageId, Node, NodeError},
    store::StoreError,
};

/// Two streams keep two cores of the node busy: the runtime unpacks one layer of a stream at a time.
const STREAMS: usize = 2;
/// Between the archive's writer and the runtime.
const PIPE: usize = 1 << 20;

/// What a delivery is made with.
pub(super) struct Delivery<'node, B> {
    /// Where the images go.
    pub(super) node: &'node Node,
    /// Where their bytes are.
    pub(super) blobs: B,
    /// Which images of an index are meant.
    pub(super) platform: Platform,
    /// How long a stream may take, unpacking included.
    pub(super) deadline: Duration,
    /// Hears bytes and warnings.
    pub(super) reporter: Arc<dyn Reporter>,
    /// What was read of the images before; the rest is read when it is needed.
    pub(super) drafts: Drafts,
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Bytes of the archives, those that were sent in vain included.
    pub(super) sent: u64,
    /// Bytes of layers that the runtime had already.
    pub(super) left_out: u64,
    /// Streams that had to be sent in full after all.
    pub(super) resent: usize,
}

/// A dockerd reports the config digest, or the manifest's when it keeps its images in containerd: both are locked.
pub(super) fn holds(present: &BTreeMap<String, ImageId>, image: &ArchiveImage) -> bool {
    present.get(&image.reference).is_some_and(|id| [image.config.digest, image.manifest.digest].contains(&id.config))
}

/// Whether the runtime has the image under every name that it can keep.
pub(super) fn holds_all(node: &Node, present: &BTreeMap<String, ImageId>, image: &ArchiveImage) -> bool {
    let by_digest = |name: String| present.get(&name).is_some_and(|id| id.config == image.config.digest);
    let wanted = image.digest_name().filter(|name| node.keeps(name));
    holds(present, image) && wanted.is_none_or(by_digest)
}

impl<B: Blobs + Clone + 'static> Delivery<'_, B> {
    /// Brings the images into the runtime, where each is listed under its name afterwards. Whether its ID is the
    /// expected one is for the caller to compare. `said` hears what the runtime is busy with.
    ///
    /// # Errors
    /// When a blob cannot be read, or the runtime does not take a stream that has everything in it.
    pub(super) async fn bring(
        &self,
        images: Vec<ArchiveImage>,
        said: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Delivered, InstallError> {
        let names: Vec<String> = images.iter().flat_map(ArchiveImage::names).collect();
        self.node.hold(&names).await;
        let moved = self.bring_held(images, &names, said).await;
        self.node.release().await;
        moved
    }

    async fn bring_held(
        &self,
        images: Vec<ArchiveImage>,
        names: &[String],
        said: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Delivered, InstallError> {
        let have = self.node.have().await;
        let draft = |image| self.drafts.get(image, self.platform, &self.blobs);
        let drafts = images.iter().map(draft).collect::<io::Result<Vec<_>>>().map_err(StoreError::from)?;
        let needed: Vec<Vec<Descriptor>> = drafts.iter().map(|draft| draft.needed(&have)).collect();
        let mut shipments = Vec::new();
        for share in share_out(&needed, STREAMS) {
            let wanted: BTreeSet<Digest> = share.iter().flat_map(|one| &needed[*one]).map(|one| one.digest).collect();
            let full = Archive::of(share.iter().map(|one| &drafts[*one].part));
            let images: Vec<ArchiveImage> = share.into_iter().map(|one| images[one].clone()).collect();
            let layers: BTreeMap<Digest, u64> =
                images.iter().flat_map(|image| &image.layers).map(|layer| (layer.digest, layer.size)).collect();
            let known: BTreeMap<Digest, u64> =
                layers.into_iter().filter(|(digest, _)| !wanted.contains(digest)).collect();
            shipments.push(Shipment { images, full, known });
        }
        let sizes: Vec<u64> = shipments.iter().map(|shipment| shipment.lean().size()).collect();
        self.reporter.report(Event::TransfersPlanned { transfers: sizes.len(), bytes: sizes.iter().sum() });
        let progress = Progress { total: images.len(), unpacked: Mutex::default(), said };
        let loads = shipments.iter().enumerate().map(|(number, shipment)| self.ship(number + 1, shipment, &progress));
        match futures::future::try_join_all(loads).await {
            Ok(all) => Ok(all.into_iter().fold(Delivered::default(), |sum, one| Delivered {
                sent: sum.sent + one.sent,
                left_out: sum.left_out + one.left_out,
                resent: sum.resent + one.resent,
            })),
            Err(error) => {
                // The other stream was broken off where it was. What it left is not what the person has to read about.
                let _ = self.node.remove_incomplete(names).await;
                Err(error)
            }
        }
    }

    /// First without the layers that the runtime has, then, should it have thrown them away, with all of them.
    async fn ship(
        &self,
        number: usize,
        shipment: &Shipment,
        progress: &Progress<'_>,
    ) -> Result<Delivered, InstallError> {
        let name = format!("images to the node, stream {number}");
        let lean = shipment.lean();
        let size = lean.size();
        let left_out: u64 = shipment.known.values().sum();
        match self.load(&name, shipment, lean, progress).await {
            Ok(()) => Ok(Delivered { sent: size, left_out, resent: 0 }),
            Err(error) if shipment.known.is_empty() || !is_refusal(&error) => Err(error.into()),
            Err(error) => {
                tracing::debug!(?error, "a stream without known layers was refused");
                let text = format!(
                    "the node lacks layers that it had a moment ago: stream {number} is sent again, with all of them"
                );
                self.reporter.report(Event::Warning { text });
                let again = shipment.full.size();
                self.load(&name, shipment, shipment.full.clone(), progress).await?;
                Ok(Delivered { sent: size + again, left_out: 0, resent: 1 })
            }
        }
    }

    async fn load(
        &self,
        name: &str,
        shipment: &Shipment,
        archive: Archive,
        progress: &Progress<'_>,
    ) -> Result<(), NodeError> {
        let names: Vec<String> = shipment.images.iter().flat_map(ArchiveImage::names).collect();
        let input = stream(self.blobs.clone(), Arc::clone(&self.reporter), name, archive);
        let mut on_image = |image: &str| progress.unpacked(image);
        self.node.load(Box::pin(input), &names, self.platform, self.deadline, &mut on_image).await.map(|_| ())
    }
}

/// Whether the runtime ended by itself and unhappily: then what it said may come from a missing layer.
fn is_refusal(error: &NodeError) -> bool {
    use crate::cluster::process::ProcessError;
    match error {
        NodeError::Command { source, .. } => matches!(source, ProcessError::Failed { .. }),
        NodeError::NotKept { .. } | NodeError::Unpack { .. } => true,
        _ => false,
    }
}

/// One stream.
struct Shipment {
    images: Vec<ArchiveImage>,
    full: Archive,
    /// Layers that the runtime has, with their lengths.
    known: BTreeMap<Digest, u64>,
}

impl Shipment {
    fn lean(&self) -> Archive {
        self.full.clone().without(&self.known.keys().copied().collect())
    }
}

/// How many images are unpacked, over all streams.
struct Progress<'said> {
    total: usize,
    unpacked: Mutex<BTreeSet<String>>,
    said: &'said (dyn Fn(String) + Send + Sync),
}

impl Progress<'_> {
    fn unpacked(&self, image: &str) {
        // containerd names an image twice, and the second name costs it nothing.
        if image.contains('@') {
            return;
        }
        let Ok(mut unpacked) = self.unpacked.lock() else { return };
        unpacked.insert(image.to_owned());
        (self.said)(format!("the node unpacks: {} of {} images, {image} was the last", unpacked.len(), self.total));
    }
}

/// Config digest by everything that leads to it, for [`Node::knowing`].
pub(super) fn configs<'image>(images: impl IntoIterator<Item = &'image ArchiveImage>) -> BTreeMap<Digest, Digest> {
    let leads = |image: &ArchiveImage| {
        let config = image.config.digest;
        [Some(image.manifest), image.pinned].into_iter().flatten().map(|from| (from.digest, config)).collect::<Vec<_>>()
    };
    images.into_iter().flat_map(leads).collect()
}

/// The archive's bytes, written from the blobs while the runtime reads: no copy on disk, and no more in memory than
/// the pipe between the two.
fn stream<B: Blobs + 'static>(
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
    use crate::image::document;

    fn image(name: &str) -> ArchiveImage {
        let descriptor = Descriptor::of(name.as_bytes());
        let (manifest, config) = (descriptor, descriptor);
        ArchiveImage { reference: name.to_owned(), manifest, config, layers: vec![descriptor], pinned: None }
    }

    fn listed(names: &[(&str, Digest)]) -> BTreeMap<String, ImageId> {
        names.iter().map(|(name, config)| ((*name).to_owned(), ImageId { config: *config, target: None })).collect()
    }

    #[test]
    fn an_image_counts_only_under_its_own_name_and_id() {
        let one = image("docker.io/a/b:1");
        assert!(holds(&listed(&[("docker.io/a/b:1", one.config.digest)]), &one));
        assert!(!holds(&listed(&[("docker.io/a/b:1", Digest::of(b"other"))]), &one));
        assert!(!holds(&listed(&[("docker.io/a/b:2", one.config.digest)]), &one));
    }

    #[test]
    fn containerd_has_to_know_the_name_by_digest_too_and_dockerd_cannot() {
        let mut one = image("docker.io/a/b:1");
        one.pinned = Some(Descriptor::of(b"index"));
        let by_tag = listed(&[("docker.io/a/b:1", one.config.digest)]);
        let name = one.digest_name().unwrap();
        let both = listed(&[("docker.io/a/b:1", one.config.digest), (&name, one.config.digest)]);
        let environment = crate::cluster::process::Environment::default();
        let node = |version| Node::new(&"docker:n".parse().unwrap(), version, &environment).unwrap();
        assert!(holds_all(&node("docker://24.0.7"), &by_tag, &one));
        assert!(!holds_all(&node("containerd://1.7.8"), &by_tag, &one));
        assert!(holds_all(&node("containerd://1.7.8"), &both, &one));
    }

    /// A `docker` whose node lists one layer and then, like after a garbage collection, lacks it: the first load fails.
    const FORGETFUL: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
cd "$(dirname "$0")"
shift 4
case "$1 $2" in
  "info "*) echo '[["Backing Filesystem","extfs"]]' ;;
  "image inspect") cat layers ;;
  "image ls") case "$*" in
      *--quiet*) echo sha256:0000000000000000000000000000000000000000000000000000000000000000 ;;
      *) if [ -e loaded.2 ]; then cat listed; fi ;;
    esac ;;
  "load "*) if [ -e loaded.1 ]; then cat > loaded.2; echo 'Loaded image: a/b:1'
    else cat > loaded.1; echo 'open blobs/sha256/…: no such file or directory' >&2; exit 1; fi ;;
  *) exit 9 ;;
esac
"#;

    #[tokio::test]
    async fn a_layer_that_the_node_lost_meanwhile_is_sent_after_all() {
        use std::os::unix::fs::PermissionsExt as _;
        let blobs = Arc::new(crate::image::test_blobs::Folder::new());
        let layers: Vec<Descriptor> = [&[1_u8; 9000][..], &[2; 3000]].map(|bytes| blobs.add(bytes)).to_vec();
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
        let rootfs = document::RootFs { kind: "layers".to_owned(), diff_ids: diff_ids.clone() };
        let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs });
        let config = blobs.add(config.to_string().as_bytes());
        let typed = |kind: &str, one: &Descriptor| document::TypedDescriptor::new(kind, *one);
        let manifest = blobs.add(
            &serde_json::to_vec(&document::Manifest {
                schema_version: 2,
                media_type: None,
                config: typed(document::CONFIG, &config),
                layers: layers.iter().map(|layer| typed(document::LAYER_GZIP, layer)).collect(),
            })
            .unwrap(),
        );
        let reference = "docker.io/a/b:1".to_owned();
        let image = ArchiveImage { reference, manifest, config, layers: layers.clone(), pinned: None };
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs_err::write(path("docker"), FORGETFUL).unwrap();
        fs_err::set_permissions(path("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
        fs_err::write(path("layers"), format!("[\"{}\"]\n", diff_ids[0])).unwrap();
        fs_err::write(path("listed"), format!("a/b:1 {}\n", image.config.digest)).unwrap();
        let environment = crate::cluster::process::Environment::default().with("PATH", folder.path().to_str().unwrap());
        let node = Node::new(&"docker:n".parse().unwrap(), "docker://24.0.7", &environment).unwrap();
        let reporter = Arc::new(crate::base::report::Recording::default());
        let delivery = Delivery {
            node: &node,
            blobs,
            platform: Platform::LinuxAmd64,
            deadline: Duration::from_secs(30),
            reporter: Arc::<crate::base::report::Recording>::clone(&reporter),
            drafts: Drafts::default(),
        };

        let moved = delivery.bring(vec![image], &|_| {}).await.unwrap();

        let size = |name: &str| fs_err::metadata(path(name)).unwrap().len();
        assert_eq!((moved.resent, moved.left_out), (1, 0));
        assert_eq!(moved.sent, size("loaded.1") + size("loaded.2"));
        assert!(size("loaded.2") - size("loaded.1") >= layers[0].size, "the known layer was not left out at first");
        let warned = |event: &Event| matches!(event, Event::Warning { text } if text.contains("sent again"));
        assert!(reporter.events().iter().any(warned), "{:?}", reporter.events());
    }
}
