//! The pods that the calls are made from.
//!
//! | pod | namespace | labelled as | account | sidecar | stands for |
//! |---|---|---|---|---|---|
//! | caller | the app's | frontend | frontend | yes | one who may: the positive control |
//! | impostor | the app's | frontend | loadtest | yes | the right label, the wrong certificate |
//! | plain | the app's | frontend | frontend | no | the right label, no certificate |
//! | stranger | the app's | (nobody's) | frontend | no | one whom no network policy lets in |
//! | outsider | `ztlab-probe` | frontend | default | no | the same label in another namespace; a namespace without policies |
//!
//! All have a readiness gate that nobody ever fulfils. A pod labelled `app: frontend` would otherwise become an
//! endpoint of the frontend's Service, and the app's users would be sent to a pod that only sleeps. So what is waited
//! for is `ContainersReady`, not `Ready`.
//!
//! The stranger's own way out is opened by a policy for it alone. Else default-deny would drop its calls as they leave,
//! and the probe could not see whether the called pod's policy was widened.

use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::ProofContext;
use crate::cluster::{
    apply::{self, ApplyError, ApplyOptions, MANAGED_BY},
    wait::{Gate, WaitError, wait_for},
};

/// The label that marks a pod of a proof; its value says which.
pub const PROBE_LABEL: &str = "ztlab.dev/probe";
/// A namespace without injection and without policies.
pub const OUTSIDE_NAMESPACE: &str = "ztlab-probe";
/// The pods stop by themselves after this, should nobody be left to delete them.
const LIFETIME_SECONDS: u64 = 900;
/// Starting a pod with a sidecar took 3 to 10 s; a loaded laptop takes much longer.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// Leftovers of an interrupted run, a namespace among them, are gone after some 11 s.
const CLEAN_DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// The probing pods did not come up.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ProberError {
    /// They could not be made.
    #[error("cannot make the probing pods")]
    #[diagnostic(code(proof::prober), help("`ztlab install` brings what is missing, then `ztlab verify` again"))]
    Apply(#[from] ApplyError),
    /// They did not start.
    #[error("the probing pods did not start")]
    #[diagnostic(
        code(proof::prober_start),
        help("type `kubectl get pods -A` to see what keeps it, then `ztlab verify` again")
    )]
    Start(#[from] WaitError),
    /// The API server does not answer.
    #[error("cannot clear away the probing pods of an earlier run")]
    #[diagnostic(code(proof::leftovers), help("type `kubectl get pods -A -l ztlab.dev/probe`"))]
    Cluster(#[from] kube::Error),
    /// Those of an earlier run stay.
    #[error("the probing pods of an earlier run are still there after {} s", CLEAN_DEADLINE.as_secs())]
    #[diagnostic(code(proof::leftovers), help("type `kubectl get pods -A -l ztlab.dev/probe` and delete them"))]
    Leftovers,
}

/// Where one probing pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prober {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The probing pods, all started. The table above says what each stands for.
#[derive(Debug, Clone)]
pub struct Probers {
    /// One who may.
    pub caller: Prober,
    /// The right label, the wrong certificate.
    pub impostor: Prober,
    /// The right label, no certificate.
    pub plain: Prober,
    /// One whom no network policy lets in.
    pub stranger: Prober,
    /// A pod of another namespace.
    pub outsider: Prober,
}

impl Probers {
    fn of(app_namespace: &str) -> Self {
        let prober = |namespace: &str, role: &str| Prober {
            namespace: namespace.to_owned(),
            name: format!("ztlab-probe-{role}"),
        };
        Self {
            caller: prober(app_namespace, "caller"),
            impostor: prober(app_namespace, "impostor"),
            plain: prober(app_namespace, "plain"),
            stranger: prober(app_namespace, "stranger"),
            outsider: prober(OUTSIDE_NAMESPACE, "outsider"),
        }
    }

    fn all(&self) -> [&Prober; 5] {
        [&self.caller, &self.impostor, &self.plain, &self.stranger, &self.outsider]
    }
}

/// Makes the pods, all at once, and waits until their containers are ready.
///
/// # Errors
/// When they cannot be made or do not start; what was made is then removed.
pub async fn start(context: &ProofContext<'_>) -> Result<Probers, ProberError> {
    clear(context).await?;
    let started = make(context).await;
    if started.is_err() {
        remove(context).await;
    }
    started
}

async fn make(context: &ProofContext<'_>) -> Result<Probers, ProberError> {
    let probers = Probers::of(&context.app_namespace);
    let silent = |_: String| {};
    let options = ApplyOptions { deadline: START_DEADLINE, ..ApplyOptions::default() };
    let outside = Api::<ServiceAccount>::namespaced(context.client.clone(), OUTSIDE_NAMESPACE);
    let (namespace, rest) = objects(&probers, &context.app_namespace, &context.prober_image);
    apply::apply(&context.client, &namespace, options, &silent).await?;
    // A pod is refused until its namespace's default account has been made.
    let end = Instant::now() + START_DEADLINE;
    while outside.get_metadata_opt("default").await?.is_none() && Instant::now() < end {
        sleep(PAUSE).await;
    }
    apply::apply(&context.client, &rest, options, &silent).await?;
    let gates = probers
        .all()
        .map(|prober| Gate::ContainersReady { namespace: prober.namespace.clone(), name: prober.name.clone() });
    wait_for(&context.client, &gates, START_DEADLINE, &silent).await?;
    Ok(probers)
}

/// Deletes whatever the proof made, without waiting for the end of it. Best effort: the pods stop by themselves too.
pub async fn remove(context: &ProofContext<'_>) {
    let client = &context.client;
    let selector = ListParams::default().labels(PROBE_LABEL);
    let (now, soon) = (DeleteParams::default().grace_period(0), DeleteParams::default());
    let pods = Api::<Pod>::namespaced(client.clone(), &context.app_namespace);
    let policies = Api::<NetworkPolicy>::namespaced(client.clone(), &context.app_namespace);
    let namespaces = Api::<Namespace>::all(client.clone());
    let deleted = tokio::join!(
        pods.delete_collection(&now, &selector),
        policies.delete_collection(&soon, &selector),
        namespaces.delete(OUTSIDE_NAMESPACE, &soon),
    );
    if let (Err(error), ..) = &deleted {
        tracing::warn!(%error, "the probing pods could not be deleted; they end by themselves");
    }
}

/// Removes the leftovers of an interrupted run and waits until they are gone: a pod cannot be changed in place.
async fn clear(context: &ProofContext<'_>) -> Result<(), ProberError> {
    let end = Instant::now() + CLEAN_DEADLINE;
    let mut asked = false;
    while left_over(&context.client, &context.app_namespace).await? {
        if !asked {
            remove(context).await;
            asked = true;
        }
        if Instant::now() >= end {
            return Err(ProberError::Leftovers);
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

async fn left_over(client: &Client, app_namespace: &str) -> Result<bool, kube::Error> {
    let pods = Api::<Pod>::namespaced(client.clone(), app_namespace);
    if !pods.list_metadata(&ListParams::default().labels(PROBE_LABEL)).await?.items.is_empty() {
        return Ok(true);
    }
    Ok(Api::<Namespace>::all(client.clone()).get_metadata_opt(OUTSIDE_NAMESPACE).await?.is_some())
}

/// The namespace first, then everything in it and the pods of the app's namespace.
fn objects(probers: &Probers, app_namespace: &str, image: &str) -> (Vec<DynamicObject>, Vec<DynamicObject>) {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": OUTSIDE_NAMESPACE, "labels": {"istio-injection": "disabled", PROBE_LABEL: "outside"}},
    });
    let way_out = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "ztlab-probe-stranger", "namespace": app_namespace, "labels": {PROBE_LABEL: "stranger"}},
        "spec": {"podSelector": {"matchLabels": {PROBE_LABEL: "stranger"}}, "policyTypes": ["Egress"], "egress": [{}]},
    });
    let rest = vec![
        way_out,
        pod(&probers.caller, image, "caller", Some("frontend"), "frontend", true),
        pod(&probers.impostor, image, "impostor", Some("frontend"), "loadtest", true),
        pod(&probers.plain, image, "plain", Some("frontend"), "frontend", false),
        pod(&probers.stranger, image, "stranger", None, "frontend", false),
        pod(&probers.outsider, image, "outsider", Some("frontend"), "default", false),
    ];
    let object = |value: Value| serde_json::from_value(value).ok();
    (object(namespace).into_iter().collect(), rest.into_iter().filter_map(object).collect())
}

