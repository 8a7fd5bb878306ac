//! Takes Calico away, in an order that leaves no pod behind.
//!
//! A pod on the pod network needs Calico's plugin to leave it, and the plugin needs its account in the cluster. The
//! operator means to keep the account until such pods are gone, but counts a Deployment as gone that was only told to
//! go, and lets everything loose a moment later (tigera/operator v1.32.3, `core_controller.go:1315-1333`): the kubelet
//! then fails with "connection is unauthorized" for ever. So the operator rests while the pods go.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::json;

use super::{DEADLINE, Undone};
use crate::{
    cluster::{
        apply,
        manifest::describe,
        ownership::{Inventory, is_ours},
    },
    step::{
        graph::Step,
        run::{Install, InstallError},
    },
};

/// The operator makes it, and the Installation owns it: who deletes the Installation deletes it with all that is in it.
const NETWORK: &str = "calico-system";
/// The operator's own.
const OPERATOR: &str = "tigera-operator";
const INSTALLATION: &str = "Installation";

/// Takes back what the step `calico` made.
///
/// # Errors
/// When the cluster refuses, or something stays.
pub(super) async fn remove(install: &Install) -> Result<Undone, InstallError> {
    let objects = install.objects().await?;
    let client = &install.cluster().await?.client;
    let waiting = install.waiting(Step::Calico);
    let inventory = Inventory::of(client).await?;
    let foreign = inventory.foreign_in(NETWORK).await?;
    for object in objects.cluster.iter().filter(|object| kind(object) == INSTALLATION) {
        if apply::find(client, object).await?.is_some_and(|found| is_ours(&found.metadata)) {
            rest(install, client, &objects.operator, 0).await?;
            // The operator writes itself down as the owner again as long as it works.
            if !foreign.is_empty() {
                inventory.disown(NETWORK).await?;
            }
            apply::tell_to_go(client, object).await?;
            apply::delete(client, &on_the_network(client).await?, DEADLINE, &waiting).await?;
            rest(install, client, &objects.operator, 1).await?;
        }
    }
    // The operator must live until it has taken down what it made.
    let mut removal = inventory.remove(&objects.cluster, DEADLINE, &waiting).await?;
    // What the Installation owned goes after it, and Calico's own definitions are needed until then.
    apply::wait_for_pods_to_go(client, NETWORK, DEADLINE, &waiting).await?;
    let operator = inventory.remove(&objects.operator, DEADLINE, &waiting).await?;
    removal.deleted += operator.deleted;
    removal.kept.extend(operator.kept);
    if let Some(first) = foreign.first() {
        removal.kept.push(format!("Namespace {NETWORK}, because of what is not ztlab's: {}", describe(first)));
    }
    Ok(Undone::of("Calico", removal))
}

/// Lets the operator rest, or work again. A run that is killed while it rests leaves a state from which the same goes on.
async fn rest(
    install: &Install,
    client: &Client,
    operator: &[DynamicObject],
    replicas: u32,
) -> Result<(), InstallError> {
    let waiting = install.waiting(Step::Calico);
    let mut there = Vec::new();
    for deployment in operator.iter().filter(|one| kind(one) == "Deployment") {
        // One that is gone is not made anew: what stays without it is told by its name.
        if apply::find(client, deployment).await?.is_some() {
            let mut deployment = deployment.clone();
            deployment.data["spec"]["replicas"] = json!(replicas);
            there.push(deployment);
        }
    }
    let options = apply::ApplyOptions { force: true, ..apply::ApplyOptions::default() };
    apply::apply(client, &there, options, &waiting).await?;
    if replicas == 0 {
        apply::wait_for_pods_to_go(client, OPERATOR, DEADLINE, &waiting).await?;
    }
    Ok(())
}

/// What the operator made whose pods are on the pod network: all but Calico's node agent and Typha.
async fn on_the_network(client: &Client) -> Result<Vec<DynamicObject>, apply::ApplyError> {
    let unlisted = |source| apply::unlisted(&format!("the workloads of {NETWORK}"), source);
    let all = ListParams::default();
    let deployments = Api::<Deployment>::namespaced(client.clone(), NETWORK).list(&all).await.map_err(unlisted)?;
    let daemon_sets = Api::<DaemonSet>::namespaced(client.clone(), NETWORK).list(&all).await.map_err(unlisted)?;
    let deployments = deployments.items.into_iter().map(|one| {
        let on_host = one.spec.and_then(|spec| spec.template.spec).and_then(|pod| pod.host_network);
        (ApiResource::erase::<Deployment>(&()), one.metadata, on_host)
    });
    let daemon_sets = daemon_sets.items.into_iter().map(|one| {
        let on_host = one.spec.and_then(|spec| spec.template.spec).and_then(|pod| pod.host_network);
        (ApiResource::erase::<DaemonSet>(&()), one.metadata, on_host)
    });
    let made_by_it = deployments.chain(daemon_sets).filter(|(_, metadata, on_host)| {
        let owners = metadata.owner_references.iter().flatten();
        *on_host != Some(true) && owners.into_iter().any(|owner| owner.kind == INSTALLATION)
    });
    Ok(made_by_it
        .map(|(types, metadata, _)| {
            DynamicObject::new(metadata.name.as_deref().unwrap_or_default(), &types).within(NETWORK)
        })
        .collect())
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}
