//! A node's runtime: what it has, take this stream, read back.
//!
//! A node is an access (`docker exec` into its container, a socket, or this machine's own Docker) and a runtime behind
//! it (dockerd or containerd). The node's own command-line tools do the work, so the version of Docker on this machine
//! does not matter, and nothing is copied to a file on the way.
//!
//! Nothing here is believed because a command ended well: `docker load` can report an error and exit 0, and containerd
//! keeps the name of an image whose import failed. What counts is what the runtime lists afterwards.

//! | file | what it does |
//! |---|---|
//! | [`address`] | how a person says where a node is |
//! | [`have`] | what a runtime has already, so that it need not be sent |
//! | [`load`] | takes a stream, reads back, leaves nothing half-loaded |
//! | `docker`, `containerd` | what each runtime's tool is asked, and how its answers read |

pub mod address;
mod containerd;
mod docker;
pub mod error;
pub mod have;
pub mod load;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::sync::OnceCell;

use crate::{
    base::{Digest, Platform},
    cluster::process::{Child, Environment, ProcessError},
};

pub use address::{NodeAddress, NodeAddressError};
pub use error::NodeError;
pub use have::Have;

use have::Storage;

/// Listing images takes well under a second; a daemon that unpacks something else at the time is slower.
const LIST_DEADLINE: Duration = Duration::from_secs(120);

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
    /// Config digest by manifest or index, of images whose documents somebody has read: content that a digest names
    /// need not be asked for.
    known: Arc<BTreeMap<Digest, Digest>>,
    /// How a dockerd keeps its images, once it was asked.
    storage: Arc<OnceCell<Storage>>,
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
        Ok(Self::of(access, runtime.ok_or_else(found)?, environment))
    }

    /// A node that nobody but itself can be asked about: which runtime answers in it?
    ///
    /// # Errors
    /// When neither does.
    pub async fn find(address: &NodeAddress, environment: &Environment) -> Result<Self, NodeError> {
        let NodeAddress::Docker { container } = address else { return Self::new(address, "", environment) };
        let mut last = None;
        // A Minikube node has both programs, and the daemon of one of them.
        for runtime in [Runtime::Docker, Runtime::Containerd] {
            let node = Self::of(Access::Container(container.clone()), runtime, environment);
            match node.child(LIST_DEADLINE).arguments(["version"]).run().await {
                Ok(_) => return Ok(node),
                Err(source) => last = Some(node.failed("find a runtime", source)),
            }
        }
        Err(last.unwrap_or_else(|| NodeError::UnknownRuntime { node: address.to_string(), found: String::new() }))
    }

    fn of(access: Access, runtime: Runtime, environment: &Environment) -> Self {
        Self { access, runtime, environment: environment.clone(), known: Arc::default(), storage: Arc::default() }
    }

    /// Tells which config a manifest or index leads to. What a digest names cannot differ between here and the node, so
    /// the node's copy need not be read for it.
    #[must_use]
    pub fn knowing(mut self, configs: BTreeMap<Digest, Digest>) -> Self {
        self.known = Arc::new(configs);
        self
    }

    /// This machine's own Docker, which needs the node's base image before there is a node.
    pub fn machine_docker(environment: &Environment) -> Self {
        Self::of(Access::Machine, Runtime::Docker, environment)
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
