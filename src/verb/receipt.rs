//! `receipt`: what was installed and proved, and whether two machines have the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Context;
use crate::{
    cluster::client::Cluster,
    proof::{Outcome, Verdict},
    step::{
        Receipt, Target,
        receipt::{RECEIPT, RECEIPT_KEY},
    },
};

/// Beside the install's own part, so that an install that changes nothing leaves it alone.
const PROBES_KEY: &str = "probes.json";
/// Who writes that part.
const FIELD_MANAGER: &str = "ztlab-verify";

/// What a whole run of the probes found; kept beside what was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Proved {
    lab_id: String,
    #[serde(default = "full")]
    profile: String,
    probes: BTreeMap<String, String>,
}

fn full() -> String {
    crate::intent::profile::FULL.to_owned()
}

/// A receipt: no time, no name of a machine, so that two laptops with the same lab have the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What was installed.
    #[serde(flatten)]
    pub installed: Receipt,
    /// Probe → `passed`, `failed` or `skipped`, as the last whole `ztlab verify` of this lab found it; empty before that.
    #[serde(default)]
    pub probes: BTreeMap<String, String>,
}

/// How two receipts differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// One entry for each part that is not the same.
    pub differences: Vec<Difference>,
    /// How many parts are the same.
    pub equal: usize,
}

/// One part of two receipts that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name, as `images.docker.io/library/nginx:1`.
    pub name: String,
    /// In the first receipt; none when it has no such part.
    pub one: Option<String>,
    /// In the other.
    pub other: Option<String>,
}

/// Two receipts that are not of the same lab in the same state.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the receipts differ in {count} of their parts: {first}")]
#[diagnostic(
    code("receipt::differs"),
    help(
        "when `lab_id` differs, one of the labs has another lock; else `ztlab install` and `ztlab verify` on the machine whose part is wrong"
    )
)]
pub struct Differs {
    count: usize,
    first: String,
}

/// There is no receipt.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the cluster of the context {context} has no receipt: expected the ConfigMap {}/{}, as the last step of an install leaves it", RECEIPT.0, RECEIPT.1)]
#[diagnostic(code("receipt::absent"), help("type `ztlab install`"))]
pub struct Absent {
    context: String,
}

/// A text that is no receipt.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{place} is not a receipt of ztlab")]
#[diagnostic(code("receipt::unreadable"), help("type `ztlab receipt show --output FILE` to make one"))]
pub struct Unreadable {
    place: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Compared {
    /// Whether the two are the same.
    ///
    /// # Errors
    /// Names the first part that is not.
    pub fn verdict(&self) -> Result<(), Differs> {
        match self.differences.first() {
            None => Ok(()),
            Some(first) => Err(Differs { count: self.differences.len(), first: first.name.clone() }),
        }
    }
}

/// Reads the receipt of the running lab, and writes it to a file when one is named.
///
/// # Errors
/// When the cluster does not answer, has no receipt, or the file cannot be written.
pub async fn show(context: &Context, target: &Target, output: Option<&Path>) -> miette::Result<Shown> {
    let cluster = Cluster::connect(super::install::kubeconfig(context).as_deref(), target.context()).await?;
    let map = maps(&cluster.client)
        .get_opt(RECEIPT.1)
        .await
        .map_err(|source| Unreadable { place: format!("{}/{}", RECEIPT.0, RECEIPT.1), source: Box::new(source) })?;
    let data = map.and_then(|map| map.data).unwrap_or_default();
    let Some(text) = data.get(RECEIPT_KEY) else {
        return Err(Absent { context: target.context().to_owned() }.into());
    };
    let shown = joined(text, data.get(PROBES_KEY).map(String::as_str))?;
    if let Some(path) = output {
        let text = serde_json::to_string_pretty(&shown).map_err(std::io::Error::from);
        text.and_then(|text| fs_err::write(path, text + "\n"))
            .map_err(|source| Unreadable { place: path.display().to_string(), source: Box::new(source) })?;
    }
    Ok(shown)
}

/// What was installed, as the receipt in a cluster says; none where there is no receipt.
///
/// # Errors
/// When the cluster does not answer, or something else is in the receipt's place.
pub(super) async fn of(client: &Client) -> Result<Option<Receipt>, Unreadable> {
    let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| Unreadable {
        place: format!("{}/{}", RECEIPT.0, RECEIPT.1),
        source,
    };
    let map = maps(client).get_opt(RECEIPT.1).await.map_err(|source| unreadable(Box::new(source)))?;
    let data = map.and_then(|map| map.data).unwrap_or_default();
    let receipt = data.get(RECEIPT_KEY).map(|text| serde_json::from_str(text)).transpose();
    receipt.map_err(|source| unreadable(Box::new(source)))
}

/// How the last whole `ztlab verify` of the installed lab ended, probe by probe; nothing when it was not proved yet.
///
/// # Errors
/// As for [`of`].
pub(super) async fn proved(client: &Client) -> Result<BTreeMap<String, String>, Unreadable> {
    let unreadable =
        |source: kube::Error| Unreadable { place: format!("{}/{}", RECEIPT.0, RECEIPT.1), source: Box::new(source) };
    let map = maps(client).get_opt(RECEIPT.1).await.map_err(unreadable)?;
    let data = map.and_then(|map| map.data).unwrap_or_default();
    let Some(text) = data.get(RECEIPT_KEY) else { return Ok(BTreeMap::new()) };
    Ok(joined(text, data.get(PROBES_KEY).map(String::as_str))?.probes)
}

/// Results of another lab or profile say nothing about this one.
fn joined(receipt: &str, proved: Option<&str>) -> Result<Shown, Unreadable> {
    let installed: Receipt = serde_json::from_str(receipt)
        .map_err(|source| Unreadable { place: format!("{}/{}", RECEIPT.0, RECEIPT.1), source: Box::new(source) })?;
    let proved = proved.and_then(|text| serde_json::from_str::<Proved>(text).ok());
    let same = |proved: &Proved| (&proved.lab_id, &proved.profile) == (&installed.lab_id, &installed.profile);
    let probes = proved.filter(same).map(|proved| proved.probes);
    Ok(Shown { installed, probes: probes.unwrap_or_default() })
}

/// Keeps what a whole run of the probes found, where an install has left its receipt.
pub(super) async fn keep(client: &Client, lab_id: &str, profile: &str, verdicts: &[Verdict]) {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed { .. } => "failed",
        Outcome::Skipped { .. } => "skipped",
    };
    let probes = verdicts.iter().map(|one| (one.probe.name.to_owned(), word(&one.outcome).to_owned())).collect();
    let Ok(text) =
        serde_json::to_string_pretty(&Proved { lab_id: lab_id.to_owned(), profile: profile.to_owned(), probes })
    else {
        return;
    };
    let patch = Patch::Merge(json!({"data": {PROBES_KEY: text}}));
    let written = maps(client).patch(RECEIPT.1, &PatchParams::apply(FIELD_MANAGER), &patch).await;
    if let Err(error) = written {
        tracing::warn!(%error, "the results of the probes are not in the receipt");
    }
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), RECEIPT.0)
}

