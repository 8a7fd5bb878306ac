//! What a runtime has of images that are still to come: what need not be sent.
//!
//! The answer is a hint and no promise: a runtime may throw something away between the question and the load. Whoever
//! leaves something out because of it has to be ready to send it after all.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Access, LIST_DEADLINE, Node, NodeError, Runtime};
use crate::{
    base::{Digest, chain_ids},
    cluster::process::Child,
};

/// Where dockerd with containerd's image store keeps its content.
const DOCKERS_NAMESPACE: &str = "moby";
/// The word in dockerd's status that tells containerd's image store from its own.
const CONTAINERD_STORE: &str = "io.containerd.snapshotter.v1";

/// What a runtime keeps of layers, in its own terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Have {
    /// Nothing that is known of.
    #[default]
    Nothing,
    /// Compressed blobs by digest: containerd's content store.
    Blobs(BTreeSet<Digest>),
    /// Unpacked layers by chain id: dockerd's own store. It takes an archive without a layer whose chain it has, and
    /// wants every layer from the first new one up (moby v24.0.7 `image/tarexport/load.go`).
    Chains(BTreeSet<Digest>),
}

/// How a dockerd keeps its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// Unpacked layers, config digests as image IDs.
    Layers,
    /// As containerd does.
    Content,
}

impl Node {
    /// What the runtime has. One that cannot be asked has nothing: then everything is sent, which is always right.
    pub async fn have(&self) -> Have {
        let answer = match self.runtime {
            Runtime::Containerd => self.content(self.child(LIST_DEADLINE)).await.map(Have::Blobs),
            Runtime::Docker => match self.storage().await {
                Ok(Storage::Layers) => self.chains().await.map(Have::Chains),
                Ok(Storage::Content) => self.dockers_content().await,
                Err(error) => Err(error),
            },
        };
        answer.unwrap_or_else(|error| {
            tracing::debug!(%error, node = %self, "what the runtime has is not known: everything is sent");
            Have::Nothing
        })
    }

    /// How this dockerd keeps its images; asked once.
    pub(super) async fn storage(&self) -> Result<Storage, NodeError> {
        let ask = async {
            let child = self.child(LIST_DEADLINE).arguments(["info", "--format", "{{json .DriverStatus}}"]);
            let output = child.run().await.map_err(|source| self.failed("ask how images are kept", source))?;
            Ok(if output.text().contains(CONTAINERD_STORE) { Storage::Content } else { Storage::Layers })
        };
        self.storage.get_or_try_init(|| ask).await.copied()
    }

    /// The containerd beside a node's dockerd, by its own tool. This machine's Docker may be in a virtual machine, where
    /// no tool reaches it.
    async fn dockers_content(&self) -> Result<Have, NodeError> {
        let Access::Container(container) = &self.access else { return Ok(Have::Nothing) };
        let child = Child::new("docker", &self.environment, LIST_DEADLINE).arguments([
            "exec",
            container,
            "ctr",
            "-n",
            DOCKERS_NAMESPACE,
        ]);
        self.content(child).await.map(Have::Blobs)
    }

    async fn content(&self, ctr: Child) -> Result<BTreeSet<Digest>, NodeError> {
        let output = ctr.arguments(["content", "ls", "-q"]).run().await;
        let output = output.map_err(|source| self.failed("list content", source))?;
        parse_digests(&output.text()).map_err(|found| self.unreadable("a digest", found))
    }

    async fn chains(&self) -> Result<BTreeSet<Digest>, NodeError> {
        let list = self.child(LIST_DEADLINE).arguments(["image", "ls", "--all", "--quiet", "--no-trunc"]).run().await;
        let ids: BTreeSet<String> =
            list.map_err(|source| self.failed("list images", source))?.text().lines().map(str::to_owned).collect();
        if ids.is_empty() {
            return Ok(BTreeSet::new());
        }
        // An image that went away meanwhile makes it end with 1, after the others.
        let child = self.child(LIST_DEADLINE).accept(1);
        let child = child.arguments(["image", "inspect", "--format", "{{json .RootFS.Layers}}"]).arguments(ids);
        let output = child.run().await.map_err(|source| self.failed("list layers", source))?;
        parse_chains(&output.text()).map_err(|found| self.unreadable("an image's layers", found))
    }

    fn unreadable(&self, what: &str, found: String) -> NodeError {
        NodeError::Answer { what: what.to_owned(), node: self.to_string(), found }
    }
}

/// One digest a line. The error is the line that is none.
fn parse_digests(text: &str) -> Result<BTreeSet<Digest>, String> {
    // Other algorithms exist, and no image of a lab uses one.
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("sha256:"));
    lines.map(|line| line.parse().map_err(|_| line.to_owned())).collect()
}

/// The chains of all images; each line is a JSON list of diff ids from the bottom up.
fn parse_chains(text: &str) -> Result<BTreeSet<Digest>, String> {
    let mut chains = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let diff_ids: Option<Vec<Digest>> =
            Option::deserialize(&mut serde_json::Deserializer::from_str(line)).map_err(|_| line.to_owned())?;
        chains.extend(chain_ids(&diff_ids.unwrap_or_default()));
    }
    Ok(chains)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_every_image_is_a_chain() {
        let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| Digest::of(bytes));
        let text = format!("[\"{one}\",\"{two}\"]\n[\"{one}\",\"{three}\"]\nnull\n\n");
        let chains = parse_chains(&text).unwrap();
        assert_eq!(chains.len(), 3);
        assert!(chain_ids(&[one, two]).iter().chain(&chain_ids(&[one, three])).all(|chain| chains.contains(chain)));
        assert!(!chains.contains(&two), "a layer without what is under it is not there");
        assert_eq!(parse_chains("<no value>"), Err("<no value>".to_owned()));
    }

    #[test]
    fn content_is_a_digest_a_line() {
        let one = Digest::of(b"1");
        assert_eq!(parse_digests(&format!("{one}\nsha512:00\n")), Ok(BTreeSet::from([one])));
        assert_eq!(parse_digests("sha256:short"), Err("sha256:short".to_owned()));
    }
}
