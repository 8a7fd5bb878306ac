//! How a fetch ends: what came, or what did not and why.

use std::collections::BTreeMap;

use crate::{
    base::Digest,
    plan::{Plan, is_selected},
};

use super::{
    super::supply::{ArtifactFailure, Incomplete},
    Outcome, Run,
};

impl Run<'_> {
    pub(super) fn finish(self, before: &BTreeMap<Digest, u64>, pending_before: &[String]) -> miette::Result<Outcome> {
        let pending = self.pending();
        let plan = Plan::new(&self.lock, &self.store.present()?, &self.request.only);
        let mut failures = self.failures;
        let unexplained =
            |name: &str, failures: &[ArtifactFailure]| failures.iter().all(|failure| failure.artifact != name);
        for blob in &plan.missing {
            for artifact in &blob.needed_by {
                if unexplained(artifact, &failures) {
                    let error = Absent { digest: blob.descriptor.digest };
                    failures.push(ArtifactFailure::new(artifact, None, &error, false));
                }
            }
        }
        for artifact in &pending {
            if unexplained(artifact, &failures) {
                failures.push(ArtifactFailure::new(artifact, None, &StillPending, false));
            }
        }
        Incomplete::unless_empty(failures)?;
        let fetched: Vec<u64> = plan
            .present
            .iter()
            .map(|blob| blob.descriptor)
            .filter(|blob| !before.contains_key(&blob.digest))
            .map(|blob| blob.size)
            .collect();
        let artifacts =
            self.lock.artifacts().into_iter().filter(|artifact| is_selected(&artifact.name, &self.request.only));
        Ok(Outcome {
            lab_id: self.lock.lab_id(),
            profile: self.request.profile_name().to_owned(),
            artifacts: artifacts.count(),
            blobs: plan.present.len(),
            bytes: plan.present_bytes(),
            fetched_blobs: fetched.len(),
            fetched_bytes: fetched.iter().sum(),
            completed: pending_before.iter().filter(|name| !pending.contains(name)).cloned().collect(),
            built: self.built,
            requests: self.client.requests(),
            sources: self.sources,
            shared: None,
        })
    }
}

/// A blob that nobody offered.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("blob {digest} is not in the store, and no source was tried for it")]
#[diagnostic(
    code(fetch::absent),
    help("run `ztlab fetch` without `--only`: it belongs to something that was left out")
)]
struct Absent {
    digest: Digest,
}

/// A gap that nothing filled.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("its lock entry is still pending")]
#[diagnostic(code(lock::incomplete), help("run `ztlab fetch` without `--only`: it is made of other entries"))]
struct StillPending;
