//! How a person says where a node keeps its images.

use std::{fmt, str::FromStr};

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
}
