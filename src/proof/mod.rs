//! Is the lab what it claims? Probes, each with evidence and a positive control.
//!
//! A probe is one claim that a student can read. Every refusal is seen next to the same call made by somebody who may:
//! otherwise a dead backend would pass for security. The layers are told apart by *how* they refuse
//! (reset: mutual TLS; silence: the network policy; 403: the authorization policy), and neither a refusal nor a leak is
//! believed before it was seen three times in a row, because pooled connections outlive a change of policy.
//!
//! | file | what it does |
//! |---|---|
//! | [`probes`] | their names, claims and reasons (data) |
//! | [`curl`] | one call from inside a pod, and what its answer means |
//! | [`patience`] | when an answer is believed (pure) |
//! | [`role`] | whom the probing pods stand for (data) |
//! | [`prober`] | the pods that the calls are made from |
//! | [`policy`] | what the policy objects say about a call (pure) |
//! | [`matrix`] | who may talk to whom: every call made, held against the intention and against the objects |
//! | [`certificate`], [`services`] | what sidecars show, and what they need |
//! | [`mutation`] | ways to weaken a policy, which a probe must notice (pure) |
//! | [`quiet`] | does anything call out |
//! | [`drift`] | from lock to manifest to what runs |
//! | [`images`] | images on the node and in running containers |
//! | [`mesh`] | sidecars, gateway, identity, mutual TLS settings |
//! | [`denial`] | who is refused, and by which layer |

pub mod certificate;
pub mod curl;
pub mod denial;
pub mod drift;
pub mod images;
pub mod matrix;
pub mod mesh;
pub mod mutation;
pub mod patience;
pub mod policy;
pub mod prober;
mod probes;
pub mod quiet;
pub mod role;
pub mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use futures::future::{BoxFuture, FutureExt, join_all};
use kube::Client;
use serde::Serialize;
use tokio::sync::OnceCell;

pub use self::probes::{PROBES, Probe};
use crate::{
    base::{Digest, Event, Platform, Reporter},
    node::Node,
    proof::{matrix::cells, prober::Probers, role::Role},
};

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The claim holds.
    Passed,
    /// It does not, or could not be shown.
    Failed {
        /// What was seen instead.
        what: String,
    },
    /// It was not tried.
    Skipped {
        /// Why not.
        why: String,
    },
}

/// A probe's result. Serialized, it is one entry of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The probe.
    #[serde(flatten)]
    pub probe: Probe,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was seen, one line each.
    pub evidence: Vec<String>,
    /// What shows that the probe could have failed, or empty where nothing is denied.
    pub control: String,
    /// The calls behind the claim, where it is a table of calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<matrix::Row>,
    /// How long it took.
    pub seconds: f64,
}

impl Verdict {
    /// Whether the claim holds; a skipped probe neither holds nor fails.
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Passed
    }

    /// Whether the claim does not hold.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }
}

/// What a probe found, before it is timed and named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    outcome: Outcome,
    evidence: Vec<String>,
    control: String,
    calls: Vec<matrix::Row>,
}

impl Findings {
    fn new(outcome: Outcome, evidence: Vec<String>, control: impl Into<String>) -> Self {
        Self { outcome, evidence, control: control.into(), calls: Vec::new() }
    }

    fn passed(evidence: Vec<String>, control: impl Into<String>) -> Self {
        Self::new(Outcome::Passed, evidence, control)
    }

    fn failed(what: impl Into<String>, evidence: Vec<String>, control: impl Into<String>) -> Self {
        Self::new(Outcome::Failed { what: what.into() }, evidence, control)
    }

    fn skipped(why: impl Into<String>) -> Self {
        Self::new(Outcome::Skipped { why: why.into() }, Vec::new(), "")
    }

    /// How it ended.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The same, with the calls behind it.
    fn with_calls(self, calls: Vec<matrix::Row>) -> Self {
        Self { calls, ..self }
    }

    /// A failure because the probe itself could not be carried out.
    fn could_not(doing: &str, error: &dyn std::error::Error) -> Self {
        Self::failed(format!("could not {doing}: {}", chain(error)), Vec::new(), "")
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        // Some libraries put the cause into the message as well.
        if line.contains(&cause) { line } else { format!("{line}: {cause}") }
    })
}

