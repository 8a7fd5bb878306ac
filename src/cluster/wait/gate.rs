//! What can be waited for, and how to look at it once.

use std::fmt;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};

use super::judge::{
    State, crd_established, daemon_set_rolled_out, deployment_rolled_out, dns_inside, endpoint_ready, job_done, judge,
    nodes_ready, pod_condition, tigera_available,
};

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

impl fmt::Display for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment { namespace, name } => write!(formatter, "rollout of the Deployment {namespace}/{name}"),
            Self::DaemonSet { namespace, name } => write!(formatter, "rollout of the DaemonSet {namespace}/{name}"),
            Self::Job { namespace, name } => write!(formatter, "end of the Job {namespace}/{name}"),
            Self::PodReady { namespace, name } => write!(formatter, "readiness of the pod {namespace}/{name}"),
            Self::ContainersReady { namespace, name } => write!(formatter, "start of the pod {namespace}/{name}"),
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
            Self::NodesReady | Self::DefinitionEstablished { .. } => None,
        }
    }

    /// Looks once.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn look(&self, client: &Client) -> Result<State, kube::Error> {
        let all = client.clone();
        Ok(match self {
            Self::Deployment { namespace, name } => {
                judge(Api::namespaced(all, namespace).get_opt(name).await?, deployment_rolled_out)
            }
            Self::DaemonSet { namespace, name } => {
                judge(Api::namespaced(all, namespace).get_opt(name).await?, daemon_set_rolled_out)
            }
            Self::Job { namespace, name } => judge(Api::namespaced(all, namespace).get_opt(name).await?, job_done),
            Self::PodReady { namespace, name } => {
                judge(Api::namespaced(all, namespace).get_opt(name).await?, |pod| pod_condition(pod, "Ready"))
            }
            Self::ContainersReady { namespace, name } => {
                judge(Api::namespaced(all, namespace).get_opt(name).await?, |pod| pod_condition(pod, "ContainersReady"))
            }
            Self::NodesReady => nodes_ready(&Api::all(all).list(&ListParams::default()).await?.items),
            Self::TigeraStatus { name } => {
                let kind = GroupVersionKind::gvk("operator.tigera.io", "v1", "TigeraStatus");
                let resource = ApiResource::from_gvk_with_plural(&kind, "tigerastatuses");
                judge(Api::<DynamicObject>::all_with(all, &resource).get_opt(name).await?, tigera_available)
            }
            Self::DnsInside { cidr } => {
                let selector = ListParams::default().labels("k8s-app=kube-dns");
                dns_inside(&Api::namespaced(all, "kube-system").list(&selector).await?.items, cidr)
            }
            Self::DefinitionEstablished { name } => judge(Api::all(all).get_opt(name).await?, |definition| {
                if crd_established(definition) { State::Met } else { State::Waiting("not established yet".to_owned()) }
            }),
            Self::ServiceReady { namespace, name } => {
                let selector = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
                endpoint_ready(&Api::namespaced(all, namespace).list(&selector).await?.items)
            }
        })
    }
}
