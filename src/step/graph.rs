//! The steps as data.

use std::{fmt, str::FromStr};

use crate::node::NodeAddress;

/// The cluster that the lab goes into.
#[derive(Debug, Clone)]
pub enum Target {
    /// A Minikube profile that ztlab starts.
    Minikube {
        /// The profile, which is also the node's container and the kubectl context.
        profile: String,
        /// Memory of the node in MiB.
        memory: u32,
        /// CPUs of the node.
        cpus: u32,
    },
    /// A cluster that is already there.
    Existing {
        /// Its kubectl context.
        context: String,
        /// Where its only node keeps its images.
        node: NodeAddress,
    },
}

impl Target {
    /// The kubectl context.
    pub fn context(&self) -> &str {
        match self {
            Self::Minikube { profile, .. } => profile,
            Self::Existing { context, .. } => context,
        }
    }

    /// How a person gives this target to a verb.
    pub fn arguments(&self) -> String {
        match self {
            Self::Minikube { profile, .. } => format!("--profile {profile}"),
            Self::Existing { context, node } => format!("--context {context} --node {node}"),
        }
    }
}

/// One part of an install, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Is the store whole, the lab consistent, the machine fit?
    Preflight,
    /// Node binaries and image archives where Minikube looks for them.
    Cache,
    /// The node's own image in the host's Docker.
    BaseImage,
    /// `minikube start`.
    Cluster,
    /// Every image into the node's runtime, read back by digest.
    Preload,
    /// The pod network and its policy engine.
    Calico,
    /// The service mesh.
    Istio,
    /// Namespace, network policies, mutual TLS, authorization: before any pod of the app.
    Policies,
    /// The app and its way in.
    App,
    /// Prometheus, Grafana, Kiali.
    Addons,
    /// What was installed, written down in the cluster.
    Receipt,
}

impl Step {
    /// Every step in order.
    pub const ALL: [Self; 11] = [
        Self::Preflight,
        Self::Cache,
        Self::BaseImage,
        Self::Cluster,
        Self::Preload,
        Self::Calico,
        Self::Istio,
        Self::Policies,
        Self::App,
        Self::Addons,
        Self::Receipt,
    ];

    /// The name that `--from` and `--until` take.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Cache => "cache",
            Self::BaseImage => "base-image",
            Self::Cluster => "cluster",
            Self::Preload => "preload",
            Self::Calico => "calico",
            Self::Istio => "istio",
            Self::Policies => "policies",
            Self::App => "app",
            Self::Addons => "addons",
            Self::Receipt => "receipt",
        }
    }

    /// What it does, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Preflight => "hash every locked blob again, read the manifests, look at the machine",
            Self::Cache => "place node binaries and image archives in Minikube's cache",
            Self::BaseImage => "load the node's image into Docker",
            Self::Cluster => "start Minikube without a network",
            Self::Preload => "bring the images into the node and read them back",
            Self::Calico => "install Calico and wait for the pod network",
            Self::Istio => "install Istio with the pinned istioctl",
            Self::Policies => "apply namespace, network policies, mutual TLS and authorization",
            Self::App => "start backend and frontend behind the gateway",
            Self::Addons => "start Prometheus, Grafana and Kiali",
            Self::Receipt => "write down what was installed",
        }
    }

    /// Whether an install into this target has the step: making the cluster is for Minikube only.
    pub fn belongs_to(self, target: &Target) -> bool {
        match self {
            Self::Cache | Self::BaseImage | Self::Cluster => matches!(target, Target::Minikube { .. }),
            _ => true,
        }
    }

    /// The steps of an install between two names, both included. Preflight always runs: it looks and changes nothing.
    pub fn between(target: &Target, from: Option<Self>, until: Option<Self>) -> Vec<Self> {
        let first = from.unwrap_or(Self::Preflight);
        let last = until.unwrap_or(Self::Receipt);
        Self::ALL
            .into_iter()
            .filter(|step| step.belongs_to(target))
            .filter(|step| *step == Self::Preflight || (first..=last).contains(step))
            .collect()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that no step has.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("there is no step `{0}`")]
#[diagnostic(code(usage::step), help("the steps are: {}", Step::ALL.map(Step::name).join(", ")))]
pub struct UnknownStep(String);

impl FromStr for Step {
    type Err = UnknownStep;

    fn from_str(name: &str) -> Result<Self, UnknownStep> {
        Self::ALL.into_iter().find(|step| step.name() == name).ok_or_else(|| UnknownStep(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minikube() -> Target {
        Target::Minikube { profile: "ztlab".to_owned(), memory: 6144, cpus: 4 }
    }

    #[test]
    fn a_whole_install_runs_every_step_in_order() {
        assert_eq!(Step::between(&minikube(), None, None), Step::ALL);
    }

    #[test]
    fn an_existing_cluster_is_not_started() {
        let existing =
            Target::Existing { context: "kind".to_owned(), node: "docker:kind-control-plane".parse().unwrap() };
        let steps = Step::between(&existing, None, Some(Step::Calico));
        assert_eq!(steps, [Step::Preflight, Step::Preload, Step::Calico]);
    }

    #[test]
    fn a_later_start_still_looks_first() {
        assert_eq!(Step::between(&minikube(), Some(Step::App), Some(Step::App)), [Step::Preflight, Step::App]);
    }

    #[test]
    fn names_round_trip() {
        for step in Step::ALL {
            assert_eq!(step.name().parse::<Step>().unwrap(), step);
        }
        assert!("minikube".parse::<Step>().is_err());
    }
}
