//! What can be waited for: which objects to watch, and who judges them ([`super::judge`]).

use std::fmt;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        batch::v1::Job,
        core::v1::{Node, Pod},
        discovery::v1::EndpointSlice,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Resource,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde::de::DeserializeOwned;

use super::judge::{self, State};

/// One thing to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// A Deployment whose pods are all new and available.
    Deployment {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A DaemonSet with a ready pod on every node that it wants.
    DaemonSet {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A DaemonSet that is not there, or not any more.
    DaemonSetGone {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A Job that is done.
    Job {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A pod whose condition `Ready` is true.
    PodReady {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A pod whose containers are ready, whatever its readiness gates say.
    ContainersReady {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An API server that answers, and a node that is registered with it, ready or not.
    NodeRegistered,
    /// Every node's condition `Ready`.
    NodesReady,
    /// What the Calico operator says of a part of its work.
    TigeraStatus {
        /// The part, such as `calico`.
        name: String,
    },
    /// The cluster's DNS pods, ready and with an address inside the pod range.
    DnsInside {
        /// The range.
        cidr: String,
    },
    /// A definition that the API server serves.
    DefinitionEstablished {
        /// Its name.
        name: String,
    },
    /// A Service with a ready endpoint: what an admission webhook needs to be called.
    ServiceReady {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// The pods behind a gate, for the search of causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodsOf {
    /// Their namespace.
    pub namespace: String,
    /// What their names begin with; a controller names its pods after itself.
    pub prefix: String,
}

impl PodsOf {
    /// Whether a pod is one of them, and not on its way out.
    pub fn has(&self, pod: &Pod) -> bool {
        pod.metadata.deletion_timestamp.is_none()
            && pod.metadata.name.as_ref().is_some_and(|name| name.starts_with(&self.prefix))
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment { namespace, name } => write!(formatter, "rollout of the Deployment {namespace}/{name}"),
            Self::DaemonSet { namespace, name } => write!(formatter, "rollout of the DaemonSet {namespace}/{name}"),
            Self::DaemonSetGone { namespace, name } => write!(formatter, "removal of the DaemonSet {namespace}/{name}"),
            Self::Job { namespace, name } => write!(formatter, "end of the Job {namespace}/{name}"),
            Self::PodReady { namespace, name } => write!(formatter, "readiness of the pod {namespace}/{name}"),
            Self::ContainersReady { namespace, name } => write!(formatter, "start of the pod {namespace}/{name}"),
            Self::NodeRegistered => formatter.write_str("answer of the API server"),
            Self::NodesReady => formatter.write_str("readiness of the node"),
            Self::TigeraStatus { name } => write!(formatter, "TigeraStatus {name} Available"),
            Self::DnsInside { cidr } => write!(formatter, "readiness of DNS inside {cidr}"),
            Self::DefinitionEstablished { name } => write!(formatter, "establishment of the definition {name}"),
            Self::ServiceReady { namespace, name } => {
                write!(formatter, "a ready endpoint of the Service {namespace}/{name}")
            }
        }
    }
}

impl Gate {
    /// A Deployment's rollout.
    pub fn deployment(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Deployment { namespace: namespace.into(), name: name.into() }
    }

    /// A DaemonSet's rollout.
    pub fn daemon_set(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::DaemonSet { namespace: namespace.into(), name: name.into() }
    }

    /// Where to look for causes when the gate stays shut.
    pub fn pods(&self) -> Option<PodsOf> {
        let pods =
            |namespace: &str, prefix: &str| Some(PodsOf { namespace: namespace.to_owned(), prefix: prefix.to_owned() });
        match self {
            Self::Deployment { namespace, name }
            | Self::DaemonSet { namespace, name }
            | Self::Job { namespace, name }
            | Self::PodReady { namespace, name }
            | Self::ContainersReady { namespace, name } => pods(namespace, name),
            Self::TigeraStatus { .. } => pods("calico-system", ""),
            Self::DnsInside { .. } => pods("kube-system", "coredns"),
            // A Service says nothing about its pods' names.
            Self::ServiceReady { namespace, .. } => pods(namespace, ""),
            Self::NodeRegistered
            | Self::NodesReady
            | Self::DefinitionEstablished { .. }
            | Self::DaemonSetGone { .. } => None,
        }
    }

    /// What to watch for it.
    pub fn watched(&self) -> Watched {
        match self {
            Self::Deployment { namespace, name } => Watched::named::<Deployment>(Some(namespace), name),
            Self::DaemonSet { namespace, name } | Self::DaemonSetGone { namespace, name } => {
                Watched::named::<DaemonSet>(Some(namespace), name)
            }
            Self::Job { namespace, name } => Watched::named::<Job>(Some(namespace), name),
            Self::PodReady { namespace, name } | Self::ContainersReady { namespace, name } => {
                Watched::named::<Pod>(Some(namespace), name)
            }
            Self::NodeRegistered | Self::NodesReady => Watched::all::<Node>(None),
            Self::TigeraStatus { name } => {
                let kind = GroupVersionKind::gvk("operator.tigera.io", "v1", "TigeraStatus");
                Watched {
                    resource: ApiResource::from_gvk_with_plural(&kind, "tigerastatuses"),
                    namespace: None,
                    fields: Some(format!("metadata.name={name}")),
                    labels: None,
                }
            }
            Self::DnsInside { .. } => Watched::all::<Pod>(Some("kube-system")).labelled("k8s-app=kube-dns".to_owned()),
            Self::DefinitionEstablished { name } => Watched::named::<CustomResourceDefinition>(None, name),
            Self::ServiceReady { namespace, name } => {
                Watched::all::<EndpointSlice>(Some(namespace)).labelled(format!("kubernetes.io/service-name={name}"))
            }
        }
    }

    /// How it stands, given the objects that [`Gate::watched`] names.
    pub fn judge(&self, objects: &[DynamicObject]) -> State {
        match self {
            Self::Deployment { .. } => only(objects, judge::deployment_rolled_out),
            Self::DaemonSet { .. } => only(objects, judge::daemon_set_rolled_out),
            Self::DaemonSetGone { .. } if objects.is_empty() => State::Met,
            Self::DaemonSetGone { .. } => State::Waiting("it is still there".to_owned()),
            Self::Job { .. } => only(objects, judge::job_done),
            Self::PodReady { .. } => only(objects, |pod: &Pod| judge::pod_condition(pod, "Ready")),
            Self::ContainersReady { .. } => only(objects, |pod: &Pod| judge::pod_condition(pod, "ContainersReady")),
            Self::NodeRegistered if objects.is_empty() => State::Waiting("no node is registered yet".to_owned()),
            Self::NodeRegistered => State::Met,
            Self::NodesReady => judge::nodes_ready(&typed(objects)),
            Self::TigeraStatus { .. } => objects.first().map_or_else(absent, judge::tigera_available),
            Self::DnsInside { cidr } => judge::dns_inside(&typed(objects), cidr),
            Self::DefinitionEstablished { .. } => only(objects, |definition: &CustomResourceDefinition| {
                if judge::crd_established(definition) {
                    State::Met
                } else {
                    State::Waiting("not established yet".to_owned())
                }
            }),
            Self::ServiceReady { .. } => judge::endpoint_ready(&typed(objects)),
        }
    }
}

/// Objects of one kind, chosen by namespace and selectors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watched {
    /// Their kind.
    pub resource: ApiResource,
    /// Their namespace; every one when absent.
    pub namespace: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
}

impl Watched {
    /// Every object of a kind in a namespace.
    pub fn all<Kind: Resource<DynamicType = ()>>(namespace: Option<&str>) -> Self {
        let resource = ApiResource::erase::<Kind>(&());
        Self { resource, namespace: namespace.map(str::to_owned), fields: None, labels: None }
    }

    fn named<Kind: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> Self {
        Self { fields: Some(format!("metadata.name={name}")), ..Self::all::<Kind>(namespace) }
    }

    fn labelled(self, labels: String) -> Self {
        Self { labels: Some(labels), ..self }
    }
}

fn absent() -> State {
    State::Waiting("it does not exist yet".to_owned())
}

/// Judges the one object that there can be.
fn only<Kind>(objects: &[DynamicObject], by: impl FnOnce(&Kind) -> State) -> State
where
    Kind: Resource + DeserializeOwned,
{
    typed(objects).first().map_or_else(absent, by)
}

/// Objects as their own type; what is no such object is left out.
pub(super) fn typed<Kind: Resource + DeserializeOwned>(objects: &[DynamicObject]) -> Vec<Kind> {
    objects.iter().filter_map(|object| object.clone().try_parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gate_without_its_object_waits_for_it() {
        let gate = Gate::deployment("webapp", "backend");
        assert_eq!(gate.judge(&[]), absent());
        let watched = gate.watched();
        assert_eq!(
            (watched.namespace.as_deref(), watched.fields.as_deref()),
            (Some("webapp"), Some("metadata.name=backend"))
        );
        let object = serde_json::from_value(
            json!({"metadata": {"name": "backend", "generation": 1}, "spec": {"replicas": 0, "selector": {}, "template": {}},
            "status": {"observedGeneration": 1}}),
        );
        assert_eq!(gate.judge(&[object.unwrap()]), State::Met);
    }

    #[test]
    fn what_is_to_be_gone_is_gone_when_there_is_none() {
        let gate = Gate::DaemonSetGone { namespace: "calico-system".to_owned(), name: "csi-node-driver".to_owned() };
        assert_eq!(gate.watched().fields.as_deref(), Some("metadata.name=csi-node-driver"));
        assert_eq!(gate.judge(&[]), State::Met);
        let object = serde_json::from_value(json!({"metadata": {"name": "csi-node-driver"}})).unwrap();
        assert!(matches!(gate.judge(&[object]), State::Waiting(_)));
    }

    #[test]
    fn a_node_is_registered_before_it_is_ready() {
        let node = serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": []}})).unwrap();
        assert_eq!(Gate::NodeRegistered.judge(std::slice::from_ref(&node)), State::Met);
        assert!(matches!(Gate::NodesReady.judge(&[node]), State::Waiting(_)));
        assert!(matches!(Gate::NodeRegistered.judge(&[]), State::Waiting(_)));
    }

    #[test]
    fn what_the_operator_makes_is_watched_by_its_own_plural() {
        let watched = Gate::TigeraStatus { name: "calico".to_owned() }.watched();
        assert_eq!(watched.resource.plural, "tigerastatuses");
    }
}
