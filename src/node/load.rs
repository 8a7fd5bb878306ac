//! Brings a stream of images into a runtime and reads them back.
//!
//! Neither runtime can be believed at once: dockerd with containerd's image store says "Error unpacking image" and ends
//! with 0 (moby v28.5.2 `daemon/containerd/image_exporter.go`), and containerd makes the names before it unpacks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{ImageId, Node, NodeError, Runtime, containerd, docker, have::Storage};
use crate::{
    base::{Platform, normalize_reference},
    cluster::process::Input,
};

impl Node {
    /// Streams an archive into the runtime and reads the named images back. `on_image` hears the name of each image as
    /// soon as the runtime says that it is unpacked; a name may come twice.
    ///
    /// A failed load leaves none of the names behind half-loaded.
    ///
    /// # Errors
    /// When the runtime refuses the archive, or does not list every name afterwards.
    pub async fn load(
        &self,
        archive: Input<'_>,
        names: &[String],
        platform: Platform,
        deadline: Duration,
        on_image: &mut (dyn FnMut(&str) + Send),
    ) -> Result<BTreeMap<String, ImageId>, NodeError> {
        let before = self.named_before(platform).await?;
        let arguments = match self.runtime {
            Runtime::Docker => vec!["load".to_owned(), "--quiet".to_owned()],
            Runtime::Containerd => containerd::import_arguments(platform),
        };
        let mut refusal = None;
        let mut on_line = |line: &str| match loaded_name(line) {
            Some(name) => on_image(name),
            None if line.contains("rror unpacking image") => refusal = Some(line.to_owned()),
            None => {}
        };
        let ended = self.child(deadline).arguments(arguments).run_lines_with(archive, &mut on_line).await;
        let failure = match (ended, refusal) {
            (Err(source), _) => Some(self.failed("load images", source)),
            (Ok(_), Some(said)) => Some(NodeError::Unpack { node: self.to_string(), said }),
            (Ok(_), None) => None,
        };
        let outcome = match failure {
            Some(failure) => Err(failure),
            None => self.read_back(names, platform).await,
        };
        if outcome.is_err() {
            // The first failure is the one to tell; a second one while cleaning up would only hide it.
            let _ = self.remove_half_loaded(names, platform, before.as_ref()).await;
        }
        outcome
    }

    /// What the runtime has under these names.
    ///
    /// # Errors
    /// When one of them is not there, or incomplete.
    pub async fn read_back(
        &self,
        names: &[String],
        platform: Platform,
    ) -> Result<BTreeMap<String, ImageId>, NodeError> {
        let has = self.images(platform).await?;
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for name in names.iter().filter(|name| self.keeps(name)) {
            match has.get(&normalize_reference(name)) {
                Some(id) => drop(found.insert(normalize_reference(name), *id)),
                None => missing.push(name.clone()),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(NodeError::NotKept { node: self.to_string(), names: missing }) }
    }

    /// Whether a name outlives a load: dockerd's own store gives an image no digest of a repository unless it pulled it
    /// (moby v24.0.7 `image/tarexport/load.go`, `setLoadedTag`).
    pub fn keeps(&self, name: &str) -> bool {
        self.runtime == Runtime::Containerd || !name.contains('@')
    }

    /// Removes those of the names that stand for an image which is not whole. Meant for after a load that was broken
    /// off in the middle; names of whole images stay.
    ///
    /// # Errors
    /// When the runtime cannot be asked, or refuses.
    pub async fn remove_incomplete(&self, names: &[String]) -> Result<(), NodeError> {
        match self.runtime {
            // Its own store names an image when all of it is there.
            Runtime::Docker => Ok(()),
            Runtime::Containerd => containerd::remove_incomplete(self, names).await,
        }
    }

    /// Keeps what these names stand for now, with every layer, until [`Node::release`]: for loads that replace images by
    /// others which share layers with them. Where it fails, a load may find a layer gone, and say so.
    pub async fn hold(&self, names: &[String]) {
        let held = match self.runtime {
            // It counts references to layers, a load's own among them.
            Runtime::Docker => Ok(()),
            Runtime::Containerd => containerd::hold(self, names).await,
        };
        if let Err(error) = held {
            tracing::debug!(?error, node = %self, "the images that are replaced may go too early");
        }
    }

    /// Lets go of everything that [`Node::hold`] kept, now or before. What stays costs the node disk and nothing else.
    pub async fn release(&self) {
        let released = match self.runtime {
            Runtime::Docker => Ok(()),
            Runtime::Containerd => containerd::release(self).await,
        };
        if let Err(error) = released {
            tracing::debug!(?error, node = %self, "replaced images keep a second name");
        }
    }

    /// Only a dockerd that names images before it has them needs the comparison: it does not tell afterwards which
    /// are whole.
    async fn named_before(&self, platform: Platform) -> Result<Option<BTreeMap<String, ImageId>>, NodeError> {
        let early = self.runtime == Runtime::Docker && self.storage.get() == Some(&Storage::Content);
        if early { self.images(platform).await.map(Some) } else { Ok(None) }
    }

    async fn remove_half_loaded(
        &self,
        names: &[String],
        platform: Platform,
        before: Option<&BTreeMap<String, ImageId>>,
    ) -> Result<(), NodeError> {
        let Some(before) = before else { return self.remove_incomplete(names).await };
        let now = self.images(platform).await?;
        let ours: BTreeSet<String> = names.iter().map(|name| normalize_reference(name)).collect();
        let new = |name: &&String| ours.contains(*name) && now.get(*name) != before.get(*name);
        let half: Vec<String> = now.keys().filter(new).cloned().collect();
        docker::remove(self, &half).await
    }
}

/// The image in a line like `Loaded image: NAME` (docker) or `unpacking NAME (DIGEST)...done` (ctr).
fn loaded_name(line: &str) -> Option<&str> {
    let docker = line.strip_prefix("Loaded image: ");
    docker.or_else(|| line.strip_prefix("unpacking ")?.split(" (").next()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tools_name_the_images_that_they_have_unpacked() {
        assert_eq!(loaded_name("Loaded image: calico/node:v3.27.0"), Some("calico/node:v3.27.0"));
        assert_eq!(
            loaded_name("unpacking docker.io/calico/node:v3.27.0 (sha256:00)...done"),
            Some("docker.io/calico/node:v3.27.0")
        );
        assert_eq!(loaded_name("Loaded image ID: sha256:00"), None);
    }
}
