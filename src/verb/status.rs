//! `status`: a look at the running lab that changes nothing and starts nothing: is it there, is it this lab, does it run?
//!
//! It believes what the cluster says of itself. What the lab claims is proved by `ztlab verify`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, api::ListParams};
use serde::Serialize;

use super::{Context, install, profile, receipt, verify};
use crate::{
    cluster::{
        client::Cluster,
        wait::{judge::pod_ready, why_not_ready},
    },
    lockfile::{self, Lock, Profile},
    proof::{Outcome, ProofContext, drift},
    step::{Step, Target, journal, run::journal_key},
};

/// How long the first question may take: a node that is stopped refuses at once, one that is stuck does not answer.
const ANSWER: Duration = Duration::from_secs(8);
/// Pods that are not ready, named one by one.
const SHOWN: usize = 5;

/// How a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As it should be.
    Good,
    /// Not known, or not asked because of another part.
    Unknown,
    /// Not as it should be.
    Wrong,
}

/// One part of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `cluster`, `lab`, `install`, `nodes`, `pods`, `drift`, `proof`
    pub part: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// What was seen.
    pub found: String,
    /// What to type; absent when nothing is to be done.
    pub fix: Option<String>,
}

/// The running lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Identity of the lab in this folder.
    pub lab_id: String,
    /// How much of it should be there: `full`, or another of its profiles.
    pub profile: String,
    /// The kubectl context.
    pub context: String,
    /// Every part, from the cluster up.
    pub parts: Vec<Part>,
}

/// Nothing answers.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the cluster of the context {context} does not answer")]
#[diagnostic(code("status::unreachable"), help("{fix}"))]
pub struct Unreachable {
    context: String,
    fix: String,
}

/// Something is not as it should be.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("not as it should be: {}", .parts.join(", "))]
#[diagnostic(code("status::differs"), help("first: {fix}"))]
pub struct Differs {
    parts: Vec<&'static str>,
    fix: String,
}

impl Part {
    fn good(part: &'static str, found: impl Into<String>) -> Self {
        Self { part, standing: Standing::Good, found: found.into(), fix: None }
    }

    fn unknown(part: &'static str, found: impl Into<String>) -> Self {
        Self { part, standing: Standing::Unknown, found: found.into(), fix: None }
    }

    fn wrong(part: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { part, standing: Standing::Wrong, found: found.into(), fix: Some(fix.into()) }
    }
}

impl Status {
    /// Whether everything is as it should be.
    ///
    /// # Errors
    /// [`Unreachable`] when there is no cluster to look at, else [`Differs`] with the parts that are wrong.
    pub fn verdict(&self) -> miette::Result<()> {
        let wrong: Vec<&Part> = self.parts.iter().filter(|part| part.standing == Standing::Wrong).collect();
        let Some(first) = wrong.first() else { return Ok(()) };
        let fix = first.fix.clone().unwrap_or_default();
        if first.part == "cluster" {
            return Err(Unreachable { context: self.context.clone(), fix }.into());
        }
        Err(Differs { parts: wrong.iter().map(|part| part.part).collect(), fix }.into())
    }
}

/// Looks at the lab. Changes nothing.
///
/// # Errors
/// When the lock cannot be read or the lab has no such profile. What is wrong with the lab is in the outcome.
pub async fn run(context: &Context, target: &Target, asked: Option<&str>) -> miette::Result<Status> {
    let lock = lockfile::read(&context.lock_path())?;
    let profile = profile::choose(context, target, &lock, asked).await?.profile;
    let mut parts = Vec::new();
    let key = journal_key(target, install::kubeconfig(context).as_deref());
    let left = |here: Option<&str>| journal::left_unfinished(&context.journals, &key, here);
    match connected(context, target).await {
        Ok((cluster, version)) => {
            let here = cluster.identity().await.ok().flatten();
            parts.push(Part::good("cluster", format!("Kubernetes {version} answers at {}", cluster.host)));
            let client = &cluster.client;
            parts.push(lab(client, &lock, &profile, asked.is_some()).await);
            parts.push(unfinished(left(here.as_deref()).as_ref()));
            parts.push(nodes(client).await);
            parts.push(pods(client, target).await);
            parts.push(drifted(context, target, client, &lock, &profile).await?);
            parts.push(proved(client).await);
        }
        Err(why) => {
            let fix = match target {
                Target::Minikube { cluster, .. } => format!("`ztlab start --cluster {cluster}`"),
                Target::Existing { context, .. } => format!("`kubectl --context {context} get nodes` says more"),
            };
            parts.push(Part::wrong("cluster", why, fix));
            parts.push(unfinished(left(None).as_ref()));
        }
    }
    Ok(Status { lab_id: lock.lab_id().to_string(), profile: profile.name, context: target.context().to_owned(), parts })
}

/// The connection and the server's version, or why there is none.
async fn connected(context: &Context, target: &Target) -> Result<(Cluster, String), String> {
    let cluster = Cluster::connect(install::kubeconfig(context).as_deref(), target.context()).await;
    let cluster = cluster.map_err(|error| error.to_string())?;
    match tokio::time::timeout(ANSWER, cluster.client.apiserver_version()).await {
        Ok(Ok(version)) => Ok((cluster, version.git_version)),
        Ok(Err(error)) => Err(format!("no answer from {}: {error}", cluster.host)),
        Err(_) => Err(format!("no answer from {} within {} s", cluster.host, ANSWER.as_secs())),
    }
}

