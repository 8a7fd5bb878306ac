//! The app and its way in.

use std::collections::BTreeSet;

use kube::api::DynamicObject;

use super::{
    graph::Step,
    report::Done,
    run::{Install, InstallError},
    stale,
};
use crate::cluster::wait::Gate;

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let objects = &install.objects().await?.app;
    let counts = install.apply(Step::App, objects).await?;
    let namespaces: BTreeSet<&str> = objects.iter().filter_map(|object| object.metadata.namespace.as_deref()).collect();
    let replaced = stale::replace(install, Step::App, &namespaces.into_iter().collect::<Vec<_>>()).await?;
    install.wait(Step::App, &gates(objects)).await?;
    Ok(counts.done("app ready").replacing(&replaced))
}

/// The gates of every workload among some objects.
pub(super) fn gates(objects: &[DynamicObject]) -> Vec<Gate> {
    let gate = |object: &DynamicObject| {
        let namespace = object.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let name = object.metadata.name.clone()?;
        match object.types.as_ref()?.kind.as_str() {
            "Deployment" => Some(Gate::Deployment { namespace, name }),
            "DaemonSet" => Some(Gate::DaemonSet { namespace, name }),
            "Job" => Some(Gate::Job { namespace, name }),
            "Pod" => Some(Gate::PodReady { namespace, name }),
            _ => None,
        }
    };
    objects.iter().filter_map(gate).collect()
}