/// The digests of an image that the lock names; a runtime reports one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownImage {
    /// The multi-platform list, where upstream published one.
    pub index: Option<Digest>,
    /// The platform's manifest.
    pub manifest: Digest,
    /// The image's config.
    pub config: Digest,
    /// Whether the node must have it; the node's own base image, for one, lives outside.
    pub expected_on_node: bool,
}

impl KnownImage {
    /// Whether a digest that a runtime reports is this image.
    pub fn is(&self, digest: &Digest) -> bool {
        self.index.as_ref() == Some(digest) || self.manifest == *digest || self.config == *digest
    }
}

/// What the probes need to know.
pub struct ProofContext<'lab> {
    /// The cluster.
    pub client: Client,
    /// The node's runtime, where it can be asked.
    pub node: Option<Node>,
    /// The node's platform.
    pub platform: Platform,
    /// Every locked image by its full reference.
    pub images: BTreeMap<String, KnownImage>,
    /// What the lab's manifests start.
    pub workloads: Vec<drift::Wanted>,
    /// The locked curl image that the probing pods run.
    pub prober_image: String,
    /// The app's namespace.
    pub app_namespace: String,
    /// The namespaces that the lab made.
    pub own_namespaces: Vec<String>,
    /// Whether containers in other namespaces count too: yes for a cluster that the lab made.
    pub judge_all_namespaces: bool,
    /// Hears what is being probed.
    pub reporter: &'lab dyn Reporter,
}

/// A probe of this name does not exist.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("there is no probe `{name}`: expected one of {}", PROBES.map(|probe| probe.name).join(", "))]
#[diagnostic(code(proof::unknown_probe), help("type `ztlab verify --probe gateway` or leave `--probe` out for all"))]
pub struct UnknownProbe {
    /// The name that was asked for.
    pub name: String,
}

/// Runs the named probes, or all when none is named, and returns their verdicts in the order of [`PROBES`].
///
/// # Errors
/// When a name is unknown. A probe that cannot be carried out is a failed verdict, not an error.
pub async fn prove(context: &ProofContext<'_>, names: &[String]) -> Result<Vec<Verdict>, UnknownProbe> {
    if let Some(name) = names.iter().find(|name| PROBES.iter().all(|probe| probe.name != name.as_str())) {
        return Err(UnknownProbe { name: name.clone() });
    }
    let chosen: Vec<Probe> =
        PROBES.into_iter().filter(|probe| names.is_empty() || names.iter().any(|name| name == probe.name)).collect();
    let wanted: BTreeSet<Role> = chosen.iter().flat_map(|probe| roles(probe.name)).collect();
    let (calling, looking): (Vec<Probe>, Vec<Probe>) = chosen.iter().partition(|probe| !roles(probe.name).is_empty());
    // The pods take seconds to start; meanwhile the probes that need none run.
    let asking = Asking::default();
    let (probers, mut verdicts) = tokio::join!(
        start_probers(context, &wanted),
        join_all(looking.iter().map(|probe| one(context, *probe, None, &asking)))
    );
    verdicts.extend(join_all(calling.iter().map(|probe| one(context, *probe, probers.as_ref(), &asking))).await);
    if !calling.is_empty() {
        prober::remove(context).await;
    }
    let place = |verdict: &Verdict| PROBES.iter().position(|probe| *probe == verdict.probe);
    verdicts.sort_by_key(place);
    Ok(verdicts)
}

/// The pods that a probe calls from or to; none for a probe that only looks.
fn roles(name: &str) -> Vec<Role> {
    match name {
        "plaintext" => vec![Role::Caller, Role::Plain],
        "wrong-identity" => vec![Role::Caller, Role::Impostor],
        "wrong-label" => vec![Role::Plain, Role::Stranger, Role::Outsider],
        "egress" => vec![Role::Plain, Role::Outsider],
        "dns" | "istiod" => vec![Role::Plain, Role::Newcomer],
        "certificates" => vec![Role::Plain],
        "default-deny" => cells::roles(&cells::sealed()),
        "packets" => cells::roles(&cells::packets()),
        "requests" => cells::roles(&cells::requests()),
        "enforcement" => [cells::packets(), cells::requests()].iter().flat_map(|calls| cells::roles(calls)).collect(),
        _ => Vec::new(),
    }
}

/// The tables of calls, each asked once, whoever judges it.
#[derive(Default)]
struct Asking {
    packets: OnceCell<matrix::Asked>,
    requests: OnceCell<matrix::Asked>,
}

