//! The steps as data: what each does, what has to be done before it, what it ends in, and how it is taken back.

use std::{fmt, str::FromStr};

use crate::node::NodeAddress;

/// The cluster that the lab goes into.
#[derive(Debug, Clone)]
pub enum Target {
    /// A cluster that ztlab makes with Minikube.
    Minikube {
        /// Its name: Minikube calls it a profile, and the node's container and the kubectl context have it too.
        cluster: String,
        /// Memory of the node in MiB, where a person said it; else the lab's profile does.
        memory: Option<u32>,
        /// CPUs of the node, likewise.
        cpus: Option<u32>,
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
            Self::Minikube { cluster, .. } => cluster,
            Self::Existing { context, .. } => context,
        }
    }

    /// What journals are kept under: the target without what may differ from call to call (memory, a process id in
    /// the runtime's address).
    pub fn key(&self) -> String {
        match self {
            Self::Minikube { cluster, .. } => format!("--cluster {cluster}"),
            Self::Existing { context, .. } => format!("--context {context}"),
        }
    }

    /// How a person gives this target to a verb.
    pub fn arguments(&self) -> String {
        match self {
            Self::Minikube { cluster, .. } => format!("--cluster {cluster}"),
            Self::Existing { context, node } => format!("--context {context} --node {node}"),
        }
    }
}

/// One part of an install. The order is that of `--from` and `--until`; what may run at the same time, [`Step::after`]
/// says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Is the lab consistent, the machine fit, and what the cluster starts from whole?
    Preflight,
    /// Is everything else in the store whole?
    Blobs,
    /// Node binaries and image archives where Minikube looks for them.
    Cache,
    /// The node's own image in the host's Docker.
    BaseImage,
    /// `minikube start`.
    Cluster,
    /// The pod network's images into the node, and those that the cluster started from read back.
    Preload,
    /// Every other image into the node, read back by digest.
    Images,
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
    /// What an earlier version of the lab, or another profile, left.
    Prune,
    /// What was installed, written down in the cluster.
    Receipt,
}

/// What the graph knows of a step.
struct Node {
    step: Step,
    /// As `--from` and `--until` take it.
    name: &'static str,
    title: &'static str,
    /// The steps that have to be done before.
    after: &'static [Step],
    gate: &'static str,
    undo: &'static str,
}

/// The graph. A step comes after all that it names.
const GRAPH: [Node; 14] = [
    Node {
        step: Step::Preflight,
        name: "preflight",
        title: "read lock and manifests, look at the machine, hash what the cluster starts from",
        after: &[],
        gate: "every image named is locked, the machine is fit",
        undo: "nothing: it changes nothing",
    },
    Node {
        step: Step::Blobs,
        name: "blobs",
        title: "hash every other locked blob again, draft the archives for the node",
        after: &[Step::Preflight],
        gate: "every blob has its locked digest",
        undo: "nothing: it changes nothing",
    },
    Node {
        step: Step::Cache,
        name: "cache",
        title: "place node binaries and image archives in Minikube's cache",
        after: &[Step::Preflight],
        gate: "every file has the locked bytes",
        undo: "nothing: other clusters may use the files",
    },
    Node {
        step: Step::BaseImage,
        name: "base-image",
        title: "load the node's image into Docker",
        after: &[Step::Preflight],
        gate: "Docker lists it under the locked digest",
        undo: "nothing: other clusters may use the image",
    },
    Node {
        step: Step::Cluster,
        name: "cluster",
        title: "start Minikube without a network",
        after: &[Step::Cache, Step::BaseImage],
        gate: "Minikube says that node and API server run",
        undo: "delete the cluster, with everything in it",
    },
    Node {
        step: Step::Preload,
        name: "preload",
        title: "bring the pod network's images into the node and read them back",
        after: &[Step::Blobs, Step::Cluster],
        gate: "the node lists each under its locked digest",
        undo: "nothing: the images stay in the node",
    },
    Node {
        step: Step::Images,
        name: "images",
        title: "bring the other images into the node and read them back",
        after: &[Step::Preload],
        gate: "the node lists each under its locked digest",
        undo: "nothing: the images stay in the node",
    },
    Node {
        step: Step::Calico,
        name: "calico",
        title: "install Calico and wait for the pod network",
        after: &[Step::Preload],
        gate: "Calico Available, its workloads rolled out, the node ready, DNS inside the pod range",
        undo: "delete the Installation, wait for the operator to clear up, delete the operator",
    },
    Node {
        step: Step::Istio,
        name: "istio",
        title: "install Istio with the pinned istioctl",
        after: &[Step::Calico, Step::Images],
        gate: "istiod and the gateways rolled out, the webhook has an endpoint",
        undo: "istioctl uninstall --purge, then the namespace and the root certificates that it spread",
    },
    Node {
        step: Step::Policies,
        name: "policies",
        title: "apply namespace, network policies, mutual TLS and authorization",
        after: &[Step::Istio],
        gate: "the API server has taken each",
        undo: "delete what it applied",
    },
    Node {
        step: Step::App,
        name: "app",
        title: "start backend and frontend behind the gateway",
        after: &[Step::Policies],
        gate: "every workload rolled out",
        undo: "delete what it applied",
    },
    Node {
        step: Step::Addons,
        name: "addons",
        title: "start Prometheus, Grafana and Kiali",
        after: &[Step::Istio],
        gate: "every workload rolled out",
        undo: "delete what it applied",
    },
    Node {
        step: Step::Prune,
        name: "prune",
        title: "delete what ztlab applied earlier and this lab or profile does not have",
        after: &[Step::App, Step::Addons],
        gate: "each is gone",
        undo: "nothing: the earlier lab's or profile's install brings it back",
    },
    Node {
        step: Step::Receipt,
        name: "receipt",
        title: "write down what was installed",
        after: &[Step::Prune],
        gate: "the API server has taken it",
        undo: "delete it",
    },
];

