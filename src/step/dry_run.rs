//! What an install would change in the objects of a cluster: the server computes it and keeps nothing.

use std::time::Duration;

use serde::Serialize;

use super::{
    graph::Step,
    prune,
    run::{Install, InstallError},
    undo,
};
use crate::cluster::{
    apply::{self, Applied, ApplyOptions},
    manifest::describe,
    ownership::Inventory,
};

/// Nothing is waited for in a dry run but the server's answers.
const DEADLINE: Duration = Duration::from_secs(60);

/// The objects of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepChanges {
    /// The step's name.
    pub step: &'static str,
    /// What would become of each object.
    pub objects: Vec<Applied>,
}

/// What would become of the cluster's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// By step.
    pub objects: Vec<StepChanges>,
    /// What `prune` would delete.
    pub superfluous: Vec<String>,
    /// Why there is no cluster to ask; then nothing else is known.
    pub no_cluster: Option<String>,
}

impl Install {
    /// Asks the cluster what an install would change.
    ///
    /// # Errors
    /// When the lab's manifests cannot be used, or the server refuses an object.
    pub async fn changes(&self) -> Result<Changes, InstallError> {
        let objects = self.objects().await?;
        let answer = match self.cluster().await {
            Ok(cluster) => cluster.has_namespace("kube-system").await.map_err(|error| root(&error)),
            Err(error) => Err(root(&error)),
        };
        if let Err(why) = answer {
            return Ok(Changes { no_cluster: Some(why), ..Changes::default() });
        }
        let client = &self.cluster().await?.client;
        let options = ApplyOptions { force: self.options.force_conflicts, dry_run: true, deadline: DEADLINE };
        let calico: Vec<_> = objects.operator.iter().chain(&objects.cluster).cloned().collect();
        let receipt = [undo::receipt()];
        let mut changes = Changes::default();
        for (step, objects) in [
            (Step::Calico, calico.as_slice()),
            (Step::Policies, &objects.policies),
            (Step::App, &objects.app),
            (Step::Addons, &objects.addons),
        ] {
            let objects = apply::apply(client, objects, options, &|_| {}).await?;
            changes.objects.push(StepChanges { step: step.name(), objects });
        }
        // The receipt's content is what the node will say; whether it is there is known.
        let there = apply::find(client, &receipt[0]).await?.is_some();
        if !there {
            let objects = apply::apply(client, &receipt, options, &|_| {}).await?;
            changes.objects.push(StepChanges { step: Step::Receipt.name(), objects });
        }
        let ours = Inventory::of(client).await?.ours().await?;
        changes.superfluous = prune::superfluous(&ours, objects).iter().map(describe).collect();
        Ok(changes)
    }
}

/// The innermost reason.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
