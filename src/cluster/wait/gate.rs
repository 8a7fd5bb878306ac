//! What can be waited for: one small judgement for each kind of object.

use std::{collections::BTreeMap, fmt};

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
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};

use super::cidr;

/// The words with which the Calico operator reports an image that the node lacks.
const OPERATOR_PULL_FAILURE: &str = "failed to pull container image";

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

/// How a gate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is open.
    Met,
    /// Not yet, because of this.
    Waiting(String),
    /// It will not open by waiting, because of this.
    Hopeless(String),
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

fn judge<Object>(object: Option<Object>, by: impl FnOnce(&Object) -> State) -> State {
    object.map_or_else(|| State::Waiting("it does not exist yet".to_owned()), |object| by(&object))
}

/// As `kubectl rollout status` judges: the controller has seen the newest spec, and all pods are new and available.
pub fn deployment_rolled_out(deployment: &Deployment) -> State {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else {
        return State::Waiting("its controller has not seen it yet".to_owned());
    };
    let (total, updated) = (status.replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    let available = status.available_replicas.unwrap_or(0);
    if status.observed_generation < deployment.metadata.generation {
        State::Waiting("its controller has not seen the newest version yet".to_owned())
    } else if updated < wanted {
        State::Waiting(format!("{updated} of {wanted} pods are new"))
    } else if total > updated {
        State::Waiting(format!("{} old pods are still there", total - updated))
    } else if available < wanted {
        State::Waiting(format!("{available} of {wanted} pods are available"))
    } else {
        State::Met
    }
}

/// As `kubectl rollout status` judges, and at least one pod: zero wanted means that no node was counted yet.
pub fn daemon_set_rolled_out(daemon_set: &DaemonSet) -> State {
    let Some(status) = &daemon_set.status else {
        return State::Waiting("its controller has not seen it yet".to_owned());
    };
    let wanted = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    if status.observed_generation < daemon_set.metadata.generation || wanted == 0 {
        State::Waiting("its controller has not counted the nodes yet".to_owned())
    } else if updated < wanted || available < wanted {
        State::Waiting(format!("{available} of {wanted} pods are available"))
    } else {
        State::Met
    }
}

fn job_done(job: &Job) -> State {
    let conditions = job.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let mut state = State::Waiting("it has not finished".to_owned());
    for condition in conditions.filter(|condition| condition.status == "True") {
        match condition.type_.as_str() {
            "Complete" => state = State::Met,
            "Failed" => return State::Hopeless(condition.message.clone().unwrap_or_else(|| "it failed".to_owned())),
            _ => {}
        }
    }
    state
}

fn pod_condition(pod: &Pod, wanted: &str) -> State {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let condition = conditions.into_iter().find(|condition| condition.type_ == wanted);
    match condition {
        Some(condition) if condition.status == "True" => State::Met,
        Some(condition) => State::Waiting(condition.message.clone().unwrap_or_else(|| format!("not {wanted}"))),
        None => State::Waiting("it has not been started".to_owned()),
    }
}

/// Whether a pod is ready and not on its way out.
pub fn pod_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && pod_condition(pod, "Ready") == State::Met
}

fn nodes_ready(nodes: &[Node]) -> State {
    let ready = |node: &&Node| {
        let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    match nodes.iter().find(|node| !ready(node)) {
        None if nodes.is_empty() => State::Waiting("no node is registered yet".to_owned()),
        None => State::Met,
        Some(node) => State::Waiting(format!("{} is not ready", node.metadata.name.as_deref().unwrap_or("a node"))),
    }
}

/// Available, and said about the newest version; a pull failure in Degraded ends the wait.
fn tigera_available(status: &DynamicObject) -> State {
    let conditions: BTreeMap<&str, (&str, &str)> = status
        .data
        .pointer("/status/conditions")
        .and_then(|conditions| conditions.as_array())
        .into_iter()
        .flatten()
        .filter_map(|condition| {
            let text = |key: &str| condition[key].as_str();
            Some((text("type")?, (text("status")?, text("message").unwrap_or_default())))
        })
        .collect();
    let holds = |kind: &str| conditions.get(kind).filter(|(status, _)| *status == "True").map(|(_, message)| *message);
    // The operator writes one line for each workload.
    let holds = |kind: &str| holds(kind).map(|message| message.trim().replace('\n', "; "));
    match (holds("Degraded"), holds("Available")) {
        (Some(message), _) if message.contains(OPERATOR_PULL_FAILURE) => State::Hopeless(message),
        (Some(message), _) => State::Waiting(format!("the operator is degraded: {message}")),
        (None, Some(_)) => State::Met,
        (None, None) => {
            State::Waiting(holds("Progressing").unwrap_or_else(|| "the operator has not reported yet".to_owned()))
        }
    }
}

fn dns_inside(pods: &[Pod], cidr: &str) -> State {
    // Before Calico, CoreDNS may run without an address, or with one that Calico does not know; restarts are normal.
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = pod.metadata.name.as_deref().unwrap_or("a DNS pod");
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        match address {
            None => return State::Waiting(format!("{name} has no address")),
            Some(address) if !cidr::contains(cidr, address) => {
                return State::Waiting(format!("{name} has the address {address}, outside the pod range"));
            }
            Some(_) if !pod_ready(pod) => return State::Waiting(format!("{name} is not ready")),
            Some(_) => {}
        }
    }
    if pods.is_empty() { State::Waiting("there is no DNS pod yet".to_owned()) } else { State::Met }
}

