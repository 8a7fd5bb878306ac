//! Takes steps back: each its own way, the last one first, and nobody else's objects.

mod network;

use std::time::Duration;

use kube::api::DynamicObject;
use serde::Serialize;

use super::{
    cluster,
    graph::{Step, Target},
    istio::{self, IstioError},
    receipt::RECEIPT,
    run::{Install, InstallError},
    tool,
};
use crate::cluster::{
    apply,
    ownership::{Inventory, Removal},
};

/// Calico's finalizers take their time: its operator removes the pod network last.
const DEADLINE: Duration = Duration::from_secs(180);

/// istiod puts its root certificate into every namespace under this label, and istioctl leaves it there
/// (istio 1.20.0, `pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go`).
const MESH_ROOT_LABEL: &str = "istio.io/config=true";
const MESH: &str = "istio-system";

/// What taking back did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The kubectl context.
    pub context: String,
    /// What went, in order.
    pub removed: Vec<String>,
    /// What stays, and why.
    pub kept: Vec<String>,
}

/// What taking one step back did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// What went.
    pub removed: Vec<String>,
    /// What stays, and why.
    pub kept: Vec<String>,
}

impl Undone {
    fn of(what: &str, removal: Removal) -> Self {
        let removed = match removal.deleted {
            0 => Vec::new(),
            1 => vec![format!("{what}: 1 object")],
            more => vec![format!("{what}: {more} objects")],
        };
        Self { removed, kept: removal.kept }
    }
}

/// The steps that have something to take back, down to `to` (which stays), the last one first. Where the cluster itself
/// goes, everything in it goes with it.
pub(super) fn order(target: &Target, to: Option<Step>) -> Vec<Step> {
    let leaves_something = |step: &Step| {
        matches!(
            step,
            Step::Receipt | Step::Addons | Step::App | Step::Policies | Step::Istio | Step::Calico | Step::Cluster
        )
    };
    let down: Vec<Step> = match to {
        Some(to) => Step::down_to(target, to),
        None => Step::ALL.into_iter().rev().filter(|step| step.belongs_to(target)).collect(),
    };
    if down.contains(&Step::Cluster) {
        vec![Step::Cluster]
    } else {
        down.into_iter().filter(leaves_something).collect()
    }
}

pub(super) async fn undo(install: &Install, step: Step) -> Result<Undone, InstallError> {
    match step {
        Step::Receipt => remove(install, step, "receipt", &[receipt()]).await,
        Step::Addons => remove(install, step, "dashboards", &install.objects().await?.addons).await,
        Step::App => remove(install, step, "app", &install.objects().await?.app).await,
        Step::Policies => remove(install, step, "policies", &install.objects().await?.policies).await,
        Step::Istio => mesh(install).await,
        Step::Calico => network::remove(install).await,
        Step::Cluster => cluster_itself(install).await,
        Step::Preflight | Step::Blobs | Step::Cache | Step::BaseImage | Step::Preload | Step::Images | Step::Prune => {
            Ok(Undone::default())
        }
    }
}

async fn remove(install: &Install, step: Step, what: &str, objects: &[DynamicObject]) -> Result<Undone, InstallError> {
    let client = &install.cluster().await?.client;
    let removal = Inventory::of(client).await?.remove(objects, DEADLINE, &install.waiting(step)).await?;
    Ok(Undone::of(what, removal))
}

async fn mesh(install: &Install) -> Result<Undone, InstallError> {
    let connection = install.cluster().await?;
    if !connection.has_namespace(MESH).await? {
        return Ok(Undone::default());
    }
    let waiting = install.waiting(Step::Istio);
    waiting("istioctl uninstall".to_owned());
    let program = tool::program(install, "istioctl")?;
    let arguments = ["uninstall", "--purge", "-y"].map(str::to_owned).to_vec();
    istio::istioctl(install, connection, &program, arguments).await.map_err(|source| IstioError {
        action: "remove",
        context: connection.context.clone(),
        source,
    })?;
    let kept = Inventory::of(&connection.client).await?.remove_namespace(MESH, DEADLINE, &waiting).await?;
    let roots = connection.config_maps(MESH_ROOT_LABEL).await?;
    apply::delete(&connection.client, &roots, DEADLINE, &waiting).await?;
    Ok(Undone { removed: vec!["Istio".to_owned()], kept: kept.into_iter().collect() })
}

async fn cluster_itself(install: &Install) -> Result<Undone, InstallError> {
    let Target::Minikube { cluster: name, .. } = &install.target else { return Ok(Undone::default()) };
    let minikube = cluster::minikube(install, name)?;
    let there = minikube.status().await?.is_some();
    minikube.delete().await?;
    let removed = there.then(|| format!("the cluster {name} with everything in it"));
    Ok(Undone { removed: removed.into_iter().collect(), kept: Vec::new() })
}

/// The receipt, by name.
pub(super) fn receipt() -> DynamicObject {
    let resource = kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
    DynamicObject::new(RECEIPT.1, &resource).within(RECEIPT.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_cluster_goes_with_it() {
        let ours = Target::Minikube { cluster: "ztlab".to_owned(), memory: None, cpus: None };
        assert_eq!(order(&ours, None), [Step::Cluster]);
        assert_eq!(order(&ours, Some(Step::BaseImage)), [Step::Cluster]);
        assert_eq!(order(&ours, Some(Step::Istio)), [Step::Receipt, Step::Addons, Step::App, Step::Policies]);
        let theirs = Target::Existing { context: "kind".to_owned(), node: "docker:kind".parse().unwrap() };
        assert_eq!(order(&theirs, Some(Step::Preload)).last(), Some(&Step::Calico));
        assert_eq!(order(&theirs, None), order(&theirs, Some(Step::Preflight)));
    }
}
