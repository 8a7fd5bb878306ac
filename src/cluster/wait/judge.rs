//! Whether an object is what is waited for: small pure judgements, one for each kind of object.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        batch::v1::Job,
        core::v1::{Node, Pod},
        discovery::v1::EndpointSlice,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::api::DynamicObject;

use super::cidr;

/// The words with which the Calico operator reports an image that the node lacks.
const OPERATOR_PULL_FAILURE: &str = "failed to pull container image";

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

pub(super) fn job_done(job: &Job) -> State {
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

pub(super) fn pod_condition(pod: &Pod, wanted: &str) -> State {
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

pub(super) fn nodes_ready(nodes: &[Node]) -> State {
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
pub(super) fn tigera_available(status: &DynamicObject) -> State {
    let conditions = tigera_conditions(status);
    match (conditions.get("Degraded"), conditions.get("Available")) {
        (Some(message), _) if message.contains(OPERATOR_PULL_FAILURE) => State::Hopeless(message.clone()),
        (Some(message), _) => State::Waiting(format!("the operator is degraded: {message}")),
        (None, Some(_)) => State::Met,
        (None, None) => State::Waiting(
            conditions.get("Progressing").cloned().unwrap_or_else(|| "the operator has not reported yet".to_owned()),
        ),
    }
}

/// Why the operator calls a part of its work degraded; `None` when it does not.
pub(super) fn tigera_degraded(status: &DynamicObject) -> Option<String> {
    tigera_conditions(status).remove("Degraded")
}

/// The conditions of a TigeraStatus that hold, with their messages.
fn tigera_conditions(status: &DynamicObject) -> BTreeMap<&str, String> {
    let conditions = status.data.pointer("/status/conditions").and_then(|conditions| conditions.as_array());
    let holding = conditions.into_iter().flatten().filter(|condition| condition["status"] == "True");
    holding
        .filter_map(|condition| {
            let message = condition["message"].as_str().unwrap_or_default();
            // The operator writes one line for each workload.
            Some((condition["type"].as_str()?, message.trim().replace('\n', "; ")))
        })
        .collect()
}

pub(super) fn dns_inside(pods: &[Pod], cidr: &str) -> State {
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

pub(super) fn endpoint_ready(slices: &[EndpointSlice]) -> State {
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