/// Whether the API server serves a definition's kind.
pub fn crd_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

fn endpoint_ready(slices: &[EndpointSlice]) -> State {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    // The API's own rule: an unknown `ready` counts as true.
    let ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    if endpoints.into_iter().any(ready) { State::Met } else { State::Waiting("no ready endpoint".to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn waiting(state: &State) -> &str {
        let State::Waiting(text) = state else { panic!("{state:?}") };
        text
    }

    #[test]
    fn a_deployment_is_rolled_out_when_all_pods_are_new_and_available() {
        let deployment = |status: Value| -> Deployment {
            from_value(json!({"metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": status})).unwrap()
        };
        for (status, expected) in [
            (
                json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                "newest version",
            ),
            (
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
                "1 of 2 pods are new",
            ),
            (
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}),
                "1 old pods",
            ),
            (
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
                "1 of 2 pods are available",
            ),
        ] {
            assert!(waiting(&deployment_rolled_out(&deployment(status))).contains(expected), "{expected}");
        }
        let done = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(deployment_rolled_out(&deployment(done)), State::Met);
    }

    #[test]
    fn a_daemon_set_that_has_counted_no_node_is_not_rolled_out() {
        let daemon_set = |wanted: i32, available: i32| -> DaemonSet {
            from_value(json!({"metadata": {"generation": 1}, "status": {
                "observedGeneration": 1, "desiredNumberScheduled": wanted, "currentNumberScheduled": wanted,
                "numberMisscheduled": 0, "numberReady": available, "updatedNumberScheduled": wanted, "numberAvailable": available}}))
            .unwrap()
        };
        assert_ne!(daemon_set_rolled_out(&daemon_set(0, 0)), State::Met);
        assert_eq!(waiting(&daemon_set_rolled_out(&daemon_set(1, 0))), "0 of 1 pods are available");
        assert_eq!(daemon_set_rolled_out(&daemon_set(1, 1)), State::Met);
    }

    fn tigera(conditions: Value) -> State {
        tigera_available(
            &from_value(
                json!({"apiVersion": "operator.tigera.io/v1", "kind": "TigeraStatus", "metadata": {"name": "calico"},
                "status": {"conditions": conditions}}),
            )
            .unwrap(),
        )
    }

    #[test]
    fn the_operators_words_decide() {
        let condition =
            |kind: &str, status: &str, message: &str| json!({"type": kind, "status": status, "message": message});
        let fine = json!([
            condition("Degraded", "False", "All Objects Available"),
            condition("Available", "True", "All objects available")
        ]);
        assert_eq!(tigera(fine), State::Met);
        let pull = condition(
            "Degraded",
            "True",
            "Pod calico-system/calico-node-x failed to pull container image for: calico-node",
        );
        assert!(matches!(tigera(json!([pull])), State::Hopeless(text) if text.contains("calico-node")));
        let other = json!([condition("Degraded", "True", "Error querying"), condition("Available", "True", "")]);
        assert_eq!(waiting(&tigera(other)), "the operator is degraded: Error querying");
        let busy = json!([condition("Progressing", "True", "DaemonSet calico-node is not available")]);
        assert_eq!(waiting(&tigera(busy)), "DaemonSet calico-node is not available");
        assert_eq!(waiting(&tigera(json!([]))), "the operator has not reported yet");
    }

    #[test]
    fn dns_must_be_ready_and_inside_the_pool() {
        let pod = |address: Option<&str>, ready: &str| -> Pod {
            from_value(json!({"metadata": {"name": "coredns-1"}, "status": {
                "podIP": address, "conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap()
        };
        let judge = |pods: &[Pod]| dns_inside(pods, "10.244.0.0/16");
        assert_eq!(judge(&[pod(Some("10.244.1.2"), "True")]), State::Met);
        assert_eq!(waiting(&judge(&[pod(None, "False")])), "coredns-1 has no address");
        assert!(waiting(&judge(&[pod(Some("10.88.0.2"), "True")])).contains("outside"));
        assert_eq!(waiting(&judge(&[pod(Some("10.244.1.2"), "False")])), "coredns-1 is not ready");
        assert_eq!(waiting(&judge(&[])), "there is no DNS pod yet");
    }

    #[test]
    fn a_failed_job_is_hopeless() {
        let job = |kind: &str| -> Job {
            from_value(json!({"metadata": {}, "status": {"conditions": [{"type": kind, "status": "True", "message": "BackoffLimit"}]}})).unwrap()
        };
        assert_eq!(job_done(&job("Complete")), State::Met);
        assert_eq!(job_done(&job("Failed")), State::Hopeless("BackoffLimit".to_owned()));
        assert!(matches!(job_done(&from_value(json!({"metadata": {}})).unwrap()), State::Waiting(_)));
    }

    #[test]
    fn a_service_needs_an_endpoint_that_is_ready() {
        let slice = |ready: Value| -> EndpointSlice {
            from_value(json!({"metadata": {}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]})).unwrap()
        };
        assert_eq!(endpoint_ready(&[slice(json!(true))]), State::Met);
        assert_ne!(endpoint_ready(&[slice(json!(false))]), State::Met);
        assert_ne!(endpoint_ready(&[]), State::Met);
    }
}
