//! What is known of an image's archive before there is a node: its documents, and the chains of its layers. Made while
//! Minikube starts; which layers go, and in which stream, only the node's own list decides.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    base::{Descriptor, Digest, Platform, chain_ids},
    image::{
        Blobs,
        archive::{ArchiveImage, Part},
        document, read_document,
    },
    node::Have,
};

/// One image.
#[derive(Debug)]
pub(super) struct Draft {
    /// What it brings into an archive.
    pub(super) part: Part,
    layers: Vec<Descriptor>,
    /// Of each layer, it and all below it. Empty when the config has another number of layers than the manifest, which is
    /// for the runtime to refuse.
    chains: Vec<Digest>,
}

impl Draft {
    /// Reads manifest and config.
    ///
    /// # Errors
    /// When one of them is not there or is none.
    pub(super) fn read(image: &ArchiveImage, platform: Platform, blobs: &dyn Blobs) -> io::Result<Self> {
        let part = Part::read(image, platform, blobs)?;
        let config = document::parse_config(&read_document(blobs, &image.config.digest)?).map_err(|error| {
            let text = format!("config {} of {}: {error}", image.config.digest, image.reference);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(Self { part, layers: image.layers.clone(), chains: chains_of(&image.layers, &config.rootfs.diff_ids) })
    }

    /// The layers that a runtime with these lacks.
    pub(super) fn needed(&self, have: &Have) -> Vec<Descriptor> {
        match have {
            Have::Nothing => self.layers.clone(),
            Have::Blobs(blobs) => self.layers.iter().filter(|layer| !blobs.contains(&layer.digest)).copied().collect(),
            // From the first unknown chain up.
            Have::Chains(known) => {
                let there = self.chains.iter().take_while(|chain| known.contains(chain)).count();
                self.layers[there..].to_vec()
            }
        }
    }
}

fn chains_of(layers: &[Descriptor], diff_ids: &[Digest]) -> Vec<Digest> {
    if layers.len() == diff_ids.len() { chain_ids(diff_ids) } else { Vec::new() }
}

/// The drafts of a lab's images, by name.
#[derive(Debug, Clone, Default)]
pub struct Drafts(BTreeMap<String, Arc<Draft>>);

impl Drafts {
    /// Reads the documents of some images.
    ///
    /// # Errors
    /// The first that is not there or is none.
    pub(super) fn of<'image>(
        images: impl IntoIterator<Item = &'image ArchiveImage>,
        platform: Platform,
        blobs: &dyn Blobs,
    ) -> io::Result<Self> {
        let drafted =
            |image: &ArchiveImage| Ok((image.reference.clone(), Arc::new(Draft::read(image, platform, blobs)?)));
        images.into_iter().map(drafted).collect::<io::Result<_>>().map(Self)
    }

    /// The draft of an image; made now when nobody did before.
    ///
    /// # Errors
    /// When a document is not there or is none.
    pub(super) fn get(&self, image: &ArchiveImage, platform: Platform, blobs: &dyn Blobs) -> io::Result<Arc<Draft>> {
        match self.0.get(&image.reference) {
            Some(draft) => Ok(Arc::clone(draft)),
            None => Draft::read(image, platform, blobs).map(Arc::new),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn from_the_first_new_layer_up_everything_is_sent() {
        let layers: Vec<Descriptor> = [b"1", b"2", b"3"].map(|bytes| Descriptor::of(bytes)).to_vec();
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
        let chains = chain_ids(&diff_ids);
        let needed = |diff_ids: &[Digest], known: &[usize]| {
            let draft = Draft { part: Part::default(), layers: layers.clone(), chains: chains_of(&layers, diff_ids) };
            draft.needed(&Have::Chains(known.iter().map(|number| chains[*number]).collect::<BTreeSet<_>>()))
        };
        assert_eq!(needed(&diff_ids, &[]), layers);
        assert_eq!(needed(&diff_ids, &[0, 1]), layers[2..]);
        assert_eq!(needed(&diff_ids, &[1, 2]), layers, "what is under it is missing");
        assert!(needed(&diff_ids, &[0, 1, 2]).is_empty());
        assert_eq!(needed(&diff_ids[..2], &[0, 1]), layers, "a config that does not fit");
    }
}
