//! What an install would move and apply, before it does.

use std::collections::BTreeMap;

use super::{
    graph::Step,
    images::{self, LabImage, Role},
    objects::{LabObjects, ObjectsError},
    preload,
    report::PlannedStep,
    run::Install,
};

impl Install {
    /// What a step would move and apply; asks no cluster.
    ///
    /// # Errors
    /// When the lab's manifests cannot be used.
    pub fn plan(&self, step: Step) -> Result<PlannedStep, ObjectsError> {
        let objects = LabObjects::read(&self.lab, &self.complete)?;
        let images: Vec<_> = match step {
            Step::Cache => self.images_of(Role::Bootstrap),
            Step::BaseImage => self.images_of(Role::NodeBase),
            Step::Preload => preload::expected(self).into_iter().filter(|image| image.role == Role::Workload).collect(),
            _ => Vec::new(),
        };
        let objects = match step {
            Step::Calico => objects.operator.len() + objects.cluster.len(),
            Step::Policies => objects.policies.len(),
            Step::App => objects.app.len(),
            Step::Addons => objects.addons.len(),
            Step::Receipt => 1,
            _ => 0,
        };
        let blobs: BTreeMap<_, _> = images
            .iter()
            .flat_map(|image| image.image.layers.iter().chain([&image.image.config, &image.image.manifest]))
            .map(|blob| (blob.digest, blob.size))
            .collect();
        Ok(PlannedStep {
            step: step.name(),
            title: step.title(),
            objects,
            images: images.len(),
            bytes: blobs.values().sum(),
        })
    }

    fn images_of(&self, role: Role) -> Vec<LabImage> {
        images::of_lock(self.complete.lock(), self.node).into_iter().filter(|image| image.role == role).collect()
    }
}
