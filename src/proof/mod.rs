//! Is the lab what it claims? Probes, each with evidence and a positive control.
//!
//! A probe is one claim that a student can read. Every refusal is seen next to the same call made by somebody who may:
//! otherwise a dead backend would pass for security. The layers are told apart by *how* they refuse
//! (reset: mutual TLS; silence: the network policy; 403: the authorization policy), and neither a refusal nor a leak is
//! believed before it was seen three times in a row, because pooled connections outlive a change of policy.
//!
//! | file | what it does |
//! |---|---|
//! | [`curl`] | one call from inside a pod, and what its answer means |
//! | [`patience`] | when an answer is believed (pure) |
//! | [`prober`] | the pods that the calls are made from |
//! | [`images`] | images on the node and in running containers |
//! | [`mesh`] | sidecars, gateway, identity, mutual TLS settings |
//! | [`denial`] | who is refused, and by which layer |

pub mod curl;
pub mod denial;
pub mod images;
pub mod mesh;
pub mod patience;
pub mod prober;

use std::{collections::BTreeMap, time::Instant};

use futures::future::{BoxFuture, FutureExt, join_all};
use kube::Client;
use serde::Serialize;

use crate::{
    base::{Digest, Event, Platform, Reporter},
    node::Node,
    proof::prober::Probers,
};

/// One claim about the running lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// The name that `verify --probe` takes.
    pub name: &'static str,
    /// What must be true.
    pub title: &'static str,
    /// Why it matters, for a student.
    pub why: &'static str,
}

/// Every probe, in the order of a report: from the bytes up to the behaviour.
pub const PROBES: [Probe; 10] = [
    Probe {
        name: "images-present",
        title: "every locked image is on the node under its digest",
        why: "What is already on the node, bit for bit, does not have to be trusted or fetched again.",
    },
    Probe {
        name: "images-running",
        title: "every running container was started from a locked image",
        why: "A tag can be moved to other bytes; the digest of what runs cannot.",
    },
    Probe {
        name: "pods-meshed",
        title: "every pod of the app has its sidecar and is ready",
        why: "Without the sidecar a pod has no certificate: it can neither prove who it is nor check who calls.",
    },
    Probe {
        name: "gateway",
        title: "the app answers through the ingress gateway",
        why: "The gateway is the one door into the lab; whatever else is closed, this must be open.",
    },
    Probe {
        name: "identity",
        title: "the backend saw the frontend's certificate",
        why: "Zero Trust asks every caller who it is, also inside the cluster; the answer is a certificate, not an address.",
    },
    Probe {
        name: "mtls-strict",
        title: "mutual TLS is required and every sidecar has the newest rules",
        why: "A rule protects nothing before the sidecars have it, and PERMISSIVE lets callers in who show no certificate.",
    },
    Probe {
        name: "plaintext",
        title: "a call without a certificate is cut off",
        why: "Whoever gets past the network rules still has to show a certificate before a byte reaches the app.",
    },
    Probe {
        name: "wrong-identity",
        title: "a caller with the wrong identity gets 403",
        why: "A pod can wear any label, but it cannot show a certificate for an account that it does not run as.",
    },
    Probe {
        name: "wrong-label",
        title: "a pod that no network policy allows gets no answer at all",
        why: "The network policy drops packets of strangers, so they cannot even find out that somebody is there.",
    },
    Probe {
        name: "egress",
        title: "nothing leaves the app's namespace beyond the rules",
        why: "A pod that was taken over must not reach the API server, the control plane or the world.",
    },
];

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
}

impl Findings {
    fn passed(evidence: Vec<String>, control: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, evidence, control: control.into() }
    }

    fn failed(what: impl Into<String>, evidence: Vec<String>, control: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed { what: what.into() }, evidence, control: control.into() }
    }

    fn skipped(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped { why: why.into() }, evidence: Vec::new(), control: String::new() }
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
    let (calling, looking): (Vec<Probe>, Vec<Probe>) = chosen.iter().partition(|probe| needs_probers(probe.name));
    // The pods take seconds to start; meanwhile the probes that need none run.
    let (probers, mut verdicts) = tokio::join!(
        start_probers(context, !calling.is_empty()),
        join_all(looking.iter().map(|probe| one(context, *probe, None)))
    );
    verdicts.extend(join_all(calling.iter().map(|probe| one(context, *probe, probers.as_ref()))).await);
    if !calling.is_empty() {
        prober::remove(context).await;
    }
    let place = |verdict: &Verdict| PROBES.iter().position(|probe| *probe == verdict.probe);
    verdicts.sort_by_key(place);
    Ok(verdicts)
}

fn needs_probers(name: &str) -> bool {
    matches!(name, "plaintext" | "wrong-identity" | "wrong-label" | "egress")
}

async fn start_probers(context: &ProofContext<'_>, wanted: bool) -> Option<Result<Probers, Findings>> {
    if !wanted {
        return None;
    }
    let started = prober::start(context).await;
    Some(started.map_err(|error| Findings::could_not("start the probing pods", &error)))
}

async fn one(context: &ProofContext<'_>, probe: Probe, probers: Option<&Result<Probers, Findings>>) -> Verdict {
    let begun = Instant::now();
    let findings: BoxFuture<'_, Findings> = match (probe.name, probers) {
        ("images-present", _) => images::present(context).boxed(),
        ("images-running", _) => images::running(context).boxed(),
        ("pods-meshed", _) => mesh::pods_meshed(context).boxed(),
        ("gateway", _) => mesh::gateway(context).boxed(),
        ("identity", _) => mesh::identity(context).boxed(),
        ("mtls-strict", _) => mesh::mtls_strict(context).boxed(),
        (_, Some(Err(findings))) => std::future::ready(findings.clone()).boxed(),
        ("plaintext", Some(Ok(probers))) => denial::plaintext(context, probers).boxed(),
        ("wrong-identity", Some(Ok(probers))) => denial::wrong_identity(context, probers).boxed(),
        ("wrong-label", Some(Ok(probers))) => denial::wrong_label(context, probers).boxed(),
        ("egress", Some(Ok(probers))) => denial::egress(context, probers).boxed(),
        _ => std::future::ready(Findings::skipped("no probing pods were started")).boxed(),
    };
    let Findings { outcome, evidence, control } = findings.await;
    let verdict = Verdict { probe, outcome, evidence, control, seconds: begun.elapsed().as_secs_f64() };
    let word = if verdict.passed() { "ok" } else { "not ok" };
    context
        .reporter
        .report(Event::Note { text: format!("probe {}: {word} after {:.1} s", probe.name, verdict.seconds) });
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_has_its_own_name_and_a_sentence_for_students() {
        let names: std::collections::BTreeSet<_> = PROBES.iter().map(|probe| probe.name).collect();
        assert_eq!(names.len(), PROBES.len());
        for probe in PROBES {
            assert!(probe.why.ends_with('.') && probe.why.len() > 40, "{}", probe.name);
        }
    }

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
        let verdict = Verdict { probe: PROBES[3], outcome, evidence: vec![], control: String::new(), seconds: 1.5 };
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!((json["name"].as_str(), json["outcome"].as_str()), (Some("gateway"), Some("failed")));
    }
}