impl Asking {
    async fn packets(&self, context: &ProofContext<'_>, probers: &Probers) -> matrix::Asked {
        self.packets.get_or_init(|| async { matrix::ask(context, probers, &cells::packets()).await }).await.clone()
    }

    async fn requests(&self, context: &ProofContext<'_>, probers: &Probers) -> matrix::Asked {
        self.requests.get_or_init(|| async { matrix::ask(context, probers, &cells::requests()).await }).await.clone()
    }
}

async fn start_probers(context: &ProofContext<'_>, roles: &BTreeSet<Role>) -> Option<Result<Probers, Findings>> {
    if roles.is_empty() {
        return None;
    }
    let started = prober::start(context, roles).await;
    Some(started.map_err(|error| Findings::could_not("start the probing pods", &error)))
}

async fn one(
    context: &ProofContext<'_>,
    probe: Probe,
    probers: Option<&Result<Probers, Findings>>,
    asking: &Asking,
) -> Verdict {
    let begun = Instant::now();
    let findings: BoxFuture<'_, Findings> = match (probe.name, probers) {
        ("images-present", _) => images::present(context).boxed(),
        ("images-running", _) => images::running(context).boxed(),
        ("drift", _) => drift::drift(context).boxed(),
        ("quiet", _) => quiet::quiet(context).boxed(),
        ("pods-meshed", _) => mesh::pods_meshed(context).boxed(),
        ("gateway", _) => mesh::gateway(context).boxed(),
        ("identity", _) => mesh::identity(context).boxed(),
        ("mtls-strict", _) => mesh::mtls_strict(context).boxed(),
        (_, Some(Err(findings))) => std::future::ready(findings.clone()).boxed(),
        (name, Some(Ok(probers))) => calling(context, name, probers, asking),
        _ => std::future::ready(Findings::skipped("no probing pods were started")).boxed(),
    };
    let Findings { outcome, evidence, control, calls } = findings.await;
    let verdict = Verdict { probe, outcome, evidence, control, calls, seconds: begun.elapsed().as_secs_f64() };
    let word = if verdict.passed() { "ok" } else { "not ok" };
    context
        .reporter
        .report(Event::Note { text: format!("probe {}: {word} after {:.1} s", probe.name, verdict.seconds) });
    verdict
}

/// The probes that call from the probing pods.
fn calling<'run>(
    context: &'run ProofContext<'_>,
    name: &str,
    probers: &'run Probers,
    asking: &'run Asking,
) -> BoxFuture<'run, Findings> {
    match name {
        "dns" => services::dns(context, probers).boxed(),
        "istiod" => services::istiod(context, probers).boxed(),
        "certificates" => certificate::certificates(context, probers).boxed(),
        "plaintext" => denial::plaintext(context, probers).boxed(),
        "wrong-identity" => denial::wrong_identity(context, probers).boxed(),
        "wrong-label" => denial::wrong_label(context, probers).boxed(),
        "egress" => denial::egress(context, probers).boxed(),
        "default-deny" => async { matrix::judge(matrix::ask(context, probers, &cells::sealed()).await) }.boxed(),
        "packets" => async { matrix::judge(asking.packets(context, probers).await) }.boxed(),
        "requests" => async { matrix::judge(asking.requests(context, probers).await) }.boxed(),
        "enforcement" => async {
            let both = tokio::join!(asking.packets(context, probers), asking.requests(context, probers));
            matrix::judge_enforced([both.0, both.1])
        }
        .boxed(),
        _ => std::future::ready(Findings::skipped("nobody carries this probe out")).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_image_is_any_of_its_three_digests() {
        let [index, manifest, config, other] = [b"index", b"manif", b"confi", b"other"].map(|text| Digest::of(text));
        let image = KnownImage { index: Some(index), manifest, config, expected_on_node: true };
        assert!([index, manifest, config].iter().all(|digest| image.is(digest)));
        assert!(!image.is(&other));
    }

    #[test]
    fn a_verdict_serializes_flat() {
        let outcome = Outcome::Failed { what: "x".to_owned() };
        let verdict = Verdict {
            probe: PROBES[0],
            outcome,
            evidence: vec![],
            control: String::new(),
            calls: vec![],
            seconds: 1.5,
        };
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!((json["name"].as_str(), json["outcome"].as_str()), (Some("images-present"), Some("failed")));
    }
}
