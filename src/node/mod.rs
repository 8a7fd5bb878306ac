//! A node's runtime: what it has, take this stream, read back.
//!
//! A node is an access (`docker exec` into its container, a socket, or this machine's own Docker) and a runtime behind
//! it (dockerd or containerd). The node's own command-line tools do the work, so the version of Docker on this machine
//! does not matter, and nothing is copied to a file on the way.
//!
//! Nothing here is believed because a command ended well: `docker load` can report an error and exit 0, and containerd
//! keeps the name of an image whose import failed. What counts is what the runtime lists afterwards.

mod containerd;
mod docker;

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use crate::{
    base::{Digest, Platform, normalize_reference},
    cluster::process::{Child, Environment, Input, ProcessError},
};

/// Listing images takes well under a second; a daemon that unpacks something else at the time is slower.
const LIST_DEADLINE: Duration = Duration::from_secs(120);

/// How to reach a node's runtime, as `--node` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAddress {
    /// `docker:CONTAINER`: the node is a container of this machine's Docker.
    Docker {
        /// The container's name.
        container: String,
    },
    /// `containerd:ADDRESS`: the socket of a containerd on this machine.
    Containerd {
        /// Path of the socket.
        address: String,
    },
}

/// Text that is not a node's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`{0}` does not say how to reach a node: expected docker:CONTAINER or containerd:SOCKET")]
#[diagnostic(
    code(node::address),
    help(
        "for kind type `--node docker:kind-control-plane`, for a local containerd `--node containerd:/run/containerd/containerd.sock`"
    )
)]
pub struct NodeAddressError(String);

impl FromStr for NodeAddress {
    type Err = NodeAddressError;

    fn from_str(text: &str) -> Result<Self, NodeAddressError> {
        match text.split_once(':') {
            Some(("docker", container)) if !container.is_empty() => {
                Ok(Self::Docker { container: container.to_owned() })
            }
            Some(("containerd", address)) if address.starts_with('/') => {
                Ok(Self::Containerd { address: address.to_owned() })
            }
            _ => Err(NodeAddressError(text.to_owned())),
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker { container } => write!(formatter, "docker:{container}"),
            Self::Containerd { address } => write!(formatter, "containerd:{address}"),
        }
    }
}

/// The program that keeps a node's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// dockerd; an image ID is the config digest.
    Docker,
    /// containerd; a name points to a manifest or an index.
    Containerd,
}

impl Runtime {
    /// Reads `status.nodeInfo.containerRuntimeVersion` of the Kubernetes node: `docker://24.0.7`, `containerd://1.7.8`.
    pub fn of_node_info(version: &str) -> Option<Self> {
        match version.split_once("://")?.0 {
            "docker" => Some(Self::Docker),
            "containerd" => Some(Self::Containerd),
            _ => None,
        }
    }
}

/// What a runtime knows of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageId {
    /// The config digest. A dockerd with containerd's image store reports the digest of what was loaded instead.
    pub config: Digest,
    /// The manifest or index that the name points to, where the runtime keeps one.
    pub target: Option<Digest>,
}

