//! The pods that the calls are made from; [`super::role`] says whom each stands for.
//!
//! All have a readiness gate that nobody ever fulfils. A pod labelled `app: frontend` would otherwise become an
//! endpoint of the frontend's Service, and the app's users would be sent to a pod that only sleeps. So what is waited
//! for is `ContainersReady`, not `Ready`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::{join_all, try_join_all};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    ProofContext,
    policy::Policies,
    role::{Home, Make, OUTSIDE_NAMESPACE, Role, SEALED_NAMESPACE},
};
use crate::cluster::{
    apply::{self, ApplyError, ApplyOptions, MANAGED_BY},
    wait::{Gate, WaitError, wait_for},
};

/// The label that marks a pod of a proof; its value says which.
pub const PROBE_LABEL: &str = "ztlab.dev/probe";
/// The port of the guest's Service; nobody listens behind it.
pub(super) const GUEST_PORT: u16 = 8080;
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
    /// Its address.
    pub address: String,
}

/// The probing pods that a run wanted, all started.
#[derive(Debug, Clone)]
pub struct Probers(BTreeMap<Role, Prober>);

impl Probers {
    /// The pod of a role.
    ///
    /// # Errors
    /// When this run started none: a probe asks for a role that it did not name.
    pub fn at(&self, role: Role) -> Result<&Prober, NotStarted> {
        self.0.get(&role).ok_or(NotStarted(role))
    }
}

/// A probe that asks for a pod which it did not want.
#[derive(Debug, thiserror::Error)]
#[error("the probing pod `{}` was not started", .0.make().key)]
pub struct NotStarted(Role);

/// Makes the pods of these roles, all at once, and waits until their containers are ready.
///
/// # Errors
/// When they cannot be made or do not start; what was made is then removed.
pub async fn start(context: &ProofContext<'_>, roles: &BTreeSet<Role>) -> Result<Probers, ProberError> {
    clear(context).await?;
    let started = make(context, roles).await;
    if started.is_err() {
        remove(context).await;
    }
    started
}

async fn make(context: &ProofContext<'_>, roles: &BTreeSet<Role>) -> Result<Probers, ProberError> {
    let app = &context.app_namespace;
    let silent = |_: String| {};
    let options = ApplyOptions { deadline: START_DEADLINE, ..ApplyOptions::default() };
    let denying = Policies::live(&context.client).await?.denying_copies(app, SEALED_NAMESPACE);
    let (namespaces, rest) = objects(roles, app, &context.prober_image, denying);
    apply::apply(&context.client, &namespaces, options, &silent).await?;
    // A pod is refused until its namespace's default account has been made.
    let end = Instant::now() + START_DEADLINE;
    for namespace in own_namespaces(roles) {
        let accounts = Api::<ServiceAccount>::namespaced(context.client.clone(), namespace);
        while accounts.get_metadata_opt("default").await?.is_none() && Instant::now() < end {
            sleep(PAUSE).await;
        }
    }
    apply::apply(&context.client, &rest, options, &silent).await?;
    let gates: Vec<Gate> =
        roles.iter().map(|role| Gate::ContainersReady { namespace: role.namespace(app), name: role.pod() }).collect();
    wait_for(&context.client, &gates, START_DEADLINE, &silent).await?;
    let found = try_join_all(roles.iter().map(|role| async {
        let (namespace, name) = (role.namespace(app), role.pod());
        let pod = Api::<Pod>::namespaced(context.client.clone(), &namespace).get(&name).await?;
        let address = pod.status.and_then(|status| status.pod_ip).unwrap_or_default();
        Ok::<_, kube::Error>((*role, Prober { namespace, name, address }))
    }));
    Ok(Probers(found.await?.into_iter().collect()))
}

/// Gives the sealed namespace the denying policies that the app has now, and no other.
///
/// # Errors
/// When the API server does not answer or refuses.
pub async fn seal(context: &ProofContext<'_>) -> Result<(), ProberError> {
    let wanted = Policies::live(&context.client).await?.denying_copies(&context.app_namespace, SEALED_NAMESPACE);
    let api = Api::<NetworkPolicy>::namespaced(context.client.clone(), SEALED_NAMESPACE);
    for found in api.list_metadata(&ListParams::default()).await?.items {
        let name = found.metadata.name.unwrap_or_default();
        if !wanted.iter().any(|policy| policy.metadata.name.as_ref() == Some(&name)) {
            api.delete(&name, &DeleteParams::default()).await?;
        }
    }
    apply::apply(&context.client, &wanted, ApplyOptions::default(), &|_| {}).await?;
    Ok(())
}

/// The namespaces of a run that are the proof's own.
fn own_namespaces(roles: &BTreeSet<Role>) -> Vec<&'static str> {
    let lives = |home| roles.iter().any(|role| role.make().home == home);
    let both = [(Home::Outside, OUTSIDE_NAMESPACE), (Home::Sealed, SEALED_NAMESPACE)];
    both.into_iter().filter(|(home, _)| lives(*home)).map(|(_, namespace)| namespace).collect()
}

/// The namespaces of others in which probing pods are made.
fn borrowed_namespaces(context: &ProofContext<'_>) -> [String; 3] {
    [context.app_namespace.clone(), super::mesh::ISTIO_NAMESPACE.to_owned(), "kube-system".to_owned()]
}