/// Compares two receipts by their parts.
///
/// # Errors
/// When a file cannot be read or is no receipt; what differs is in the outcome.
pub fn diff(one: &Path, other: &Path) -> Result<Compared, Unreadable> {
    Ok(compared(&read(one)?, &read(other)?))
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, Unreadable> {
    let unreadable =
        |source: Box<dyn std::error::Error + Send + Sync>| Unreadable { place: path.display().to_string(), source };
    let text = fs_err::read_to_string(path).map_err(|source| unreadable(Box::new(source)))?;
    let receipt: Shown = serde_json::from_str(&text).map_err(|source| unreadable(Box::new(source)))?;
    let value = serde_json::to_value(&receipt).map_err(|source| unreadable(Box::new(source)))?;
    let mut parts = BTreeMap::new();
    flatten("", &value, &mut parts);
    Ok(parts)
}

fn flatten(above: &str, value: &Value, parts: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let name = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
                flatten(&name, value, parts);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            parts.insert(above.to_owned(), text.clone());
        }
        other => {
            parts.insert(above.to_owned(), other.to_string());
        }
    }
}

fn compared(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Compared {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let (equal, different): (Vec<&String>, Vec<&String>) =
        names.into_iter().partition(|name| one.get(*name) == other.get(*name));
    let differences = different
        .into_iter()
        .map(|name| Difference { name: name.clone(), one: one.get(name).cloned(), other: other.get(name).cloned() })
        .collect();
    Compared { differences, equal: equal.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIPT_TEXT: &str = r#"{"lab": "zero-trust", "lab_id": "sha256:1", "version": {"istio": "1.20.0"},
        "images": {"docker.io/library/nginx:1": "sha256:2"}}"#;

    #[test]
    fn results_of_another_lab_are_left_out() {
        let of = |lab_id: &str| format!(r#"{{"lab_id": "{lab_id}", "probes": {{"gateway": "passed"}}}}"#);
        assert_eq!(joined(RECEIPT_TEXT, Some(&of("sha256:1"))).unwrap().probes["gateway"], "passed");
        assert!(joined(RECEIPT_TEXT, Some(&of("sha256:9"))).unwrap().probes.is_empty());
        let small = of("sha256:1").replace("\"probes\"", "\"profile\": \"small\", \"probes\"");
        assert!(joined(RECEIPT_TEXT, Some(&small)).unwrap().probes.is_empty(), "of another profile");
        assert!(joined(RECEIPT_TEXT, None).unwrap().probes.is_empty());
        assert!(joined("not JSON", None).is_err());
    }

    #[test]
    fn equal_receipts_have_no_difference_and_others_are_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, text).unwrap();
            path
        };
        let one = file("one", RECEIPT_TEXT);
        // Another order and spacing of the same parts.
        let same = file(
            "same",
            r#"{"lab_id":"sha256:1","lab":"zero-trust","probes":{},"images":{"docker.io/library/nginx:1":"sha256:2"},"version":{"istio":"1.20.0"}}"#,
        );
        let equal = diff(&one, &same).unwrap();
        assert!(equal.verdict().is_ok() && equal.equal == 5, "{equal:?}");

        let other = file(
            "other",
            &RECEIPT_TEXT.replace("sha256:2", "sha256:3").replace("1.20.0\"}", "1.20.0\", \"calico\": \"3.27.0\"}"),
        );
        let differs = diff(&one, &other).unwrap();
        let names: Vec<&str> = differs.differences.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["images.docker.io/library/nginx:1", "version.calico"]);
        assert_eq!((&differs.differences[1].one, differs.differences[1].other.as_deref()), (&None, Some("3.27.0")));
        assert!(differs.verdict().unwrap_err().to_string().contains("2 of their parts"));

        let small = file("small", &RECEIPT_TEXT.replace("\"lab_id\"", "\"profile\": \"small\", \"lab_id\""));
        let differs = diff(&one, &small).unwrap().differences;
        assert_eq!((differs.len(), differs[0].name.as_str(), differs[0].one.as_deref()), (1, "profile", Some("full")));

        assert!(diff(&one, &file("none", "{}")).unwrap_err().to_string().contains("not a receipt"));
    }
}
