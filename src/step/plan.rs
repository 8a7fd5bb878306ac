//! What an install would move and apply, and how long that may take, before it does.

use std::collections::BTreeMap;

use super::{
    graph::{Step, waits_for},
    images::{self, LabImage, Role},
    journal,
    objects::{LabObjects, ObjectsError},
    preload::{self, Share},
    report::PlannedStep,
    run::Install,
};

/// Seconds of a step, and bytes a second where it moves some: as seen with two cores and a real Minikube 1.32.0,
/// Calico 3.27.0 and Istio 1.20.0 (start 28 to 35 s, Calico 36 s to Available and 44 s to DNS, istioctl 16 s), and for
/// bytes on the rig.
const fn elsewhere(step: Step) -> (f64, f64) {
    match step {
        Step::Preflight | Step::Blobs => (1.0, 1.0e9),
        Step::Cache => (1.0, 300.0e6),
        Step::BaseImage => (2.0, 50.0e6),
        Step::Cluster => (35.0, f64::INFINITY),
        Step::Preload | Step::Images => (2.0, 40.0e6),
        Step::Calico => (44.0, f64::INFINITY),
        Step::Istio => (16.0, f64::INFINITY),
        Step::Policies | Step::Prune | Step::Receipt => (1.0, f64::INFINITY),
        Step::App => (10.0, f64::INFINITY),
        Step::Addons => (20.0, f64::INFINITY),
    }
}

impl Install {
    /// The steps of a whole install; asks no cluster.
    ///
    /// # Errors
    /// When the lab's manifests cannot be used.
    pub fn plan(&self) -> Result<Vec<PlannedStep>, ObjectsError> {
        let objects = LabObjects::read(&self.lab, &self.complete)?;
        let measured = journal::durations(&self.journals, &self.journal_key());
        let selected = Step::between(&self.target, self.options.from, self.options.until);
        Ok(selected.iter().map(|step| self.planned(*step, &selected, &objects, &measured)).collect())
    }

    fn planned(
        &self,
        step: Step,
        selected: &[Step],
        objects: &LabObjects,
        measured: &BTreeMap<Step, f64>,
    ) -> PlannedStep {
        let share = |share: Share| preload::expected(self).into_iter().filter(|image| share.has(image)).collect();
        let images: Vec<_> = match step {
            Step::Cache => self.images_of(Role::Bootstrap),
            Step::BaseImage => self.images_of(Role::NodeBase),
            Step::Preload => share(Share::Network),
            Step::Images => share(Share::Rest),
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
        let bytes = match step {
            Step::Blobs => self.complete.descriptors().map(|blob| blob.size).sum(),
            _ => distinct_bytes(&images),
        };
        let (least, rate) = elsewhere(step);
        PlannedStep {
            step: step.name(),
            title: step.title(),
            after: waits_for(step, selected).into_iter().map(Step::name).collect(),
            gate: step.gate(),
            undo: step.undo(),
            objects,
            images: images.len(),
            bytes,
            seconds: measured.get(&step).copied().unwrap_or(least + bytes as f64 / rate),
            measured_here: measured.contains_key(&step),
        }
    }

    fn images_of(&self, role: Role) -> Vec<LabImage> {
        images::of_lock(self.complete.lock(), self.node).into_iter().filter(|image| image.role == role).collect()
    }
}

fn distinct_bytes(images: &[LabImage]) -> u64 {
    let blobs = images
        .iter()
        .flat_map(|image| image.image.layers.iter().chain([&image.image.config, &image.image.manifest]))
        .map(|blob| (blob.digest, blob.size));
    blobs.collect::<BTreeMap<_, _>>().values().sum()
}

/// When the last of some planned steps ends, each beginning as soon as those before it are done; in seconds.
pub fn duration(steps: &[PlannedStep]) -> f64 {
    let mut ends: BTreeMap<&str, f64> = BTreeMap::new();
    for step in steps {
        let begins = step.after.iter().filter_map(|before| ends.get(before)).copied().fold(0.0, f64::max);
        ends.insert(step.step, begins + step.seconds);
    }
    ends.values().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_overlap_count_once() {
        let step = |name: &'static str, after: &[&'static str], seconds: f64| PlannedStep {
            step: name,
            title: "",
            after: after.to_vec(),
            gate: "",
            undo: "",
            objects: 0,
            images: 0,
            bytes: 0,
            seconds,
            measured_here: false,
        };
        let steps = [step("a", &[], 1.0), step("b", &["a"], 10.0), step("c", &["a"], 4.0), step("d", &["b", "c"], 2.0)];
        assert!((duration(&steps) - 13.0).abs() < 1e-9);
    }
}