/// Deletes whatever the proof made, without waiting for the end of it. Best effort: the pods stop by themselves too.
pub async fn remove(context: &ProofContext<'_>) {
    let client = &context.client;
    let selector = &ListParams::default().labels(PROBE_LABEL);
    let (now, soon) = (&DeleteParams::default().grace_period(0), &DeleteParams::default());
    let namespaces = &Api::<Namespace>::all(client.clone());
    let policies = Api::<NetworkPolicy>::namespaced(client.clone(), &context.app_namespace);
    let services = Api::<Service>::namespaced(client.clone(), &context.app_namespace);
    let borrowed = borrowed_namespaces(context).map(|namespace| async move {
        Api::<Pod>::namespaced(client.clone(), &namespace).delete_collection(now, selector).await.map(|_| ())
    });
    let own = [OUTSIDE_NAMESPACE, SEALED_NAMESPACE].map(|namespace| namespaces.delete(namespace, soon));
    let (pods, _, _, _) = tokio::join!(
        join_all(borrowed),
        policies.delete_collection(soon, selector),
        services.delete_collection(soon, selector),
        join_all(own),
    );
    for error in pods.into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "the probing pods could not be deleted; they end by themselves");
    }
}

/// Removes the leftovers of an interrupted run and waits until they are gone: a pod cannot be changed in place.
async fn clear(context: &ProofContext<'_>) -> Result<(), ProberError> {
    let end = Instant::now() + CLEAN_DEADLINE;
    let mut asked = false;
    while left_over(context).await? {
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

async fn left_over(context: &ProofContext<'_>) -> Result<bool, kube::Error> {
    let selector = ListParams::default().labels(PROBE_LABEL);
    for namespace in borrowed_namespaces(context) {
        let pods = Api::<Pod>::namespaced(context.client.clone(), &namespace);
        if !pods.list_metadata(&selector).await?.items.is_empty() {
            return Ok(true);
        }
    }
    let namespaces = Api::<Namespace>::all(context.client.clone());
    Ok(!namespaces.list_metadata(&selector).await?.items.is_empty())
}

/// Namespaces first, then everything else.
fn objects(
    roles: &BTreeSet<Role>,
    app_namespace: &str,
    image: &str,
    denying: Vec<DynamicObject>,
) -> (Vec<DynamicObject>, Vec<DynamicObject>) {
    let namespaces = own_namespaces(roles).into_iter().map(|name| {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"istio-injection": "disabled", PROBE_LABEL: "namespace"}},
        })
    });
    let mut rest = ways(app_namespace);
    if roles.contains(&Role::Guest) {
        // Mutual TLS is spoken to Services. The guest is never ready, so its Service lists it all the same.
        rest.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": Role::Guest.pod(), "namespace": app_namespace, "labels": {PROBE_LABEL: "guest"}},
            "spec": {
                "selector": {PROBE_LABEL: Role::Guest.make().key}, "publishNotReadyAddresses": true,
                "ports": [{"name": "http", "port": GUEST_PORT, "targetPort": GUEST_PORT}],
            },
        }));
    }
    rest.extend(roles.iter().map(|role| pod(*role, app_namespace, image)));
    let object = |value: Value| serde_json::from_value(value).ok();
    let sealed = if roles.contains(&Role::Sealed) { denying } else { Vec::new() };
    (namespaces.filter_map(object).collect(), sealed.into_iter().chain(rest.into_iter().filter_map(object)).collect())
}

/// The two policies that open one direction for some probing pods.
pub(super) fn ways(app_namespace: &str) -> Vec<Value> {
    let keys = |wanted: fn(&Make) -> bool| -> Vec<&str> {
        Role::ALL.iter().map(|role| role.make()).filter(wanted).map(|make| make.key).collect()
    };
    let policy = |name: &str, keys: Vec<&str>, direction: &str, rules: &str| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": app_namespace, "labels": {PROBE_LABEL: "way"}},
            "spec": {
                "podSelector": {"matchExpressions": [{"key": PROBE_LABEL, "operator": "In", "values": keys}]},
                "policyTypes": [direction], rules: [{}],
            },
        })
    };
    vec![
        policy("ztlab-probe-way-out", keys(|make| make.way_out), "Egress", "egress"),
        policy("ztlab-probe-way-in", keys(|make| make.way_in), "Ingress", "ingress"),
    ]
}

fn pod(role: Role, app_namespace: &str, image: &str) -> Value {
    let make = role.make();
    let mut labels = json!({
        MANAGED_BY.0: MANAGED_BY.1,
        PROBE_LABEL: make.key,
        "sidecar.istio.io/inject": if make.sidecar { "true" } else { "false" },
    });
    for (key, value) in make.labels {
        labels[*key] = Value::from(*value);
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": role.pod(), "namespace": role.namespace(app_namespace), "labels": labels},
        "spec": {
            "serviceAccountName": make.account,
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
                "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}},
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
        let (namespaces, rest) = objects(&Role::ALL.into(), "webapp", "docker.io/curlimages/curl:8.5.0", Vec::new());
        namespaces.into_iter().chain(rest).map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    #[test]
    fn no_probing_pod_can_become_an_endpoint_and_none_is_root() {
        let pods: Vec<_> = made().into_iter().filter(|object| object["kind"] == "Pod").collect();
        assert_eq!(pods.len(), Role::ALL.len());
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
        assert_eq!(objects.len(), Role::ALL.len() + 5, "two namespaces, two ways, one Service");
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