/// A node that does not do what it is asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NodeError {
    /// `docker:` and `containerd:` are the runtimes that ztlab speaks with.
    #[error("cannot use the node {node}: expected the runtime docker or containerd, found `{found}`")]
    #[diagnostic(
        code(node::runtime),
        help("use a node with containerd or docker: `ztlab install` makes one with Minikube")
    )]
    UnknownRuntime {
        /// The node.
        node: String,
        /// What Kubernetes says of it.
        found: String,
    },
    /// A command in the node failed.
    #[error("cannot {action} on the node {node}")]
    #[diagnostic(
        code(node::command),
        help("when the node does not run, `ztlab install` starts it; then run the same command again")
    )]
    Command {
        /// What was attempted.
        action: &'static str,
        /// The node.
        node: String,
        /// The reason.
        #[source]
        source: ProcessError,
    },
    /// The command ended well, but the images are not there.
    #[error("the node {node} took the archive but lacks {}: expected every name to be listed afterwards", .names.join(", "))]
    #[diagnostic(code(node::not_kept), help("type `ztlab store verify`, then `ztlab install --from preload`"))]
    NotKept {
        /// The node.
        node: String,
        /// The names that are missing or incomplete.
        names: Vec<String>,
    },
    /// An answer that cannot be read.
    #[error("cannot read {what} from the node {node}: found `{found}`")]
    #[diagnostic(
        code(node::answer),
        help("the node's tools may be newer than this ztlab: `ztlab --verbose …` shows what they say")
    )]
    Answer {
        /// What was expected.
        what: String,
        /// The node.
        node: String,
        /// The beginning of what came.
        found: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Access {
    Container(String),
    Socket(String),
    Machine,
}

/// A node whose runtime can be asked.
#[derive(Debug, Clone)]
pub struct Node {
    access: Access,
    runtime: Runtime,
    environment: Environment,
}

impl Node {
    /// A node at an address.
    ///
    /// `runtime_version` is what Kubernetes reports of the node (`status.nodeInfo.containerRuntimeVersion`): a node in
    /// a Docker container may have either runtime inside. A socket is always containerd's.
    ///
    /// # Errors
    /// When the runtime is one that ztlab does not speak with.
    pub fn new(address: &NodeAddress, runtime_version: &str, environment: &Environment) -> Result<Self, NodeError> {
        let (access, runtime) = match address {
            NodeAddress::Docker { container } => {
                (Access::Container(container.clone()), Runtime::of_node_info(runtime_version))
            }
            NodeAddress::Containerd { address } => (Access::Socket(address.clone()), Some(Runtime::Containerd)),
        };
        let found = || NodeError::UnknownRuntime { node: address.to_string(), found: runtime_version.to_owned() };
        Ok(Self { access, runtime: runtime.ok_or_else(found)?, environment: environment.clone() })
    }

    /// This machine's own Docker, which needs the node's base image before there is a node.
    pub fn machine_docker(environment: &Environment) -> Self {
        Self { access: Access::Machine, runtime: Runtime::Docker, environment: environment.clone() }
    }

    /// The runtime inside.
    pub fn runtime(&self) -> Runtime {
        self.runtime
    }

    /// Every complete image, by its full reference. An image with several names is there several times.
    ///
    /// # Errors
    /// When the runtime cannot be asked or its answer cannot be read.
    pub async fn images(&self, platform: Platform) -> Result<BTreeMap<String, ImageId>, NodeError> {
        match self.runtime {
            Runtime::Docker => docker::images(self).await,
            Runtime::Containerd => containerd::images(self, platform).await,
        }
    }

    /// Streams an archive into the runtime and reads the named images back.
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
    ) -> Result<BTreeMap<String, ImageId>, NodeError> {
        let arguments = match self.runtime {
            Runtime::Docker => vec!["load".to_owned(), "--quiet".to_owned()],
            Runtime::Containerd => containerd::import_arguments(platform),
        };
        let loaded = self.child(deadline).arguments(arguments).run_with(Some(archive)).await;
        if let Err(source) = loaded {
            if self.runtime == Runtime::Containerd {
                // The first failure is the one to tell; a second one while cleaning up would only hide it.
                let _ = containerd::remove_incomplete(self, names).await;
            }
            return Err(self.failed("load images", source));
        }
        self.read_back(names, platform).await
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
        for name in names {
            match has.get(&normalize_reference(name)) {
                Some(id) => drop(found.insert(normalize_reference(name), *id)),
                None => missing.push(name.clone()),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(NodeError::NotKept { node: self.to_string(), names: missing }) }
    }

    /// Takes names away; one that is not there is fine.
    ///
    /// # Errors
    /// When the runtime refuses, for example because a container uses the image.
    pub async fn remove(&self, names: &[String]) -> Result<(), NodeError> {
        match self.runtime {
            Runtime::Docker => docker::remove(self, names).await,
            Runtime::Containerd => containerd::remove(self, names).await,
        }
    }

    /// The runtime's command-line tool, ready for its arguments.
    fn child(&self, deadline: Duration) -> Child {
        let tool: &[&str] = match self.runtime {
            Runtime::Docker => &["docker"],
            Runtime::Containerd => &["ctr", "-n", "k8s.io"],
        };
        match &self.access {
            Access::Container(container) => Child::new("docker", &self.environment, deadline)
                .arguments(["exec", "-i", container])
                .arguments(tool.iter().copied()),
            Access::Socket(address) => Child::new("ctr", &self.environment, deadline)
                .arguments(["--address", address])
                .arguments(tool[1..].iter().copied()),
            Access::Machine => Child::new("docker", &self.environment, deadline),
        }
    }

    fn failed(&self, action: &'static str, source: ProcessError) -> NodeError {
        NodeError::Command { action, node: self.to_string(), source }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.access {
            Access::Container(container) => write!(formatter, "docker:{container}"),
            Access::Socket(address) => write!(formatter, "containerd:{address}"),
            Access::Machine => formatter.write_str("this machine's Docker"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_how_to_reach_a_node() {
        for text in ["docker:ztlab", "containerd:/run/containerd/containerd.sock"] {
            assert_eq!(text.parse::<NodeAddress>().unwrap().to_string(), text);
        }
        for text in ["ztlab", "docker:", "containerd:run/x.sock", "podman:x", ""] {
            assert!(text.parse::<NodeAddress>().is_err(), "{text} parsed");
        }
    }

    #[test]
    fn a_container_may_have_either_runtime_inside() {
        let address: NodeAddress = "docker:ztlab".parse().unwrap();
        let node = |version| Node::new(&address, version, &Environment::default());
        assert_eq!(node("docker://24.0.7").unwrap().runtime(), Runtime::Docker);
        assert_eq!(node("containerd://1.7.8").unwrap().runtime(), Runtime::Containerd);
        assert!(node("cri-o://1.28").unwrap_err().to_string().contains("cri-o://1.28"));
    }

    #[test]
    fn each_access_makes_its_command() {
        let environment = Environment::default();
        let command = |address: &str, version: &str| {
            let node = Node::new(&address.parse().unwrap(), version, &environment).unwrap();
            node.child(LIST_DEADLINE).arguments(["x"]).command()
        };
        assert_eq!(command("docker:zt", "docker://24.0.7"), "docker exec -i zt docker x");
        assert_eq!(command("docker:zt", "containerd://1.7.8"), "docker exec -i zt ctr -n k8s.io x");
        assert_eq!(command("containerd:/run/c.sock", ""), "ctr --address /run/c.sock -n k8s.io x");
        assert_eq!(Node::machine_docker(&environment).child(LIST_DEADLINE).arguments(["x"]).command(), "docker x");
    }
}
