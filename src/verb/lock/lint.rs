//! `ztlab lock lint`: the lock and the lab's YAML against `lock/policy.toml`. Opens no socket.

use miette::Diagnostic;
use serde::Serialize;

use crate::{
    base::Digest,
    cluster::manifest,
    lockfile,
    review::{
        Finding,
        lint::{self, Container, Report, Subject},
        policy::{Policy, PolicyError},
        signature::Standing,
    },
    verb::{Context, signature},
};

use super::{dates, yaml};

/// What was found, and what was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LintOutcome {
    /// The lab's identity.
    pub lab_id: Digest,
    /// Who vouches for it.
    pub signature: Standing,
    /// The judgement.
    #[serde(flatten)]
    pub report: Report,
}

/// The lock breaks the policy.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the lock does not keep to lock/policy.toml: {}", counted(.findings))]
#[diagnostic(
    code(lock::policy),
    help(
        "mend each as the table says; what is to be allowed from now on is a change to lock/policy.toml, to be reviewed like the lock"
    )
)]
pub struct PolicyBroken {
    /// Every finding.
    pub findings: Vec<Finding>,
}

fn counted(findings: &[Finding]) -> String {
    if findings.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", findings.len()) }
}

impl LintOutcome {
    /// Whether there was nothing to find.
    ///
    /// # Errors
    /// [`PolicyBroken`], with what was found.
    pub fn verdict(&self) -> Result<(), PolicyBroken> {
        let findings = self.report.findings.clone();
        if findings.is_empty() { Ok(()) } else { Err(PolicyBroken { findings }) }
    }
}

/// The lab's policy.
///
/// # Errors
/// When there is none, or it is not to be understood.
pub fn policy(context: &Context) -> Result<Policy, PolicyError> {
    let path = context.lab.join("lock/policy.toml");
    match fs_err::read_to_string(&path) {
        Ok(text) => Policy::parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(PolicyError::Absent { path: path.display().to_string() })
        }
        Err(error) => Err(PolicyError::Unreadable(error)),
    }
}

/// Judges the lock of a lab.
///
/// # Errors
/// When lock, policy or a manifest cannot be read, and when the lock's signature does not fit. Findings are in the
/// outcome.
pub async fn lint(context: &Context) -> miette::Result<LintOutcome> {
    let lock = lockfile::read(&context.lock_path())?;
    let policy = policy(context)?;
    let signature = signature::judge(context, &lock)?;
    let store = yaml::store_if_there(context)?;
    let lab = yaml::LabYaml::read(context, &lock, store.as_ref())?;
    let containers: Vec<Container> = lab.files.iter().flat_map(containers).collect();
    let unseen: Vec<String> = lab.unseen.iter().map(|one| one.name.clone()).collect();
    let dates = dates::of_lock(context, &lock, store.as_ref()).await;
    let report = lint::lint(&Subject {
        lock: &lock,
        policy: &policy,
        containers: &containers,
        files: lab.files.len(),
        unseen: &unseen,
        dates: &dates,
        now: jiff::Timestamp::now().as_second(),
    });
    Ok(LintOutcome { lab_id: lock.lab_id(), signature, report })
}

fn containers(yaml: &yaml::Yaml) -> Vec<Container> {
    let in_object = |object| {
        manifest::containers_of(object).into_iter().map(move |found| Container {
            place: format!("{}: {}, {}", yaml.name, manifest::describe(object), found.path),
            image: found.written,
            pull_policy: found.pull_policy,
            rewritten: yaml.rewritten,
        })
    };
    yaml.objects.iter().flat_map(in_object).collect()
}