/// Which lab is installed, against the one in this folder.
async fn lab(client: &Client, lock: &Lock, profile: &Profile, asked: bool) -> Part {
    let here = lock.lab_id();
    let receipt = match receipt::of(client).await {
        Ok(Some(receipt)) => receipt,
        Ok(None) => return Part::wrong("lab", "there is no receipt: no install came to its end", "`ztlab install`"),
        Err(error) => return Part::wrong("lab", error.to_string(), "`ztlab install` writes the receipt anew"),
    };
    let short = |id: &str| id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
    let found = format!("{}, lab {}, profile {}", receipt.lab, short(&receipt.lab_id), receipt.profile);
    if receipt.lab_id != here.to_string() {
        let found = format!("{found}; the lock here is lab {}", here.short());
        return Part::wrong("lab", found, "`ztlab install` brings the lab of this folder");
    }
    if asked && receipt.profile != profile.name {
        let fix = format!("`ztlab install --profile {}`", profile.name);
        return Part::wrong("lab", format!("{found}, asked for is {}", profile.name), fix);
    }
    Part::good("lab", format!("{found}, as the lock here"))
}

fn unfinished(left: Option<&journal::Unfinished>) -> Part {
    let Some(left) = left else { return Part::good("install", "the last run from here came to its end") };
    let names = |steps: &[Step]| steps.iter().map(|step| step.name()).collect::<Vec<_>>().join(", ");
    let what = match (left.failed.as_slice(), left.under_way.as_slice()) {
        ([], []) => "is under way, or was broken off".to_owned(),
        ([], under_way) => format!("is in {}, or was broken off there", names(under_way)),
        (failed, _) => format!("failed in {}", names(failed)),
    };
    Part::wrong("install", format!("the last run from here {what}"), "`ztlab install` goes on with it")
}

async fn nodes(client: &Client) -> Part {
    let nodes = match Api::<Node>::all(client.clone()).list(&ListParams::default()).await {
        Ok(nodes) => nodes.items,
        Err(error) => return Part::unknown("nodes", format!("cannot be listed: {error}")),
    };
    let ready = |node: &&Node| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    match nodes.iter().find(|node| !ready(node)) {
        None => Part::good("nodes", format!("{} ready", nodes.len())),
        Some(node) => {
            let name = node.metadata.name.as_deref().unwrap_or("a node");
            Part::wrong("nodes", format!("{name} is not ready"), format!("`kubectl describe node {name}`"))
        }
    }
}

async fn pods(client: &Client, target: &Target) -> Part {
    let pods = match Api::<Pod>::all(client.clone()).list(&ListParams::default()).await {
        Ok(pods) => pods.items,
        Err(error) => return Part::unknown("pods", format!("cannot be listed: {error}")),
    };
    let own = |pod: &&Pod| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        // In a cluster that ztlab made, Kubernetes' own pods are the lab's too.
        verify::OWN_NAMESPACES.contains(&namespace)
            || (matches!(target, Target::Minikube { .. }) && namespace == "kube-system")
    };
    let own: Vec<&Pod> = pods.iter().filter(own).collect();
    let named = |pod: &Pod| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}/{}", part(&pod.metadata.namespace), part(&pod.metadata.name))
    };
    let trouble: Vec<String> =
        own.iter().filter_map(|pod| Some(format!("{}: {}", named(pod), why_not_ready(pod)?))).collect();
    let ready = own.iter().filter(|pod| pod_ready(pod)).count();
    if own.is_empty() {
        return Part::wrong("pods", "the lab has none", "`ztlab install`");
    }
    if trouble.is_empty() {
        return Part::good("pods", format!("{ready} ready"));
    }
    let more = trouble.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let shown = trouble.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    let found = format!("{ready} of {} ready; {shown}{more}", ready + trouble.len());
    Part::wrong("pods", found, "a minute's patience after a start, then `ztlab install`")
}

/// From lock to manifest to what runs, as the probe of that name sees it.
async fn drifted(
    context: &Context,
    target: &Target,
    client: &Client,
    lock: &Lock,
    profile: &Profile,
) -> miette::Result<Part> {
    let node = install::node_platform(lock)?;
    let ours = matches!(target, Target::Minikube { .. });
    let proof = ProofContext {
        client: client.clone(),
        node: None,
        platform: node,
        images: verify::known_images(&lock.narrowed(profile), node, ours),
        workloads: verify::workloads(&context.lab, profile)?,
        prober_image: String::new(),
        app_namespace: verify::APP_NAMESPACE.to_owned(),
        own_namespaces: verify::OWN_NAMESPACES.map(str::to_owned).to_vec(),
        judge_all_namespaces: ours,
        reporter: context.reporter.as_ref(),
    };
    Ok(match drift::drift(&proof).await.outcome() {
        Outcome::Passed => Part::good("drift", "lock, manifests and running containers name the same images"),
        Outcome::Failed { what } => Part::wrong("drift", what.clone(), "`ztlab install` puts back what differs"),
        Outcome::Skipped { why } => Part::unknown("drift", why.clone()),
    })
}

/// How the last whole `ztlab verify` of this lab ended. It is a memory: what was true then need not be now.
async fn proved(client: &Client) -> Part {
    let probes = receipt::proved(client).await.unwrap_or_default();
    let failed: Vec<&str> =
        probes.iter().filter(|(_, word)| *word == "failed").map(|(name, _)| name.as_str()).collect();
    match failed.as_slice() {
        [] if probes.is_empty() => Part::unknown("proof", "not proved yet: `ztlab verify`"),
        [] => Part::good("proof", format!("the last `ztlab verify` had {} probes, and none failed", probes.len())),
        [first, ..] => Part::wrong(
            "proof",
            format!("the last `ztlab verify` failed in {}", failed.join(", ")),
            format!("`ztlab verify --probe {first} --teach`"),
        ),
    }
}