impl Step {
    /// Every step in order.
    pub const ALL: [Self; 14] = {
        let mut all = [Self::Preflight; 14];
        let mut number = 0;
        while number < all.len() {
            all[number] = GRAPH[number].step;
            number += 1;
        }
        all
    };

    fn node(self) -> &'static Node {
        &GRAPH[self as usize]
    }

    /// The name that `--from` and `--until` take.
    pub fn name(self) -> &'static str {
        self.node().name
    }

    /// What it does, for people.
    pub fn title(self) -> &'static str {
        self.node().title
    }

    /// The steps that have to be done before it.
    pub fn after(self) -> &'static [Self] {
        self.node().after
    }

    /// What holds when it is done.
    pub fn gate(self) -> &'static str {
        self.node().gate
    }

    /// What `reset` does to take it back.
    pub fn undo(self) -> &'static str {
        self.node().undo
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

    /// The steps that a reset to `to` takes back, the last one first.
    pub fn down_to(target: &Target, to: Self) -> Vec<Self> {
        let later = Self::ALL.into_iter().rev().filter(|step| *step > to);
        later.filter(|step| step.belongs_to(target)).collect()
    }
}

/// The selected steps that a step has to wait for: a step that is not selected is passed through to those before it.
pub fn waits_for(step: Step, selected: &[Step]) -> Vec<Step> {
    let mut found = Vec::new();
    let mut open = step.after().to_vec();
    while let Some(before) = open.pop() {
        if !selected.contains(&before) {
            open.extend(before.after());
        } else if !found.contains(&before) {
            found.push(before);
        }
    }
    found.sort_unstable();
    found
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
        Target::Minikube { cluster: "ztlab".to_owned(), memory: None, cpus: None }
    }

    fn existing() -> Target {
        Target::Existing { context: "kind".to_owned(), node: "docker:kind-control-plane".parse().unwrap() }
    }

    #[test]
    fn the_table_is_in_order_and_every_step_comes_after_what_it_needs() {
        for (number, node) in GRAPH.iter().enumerate() {
            assert_eq!(node.step as usize, number, "{}", node.name);
            assert!(node.after.iter().all(|before| *before < node.step), "{}", node.name);
            assert!(node.after.is_empty() == (node.step == Step::Preflight), "{} would wait for nothing", node.name);
        }
    }

    #[test]
    fn the_receipt_comes_after_everything() {
        let mut before = vec![Step::Receipt];
        let mut number = 0;
        while let Some(step) = before.get(number) {
            let more: Vec<Step> = step.after().iter().filter(|one| !before.contains(one)).copied().collect();
            before.extend(more);
            number += 1;
        }
        assert_eq!(before.len(), Step::ALL.len(), "{before:?}");
    }

    #[test]
    fn independent_work_overlaps() {
        let whole = Step::between(&minikube(), None, None);
        let path = |from: Step, to: Step| {
            let mut open = vec![to];
            while let Some(step) = open.pop() {
                if step == from {
                    return true;
                }
                open.extend(waits_for(step, &whole));
            }
            false
        };
        for (one, other) in [
            (Step::Blobs, Step::Cluster),
            (Step::Cache, Step::BaseImage),
            (Step::Images, Step::Calico),
            (Step::App, Step::Addons),
        ] {
            assert!(!path(one, other) && !path(other, one), "{one} and {other}");
        }
        assert!(path(Step::Policies, Step::App), "an app that starts before its policies is open for a moment");
        assert!(path(Step::Blobs, Step::Preload), "no byte goes to the node before it was hashed");
    }

    #[test]
    fn what_a_target_does_not_have_is_passed_through() {
        let steps = Step::between(&existing(), None, None);
        assert_eq!(waits_for(Step::Preload, &steps), [Step::Preflight, Step::Blobs]);
        let steps = Step::between(&minikube(), Some(Step::App), None);
        assert_eq!(waits_for(Step::App, &steps), [Step::Preflight]);
    }

    #[test]
    fn a_whole_install_runs_every_step_in_order() {
        assert_eq!(Step::between(&minikube(), None, None), Step::ALL);
    }

    #[test]
    fn an_existing_cluster_is_not_started_and_not_deleted() {
        let steps = Step::between(&existing(), None, Some(Step::Preload));
        assert_eq!(steps, [Step::Preflight, Step::Blobs, Step::Preload]);
        assert!(!Step::down_to(&existing(), Step::Preflight).contains(&Step::Cluster));
    }

    #[test]
    fn a_reset_takes_back_the_last_step_first() {
        let steps = Step::down_to(&minikube(), Step::Policies);
        assert_eq!(steps, [Step::Receipt, Step::Prune, Step::Addons, Step::App]);
    }

    #[test]
    fn a_later_start_still_looks_first() {
        assert_eq!(Step::between(&minikube(), Some(Step::App), Some(Step::App)), [Step::Preflight, Step::App]);
    }

    #[test]
    fn names_round_trip() {
        for step in Step::ALL {
            assert_eq!(step.name().parse::<Step>().unwrap(), step);
            assert_eq!(serde_json::to_value(step).unwrap(), step.name());
        }
        assert!("minikube".parse::<Step>().is_err());
    }
}
