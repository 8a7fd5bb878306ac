//! What an install is given: values only. Where they come from is the caller's business.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use super::{
    egress::Watch,
    graph::{Step, Target},
};
use crate::{
    base::{Platform, Reporter},
    cluster::process::Environment,
    plan::Complete,
};

/// The address range of pods: inside kubeadm's default and clear of Minikube's node network
/// 192.168.49.0/24 and Docker Desktop's 192.168.65.0/24, which 192.168.0.0/16 is not.
pub const POD_CIDR: &str = "10.244.0.0/16";

/// What a person can choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long each gate may take.
    pub timeout: Duration,
    /// Take over fields of other managers.
    pub force_conflicts: bool,
    /// Give children no way out.
    pub offline: bool,
    /// How much of the lab, by a profile's name, where a person said it.
    pub profile: Option<String>,
    /// First step.
    pub from: Option<Step>,
    /// Last step.
    pub until: Option<Step>,
}

/// Everything that a step may use.
pub struct Setup {
    /// The lab's folder.
    pub lab: PathBuf,
    /// The locked lab, every blob at hand.
    pub complete: Complete,
    /// Where it goes.
    pub target: Target,
    /// The machine that runs ztlab.
    pub host: Platform,
    /// The node.
    pub node: Platform,
    /// The environment of children, without what could lead them astray; offline, with proxies that refuse.
    pub environment: Environment,
    /// Minikube's folder (`MINIKUBE_HOME` with `.minikube` in it).
    pub minikube_home: PathBuf,
    /// The folder of the installs' journals.
    pub journals: PathBuf,
    /// The kubeconfig; the default one when absent.
    pub kubeconfig: Option<PathBuf>,
    /// Choices.
    pub options: Options,
    /// Counts what tries to leave, while an offline install runs.
    pub egress: Option<Arc<Watch>>,
    /// Who hears what happens.
    pub reporter: Arc<dyn Reporter>,
}

/// Versions of the lock by name, for the steps that need one.
pub(super) fn version<'lock>(
    versions: &'lock BTreeMap<String, String>,
    name: &'static str,
) -> Result<&'lock str, MissingEntry> {
    versions.get(name).map(String::as_str).ok_or(MissingEntry { entry: "version", name })
}

/// The lock lacks something that an install needs. Other verbs do not: a lock of two images is a lab too.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("an install needs `{entry}.{name}`, and the lock has none")]
#[diagnostic(code("lock::lacks"), help("add [{entry}.{name}] to lock/ztlab.toml, then `ztlab lock` and `ztlab fetch`"))]
pub struct MissingEntry {
    pub(super) entry: &'static str,
    pub(super) name: &'static str,
}