fn pod(prober: &Prober, image: &str, role: &str, app: Option<&str>, account: &str, sidecar: bool) -> Value {
    let mut labels = json!({
        MANAGED_BY.0: MANAGED_BY.1,
        PROBE_LABEL: role,
        "sidecar.istio.io/inject": if sidecar { "true" } else { "false" },
    });
    if let Some(app) = app {
        labels["app"] = Value::from(app);
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": prober.name, "namespace": prober.namespace, "labels": labels},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFETIME_SECONDS,
            "terminationGracePeriodSeconds": 1,
            // See the module's first lines: never an endpoint of anything.
            "readinessGates": [{"conditionType": "ztlab.dev/never-an-endpoint"}],
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 10003, "runAsGroup": 10003,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": super::curl::CONTAINER,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", format!("exec sleep {LIFETIME_SECONDS}")],
                "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "48Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

/// Addresses that the egress probe calls: nothing in it may depend on names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// What it is, for people.
    pub name: String,
    /// The URL with an address in it.
    pub url: String,
}

/// The API server, a DNS pod's port beside 53, and istiod's debug port.
///
/// # Errors
/// When the API server does not answer.
pub async fn destinations(client: &Client) -> Result<Vec<Destination>, kube::Error> {
    use k8s_openapi::api::core::v1::Service;
    let service = |namespace: &str, name: &str| {
        let api = Api::<Service>::namespaced(client.clone(), namespace);
        let name = name.to_owned();
        async move { Ok::<_, kube::Error>(api.get(&name).await?.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default()) }
    };
    let dns = Api::<Pod>::namespaced(client.clone(), "kube-system");
    let (api_server, istiod) = (service("default", "kubernetes"), service(super::mesh::ISTIO_NAMESPACE, "istiod"));
    let addresses = try_join_all([futures::FutureExt::boxed(api_server), futures::FutureExt::boxed(istiod)]).await?;
    let mut found = vec![
        Destination { name: "the API server".to_owned(), url: format!("https://{}:443/version", addresses[0]) },
        Destination { name: "istiod's debug port".to_owned(), url: format!("http://{}:15014/version", addresses[1]) },
    ];
    let pods = dns.list(&ListParams::default().labels("k8s-app=kube-dns")).await?;
    let address = pods.items.iter().find_map(|pod| pod.status.as_ref()?.pod_ip.clone());
    if let Some(address) = address {
        found.push(Destination {
            name: "the DNS pod's health port".to_owned(),
            url: format!("http://{address}:8181/ready"),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<Value> {
        let (namespace, rest) = objects(&Probers::of("webapp"), "webapp", "docker.io/curlimages/curl:8.5.0");
        namespace.into_iter().chain(rest).map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    #[test]
    fn no_probing_pod_can_become_an_endpoint_and_none_is_root() {
        let pods: Vec<_> = made().into_iter().filter(|object| object["kind"] == "Pod").collect();
        assert_eq!(pods.len(), 5);
        for pod in pods {
            assert_eq!(pod["spec"]["readinessGates"][0]["conditionType"], "ztlab.dev/never-an-endpoint");
            assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
            assert_eq!(pod["metadata"]["labels"][MANAGED_BY.0], MANAGED_BY.1);
        }
    }

    #[test]
    fn everything_made_carries_the_label_that_deletes_it() {
        let objects = made();
        assert_eq!(objects.len(), 7);
        assert!(objects.iter().all(|object| object["metadata"]["labels"][PROBE_LABEL].is_string()));
    }

    #[test]
    fn the_stranger_wears_nobodys_label() {
        let objects = made();
        let stranger = objects
            .iter()
            .find(|object| object["metadata"]["name"] == "ztlab-probe-stranger" && object["kind"] == "Pod");
        assert_eq!(stranger.unwrap()["metadata"]["labels"]["app"], Value::Null);
    }
}
