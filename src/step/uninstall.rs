//! Takes the lab away: with Minikube the whole node, in somebody else's cluster only what is ours.

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
use crate::cluster::apply;

/// Calico's finalizers take their time: its operator removes the pod network last.
const DEADLINE: Duration = Duration::from_secs(180);

/// istiod puts its root certificate into every namespace under this label, and istioctl leaves it there
/// (istio 1.20.0, `pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go`).
const MESH_ROOT_LABEL: &str = "istio.io/config=true";

/// What an uninstall did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The kubectl context.
    pub context: String,
    /// What went, in order.
    pub removed: Vec<String>,
}

/// Removes the lab from its target; what is not there is fine.
///
/// # Errors
/// When the cluster refuses or an object stays.
pub async fn uninstall(install: &Install) -> Result<Removed, InstallError> {
    let context = install.target.context().to_owned();
    if let Target::Minikube { profile, .. } = &install.target {
        let minikube = cluster::minikube(install, profile)?;
        let there = minikube.status().await?.is_some();
        minikube.delete().await?;
        let removed =
            if there { vec![format!("the Minikube profile {profile} with everything in it")] } else { Vec::new() };
        return Ok(Removed { context, removed });
    }
    let objects = install.objects().await?;
    let connection = install.cluster().await?;
    let mut removed = Vec::new();
    let waiting = install.waiting(Step::Receipt);
    // From the top down: what stands on something goes before it.
    let receipt = named(RECEIPT.1, Some(RECEIPT.0), "v1", "ConfigMap");
    for (what, group) in [
        ("receipt", vec![receipt]),
        ("dashboards", objects.addons.clone()),
        ("app", objects.app.clone()),
        ("policies", objects.policies.iter().filter(|object| !is_foreign_namespace(object)).cloned().collect()),
    ] {
        let count = apply::delete(&connection.client, &group, DEADLINE, &waiting).await?;
        if count > 0 {
            removed.push(format!("{what}: {count} objects"));
        }
    }
    let mesh = named("istio-system", None, "v1", "Namespace");
    if connection.has_namespace("istio-system").await? {
        let program = tool::program(install, "istioctl")?;
        let arguments = ["uninstall", "--purge", "-y"].map(str::to_owned).to_vec();
        istio::istioctl(install, connection, &program, arguments).await.map_err(|source| IstioError {
            action: "remove",
            context: context.clone(),
            source,
        })?;
        apply::delete(&connection.client, &[mesh], DEADLINE, &waiting).await?;
        let roots = connection.config_maps(MESH_ROOT_LABEL).await?;
        apply::delete(&connection.client, &roots, DEADLINE, &waiting).await?;
        removed.push("Istio".to_owned());
    }
    // The operator must live until it has taken down what it made.
    let count = apply::delete(&connection.client, &objects.cluster, DEADLINE, &waiting).await?;
    let operator = apply::delete(&connection.client, &objects.operator, DEADLINE, &waiting).await?;
    if count + operator > 0 {
        removed.push(format!("Calico: {} objects", count + operator));
    }
    Ok(Removed { context, removed })
}

/// A namespace that the lab's files mention but that belongs to the mesh.
fn is_foreign_namespace(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| types.kind == "Namespace")
        && object.metadata.name.as_deref().is_some_and(|name| name == "istio-system" || name == "kube-system")
}

fn named(name: &str, namespace: Option<&str>, api_version: &str, kind: &str) -> DynamicObject {
    DynamicObject {
        types: Some(kube::api::TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() }),
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.map(str::to_owned),
            ..Default::default()
        },
        data: serde_json::Value::Null,
    }
}
