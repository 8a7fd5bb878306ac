//! Asks the cluster for what the causes are read from. Best effort: a request that fails finds nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    core::v1::{Event, Pod},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, Resource,
    api::{DynamicObject, GetParams, ListParams, LogParams, Request},
    client::Body,
};
use serde::de::DeserializeOwned;

use super::{
    cause::{Cause, Finding},
    gate::{Gate, PodsOf},
    judge::{pod_ready, tigera_degraded},
    pod,
};

/// How much of a container's log is shown: a Python traceback fits.
const LOG_TAIL_LINES: i64 = 15;
/// Apart by more than this, tokens and fresh certificates are refused: istiod's are valid from two minutes before
/// they were made (istio 1.20.0, `security/pkg/pki/util/generate_cert.go`).
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(60);
/// A diagnosis is not worth waiting long for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that can be found out about a gate that stays shut; `objects` are those that it watches.
pub(super) async fn diagnose(client: &Client, gate: &Gate, objects: &[DynamicObject]) -> Vec<Finding> {
    let found = tokio::time::timeout(PATIENCE, async {
        let mut findings = match gate.pods() {
            Some(pods) => of_pods(client, &pods).await,
            None => Vec::new(),
        };
        if let Gate::TigeraStatus { name } = gate
            && findings.is_empty()
            && let Some(message) = objects.first().and_then(tigera_degraded)
        {
            findings.push(plain("TigeraStatus", Cause::OperatorDegraded { component: name.clone(), message }));
        }
        findings.extend(clocks(client).await);
        findings
    });
    found.await.unwrap_or_default()
}

async fn of_pods(client: &Client, pods: &PodsOf) -> Vec<Finding> {
    let mut events: Vec<Event> = list(client, &pods.namespace, &ListParams::default().fields("type=Warning")).await;
    events.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    let policies: Vec<NetworkPolicy> = list(client, &pods.namespace, &ListParams::default()).await;
    let there: Vec<Pod> = list(client, &pods.namespace, &ListParams::default()).await;
    let mut findings = Vec::new();
    for pod in there.iter().filter(|pod| pods.has(pod) && !pod_ready(pod)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let events = pod::warnings_of(&events, |about| about == name);
        let Some((cause, container)) = pod::cause(pod, &events, &policies) else { continue };
        let log = match container {
            Some(container) => log_tail(client, pod, &container).await,
            None => Vec::new(),
        };
        let cause = pod::clock_in_log(&log).unwrap_or(cause);
        findings.push(Finding { object: format!("pod {}/{name}", pods.namespace), cause, log, events });
    }
    // Pods that were never made leave only events, at the ReplicaSet or the like that was to make them.
    let refused = pod::warnings_of(&events, |about| about.starts_with(&pods.prefix));
    if let (true, Some(message)) = (findings.is_empty(), refused.iter().rev().find(|line| line.contains("webhook"))) {
        let cause = Cause::WebhookRefusing { message: message.clone() };
        findings.push(plain(&format!("{}/{}", pods.namespace, pods.prefix), cause));
    }
    findings
}

/// The cluster's clock beside this machine's, when they are too far apart.
async fn clocks(client: &Client) -> Option<Finding> {
    let apart = offset(client).await?;
    (apart.abs() > CLOCKS_APART).then(|| {
        let direction = if apart.is_positive() { "ahead of" } else { "behind" };
        let message = format!("the cluster's is {} s {direction} this machine's", apart.abs().as_secs());
        plain("the cluster's clock", Cause::ClockSkew { message })
    })
}

/// How far the API server's clock is ahead of this machine's, by the date of an answer.
async fn offset(client: &Client) -> Option<SignedDuration> {
    let request = Request::new("/api/v1/namespaces").get("kube-system", &GetParams::default()).ok()?;
    let answer = client.send(request.map(Body::from)).await.ok()?;
    let date = jiff::fmt::rfc2822::parse(answer.headers().get("date")?.to_str().ok()?).ok()?;
    Some(date.timestamp().duration_since(Timestamp::now()))
}

fn plain(object: &str, cause: Cause) -> Finding {
    Finding { object: object.to_owned(), cause, log: Vec::new(), events: Vec::new() }
}

async fn list<Kind>(client: &Client, namespace: &str, parameters: &ListParams) -> Vec<Kind>
where
    Kind: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api = Api::<Kind>::namespaced(client.clone(), namespace);
    api.list(parameters).await.map(|list| list.items).unwrap_or_default()
}

async fn log_tail(client: &Client, pod: &Pod, container: &str) -> Vec<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let parameters = LogParams {
        container: Some(container.to_owned()),
        tail_lines: Some(LOG_TAIL_LINES),
        // The container that runs now has only begun; the one before it said why it ended.
        previous: true,
        ..Default::default()
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let log = match api.logs(name, &parameters).await {
        Ok(log) => log,
        Err(_) => api.logs(name, &LogParams { previous: false, ..parameters }).await.unwrap_or_default(),
    };
    log.lines().map(str::to_owned).collect()
}
