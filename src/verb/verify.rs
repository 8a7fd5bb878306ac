//! `verify`: the probes, against the lab that is running.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Context, install};
use crate::{
    base::{Platform, normalize_reference},
    cluster::manifest,
    demand::PROBER,
    lockfile::{Lock, Profile},
    proof::{self, KnownImage, Outcome, ProofContext, Verdict, drift::Wanted},
    step::{
        Options, Target,
        images::{self, Role},
        objects::{ObjectsError, own_yaml},
        trim::trimmed,
    },
};

/// Namespaces that an install makes.
pub(super) const OWN_NAMESPACES: [&str; 4] = ["webapp", "istio-system", "calico-system", "tigera-operator"];
/// The app's namespace in the lab's manifests.
pub(super) const APP_NAMESPACE: &str = "webapp";

/// What the probes found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// Identity of the lab.
    pub lab_id: String,
    /// How much of the lab was to be there: `full`, or another of its profiles.
    pub profile: String,
    /// The kubectl context.
    pub context: String,
    /// One verdict a probe.
    pub verdicts: Vec<Verdict>,
}

/// At least one claim does not hold.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{} of {total} probes failed: {}", .failed.len(), .failed.join(", "))]
#[diagnostic(code("proof::failed"), help("`ztlab verify --probe {} --teach` explains the first; `ztlab install` puts back what differs from the lab's files", .failed.first().map_or("", String::as_str)))]
pub struct ProofFailed {
    failed: Vec<String>,
    total: usize,
}

/// The probing pods need a locked image with curl in it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the probes need the image docker.io/curlimages/curl, and the lock has none")]
#[diagnostic(
    code("lock::prober"),
    help(
        "add [image.curl] with ref = \"docker.io/curlimages/curl:TAG\" to lock/ztlab.toml, then `ztlab lock` and `ztlab fetch`"
    )
)]
pub struct NoProber;

impl Proof {
    /// Whether every claim holds.
    ///
    /// # Errors
    /// Names the probes that failed.
    pub fn verdict(&self) -> Result<(), ProofFailed> {
        let failed: Vec<String> =
            self.verdicts.iter().filter(|one| one.failed()).map(|one| one.probe.name.to_owned()).collect();
        if failed.is_empty() { Ok(()) } else { Err(ProofFailed { failed, total: self.verdicts.len() }) }
    }

    /// How many claims hold.
    pub fn passed(&self) -> usize {
        self.verdicts.iter().filter(|one| one.outcome == Outcome::Passed).count()
    }
}

/// Runs the probes that are named, or all.
///
/// # Errors
/// When the cluster does not answer or a probe's name is unknown; failed probes are in the outcome.
pub async fn run(context: &Context, target: Target, options: Options, probes: &[String]) -> miette::Result<Proof> {
    let lab = install::prepare(context, target, options).await?;
    let lock = lab.complete.lock();
    let ours = matches!(lab.target, Target::Minikube { .. });
    let known = known_images(lock, lab.node, ours);
    let is_prober = |reference: &&String| reference.strip_prefix(PROBER).is_some_and(|tag| tag.starts_with(':'));
    let prober = known.keys().rfind(is_prober).cloned();
    let node = lab.connect_node().await?;
    let connection = lab.connect().await?;
    let proof = ProofContext {
        client: connection.client.clone(),
        node: Some(node),
        platform: lab.node,
        images: known,
        workloads: workloads(&context.lab, lab.complete.profile())?,
        prober_image: prober.ok_or(NoProber)?,
        app_namespace: APP_NAMESPACE.to_owned(),
        own_namespaces: OWN_NAMESPACES.map(str::to_owned).to_vec(),
        judge_all_namespaces: ours,
        reporter: context.reporter.as_ref(),
    };
    let verdicts = proof::prove(&proof, probes).await?;
    if probes.is_empty() {
        let (lab_id, profile) = (lab.complete.lab_id().to_string(), &lab.complete.profile().name);
        super::receipt::keep(&proof.client, &lab_id, profile, &verdicts).await;
    }
    Ok(Proof {
        lab_id: lab.complete.lab_id().to_string(),
        profile: lab.complete.profile().name.clone(),
        context: lab.target.context().to_owned(),
        verdicts,
    })
}

/// Every image of a lock by its full reference. Of a cluster that was there before, Kubernetes' own are its business.
pub(super) fn known_images(lock: &Lock, node: Platform, ours: bool) -> BTreeMap<String, KnownImage> {
    let known = images::of_lock(lock, node).into_iter().map(|image| {
        let name = image.name.strip_prefix("image.");
        let index = name.and_then(|name| lock.image.get(name)?.index.as_ref()?.digest);
        let expected_on_node = image.role == Role::Workload || (ours && image.role == Role::Bootstrap);
        let (manifest, config) = (image.image.manifest.digest, image.image.config.digest);
        let known = KnownImage { index, manifest, config, expected_on_node };
        (normalize_reference(&image.image.reference), known)
    });
    known.collect()
}

/// What the lab's own manifests start, for the way from the lock to what runs.
pub(super) fn workloads(folder: &std::path::Path, profile: &Profile) -> miette::Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for path in own_yaml(folder).map_err(ObjectsError::Read)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let text = fs_err::read_to_string(&path).map_err(ObjectsError::Read)?;
        for object in trimmed(manifest::parse(&name, &text)?, profile) {
            let kind = object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
            if !["Deployment", "DaemonSet", "StatefulSet"].contains(&kind.as_str()) {
                continue;
            }
            wanted.extend(manifest::containers_of(&object).into_iter().map(|container| Wanted {
                kind: kind.clone(),
                namespace: object.metadata.namespace.clone().unwrap_or_default(),
                name: object.metadata.name.clone().unwrap_or_default(),
                container: container.container,
                image: container.image,
            }));
        }
    }
    Ok(wanted)
}
