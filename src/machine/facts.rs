//! What was seen of a machine. Absent is what could not be seen: it is never taken for good or bad.

use std::{net::Ipv4Addr, path::PathBuf};

use super::Docker;

/// Everything that the judgements look at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// `macos` or `linux`.
    pub system: String,
    /// Whether this program is an Intel one that Rosetta translates.
    pub translated: Option<bool>,
    /// What Docker said of itself.
    pub docker: Docker,
    /// Where the `docker` program finds its daemon, as `unix:///var/run/docker.sock`.
    pub endpoint: Option<String>,
    /// Docker's clock minus this machine's, in seconds.
    pub clock_offset: Option<i64>,
    /// Free bytes where Docker keeps images: of its folder, or of Docker Desktop's disk image.
    pub docker_free: Option<u64>,
    /// Free bytes where the store is, or will be.
    pub store_free: Option<u64>,
    /// Minikube's folder.
    pub minikube: MinikubeHome,
    /// Minikube's profile that is there under the wanted name.
    pub profile: Profile,
    /// The container of that name.
    pub container: Option<Container>,
    /// Whether Docker has a volume of that name.
    pub volume: Option<bool>,
    /// The kubeconfig.
    pub kubeconfig: Kubeconfig,
    /// IPv4 routes, the default one left out.
    pub routes: Vec<Route>,
    /// Those of the lab's loopback ports on which somebody listens.
    pub taken_ports: Vec<u16>,
    /// Names of variables that ztlab keeps from Minikube and Docker.
    pub ignored_variables: Vec<String>,
}

/// Minikube's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MinikubeHome {
    /// Where it is, or will be.
    pub path: PathBuf,
    /// Why nothing can be written there.
    pub unwritable: Option<String>,
    /// Something in it that belongs to another user.
    pub foreign: Option<PathBuf>,
    /// How the file system spells the same path, when only upper and lower case differ.
    pub spelled: Option<PathBuf>,
}

/// A Minikube profile on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Profile {
    /// There is none of this name.
    #[default]
    Absent,
    /// Its `config.json` is no whole document.
    Broken(PathBuf),
    /// It says what it is.
    Present {
        /// As `docker`.
        driver: String,
        /// As `v1.28.3`.
        kubernetes: String,
        /// As `docker`.
        runtime: String,
        /// MiB of memory that its node was made with, where it says so.
        memory: Option<u64>,
    },
}

/// A container of Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// As `running`.
    pub state: String,
    /// Whether Minikube made it.
    pub minikubes: bool,
}

/// What kubectl reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Kubeconfig {
    /// There is none yet.
    #[default]
    Absent,
    /// It cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It was read.
    Read {
        /// The file.
        path: PathBuf,
        /// A lock that some program left beside it.
        locked: Option<PathBuf>,
        /// The server of the context with the wanted name.
        server: Option<String>,
    },
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// First address.
    pub network: Ipv4Addr,
    /// Leading bits that are fixed.
    pub length: u32,
    /// As `utun4`.
    pub interface: String,
}
