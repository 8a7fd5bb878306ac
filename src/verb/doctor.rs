//! `doctor`: is this machine fit for the lab, and what to type where it is not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Context, install, profile};
use crate::{
    lockfile,
    machine::{self, Finding, Grade, Needs, Places},
    plan::Plan,
    step::{POD_CIDR, Target, smaller},
    store::Store,
};

/// What a person asks about.
#[derive(Debug, Clone)]
pub struct Request {
    /// The cluster that an install would make.
    pub cluster: String,
    /// How much of the lab; what is installed there, or everything, when absent.
    pub profile: Option<String>,
    /// MiB for the node; as the profile asks when absent.
    pub memory: Option<u32>,
    /// CPUs for the node; as the profile asks when absent.
    pub cpus: Option<u32>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// How much of the lab the machine was judged by.
    pub profile: String,
    /// One finding a check, in the order in which they should be mended.
    pub findings: Vec<Finding>,
}

/// At least one check found what an install cannot do without.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("this machine is not fit for the lab: {}", .checks.join(", "))]
#[diagnostic(code("machine::unfit"), help("{fix}"))]
pub struct Unfit {
    checks: Vec<&'static str>,
    fix: String,
}

impl Diagnosis {
    /// Whether the machine is fit.
    ///
    /// # Errors
    /// Names the checks that found a fault.
    pub fn verdict(&self) -> Result<(), Unfit> {
        let faults: Vec<&Finding> = self.findings.iter().filter(|finding| finding.grade == Grade::Fault).collect();
        let Some(first) = faults.first() else { return Ok(()) };
        let fix = format!("first: {}; then `ztlab doctor` again", first.fix.as_deref().unwrap_or("see above"));
        Err(Unfit { checks: faults.iter().map(|finding| finding.check).collect(), fix })
    }
}

/// Looks at the machine. Opens no socket but Docker's and, when no profile is named, the cluster's.
///
/// # Errors
/// When the lock cannot be read, or has nothing for this kind of machine.
pub async fn run(context: &Context, request: &Request) -> miette::Result<Diagnosis> {
    let whole = lockfile::read(&context.lock_path())?;
    let target = Target::Minikube { cluster: request.cluster.clone(), memory: request.memory, cpus: request.cpus };
    let profile = profile::choose(context, &target, &whole, request.profile.as_deref()).await?.profile;
    let lock = whole.narrowed(&profile);
    let node = install::node_platform(&lock)?;
    // A store that is not there yet is one without blobs; looking must not make it.
    let present = if context.store.exists() { Store::open(&context.store)?.present()? } else { BTreeMap::new() };
    let missing = Plan::new(&lock, &present, &[]).missing;
    let images = lock.image.values().filter_map(|image| image.platforms.get(&node));
    let mut layers: Vec<_> = images.flat_map(|pin| pin.layers.iter().copied()).collect();
    layers.sort_by_key(|layer| layer.digest);
    layers.dedup();
    let needs = Needs {
        cluster: request.cluster.clone(),
        profile: profile.name.clone(),
        memory: u64::from(request.memory.unwrap_or(profile.memory)) << 20,
        smaller: smaller(&whole, &profile),
        cpus: request.cpus.unwrap_or(profile.cpus),
        architecture: node.architecture().to_owned(),
        kubernetes: lock.version.get("kubernetes").map(|version| format!("v{version}")),
        pod_cidr: POD_CIDR.to_owned(),
        store_bytes: missing.iter().map(|blob| blob.descriptor.size).sum(),
        node_bytes: layers.iter().map(|layer| layer.size).sum(),
    };
    let (environment, home) = (install::children(context), install::minikube_home(context));
    let kubeconfig = install::kubeconfig(context);
    let places = Places {
        environment: &environment,
        cluster: &request.cluster,
        minikube_home: &home,
        store: &context.store,
        kubeconfig: kubeconfig.as_deref(),
    };
    let ignored_variables = machine::ignored_variables(&context.environment);
    let facts = machine::Facts { ignored_variables, ..machine::gather(&places).await };
    Ok(Diagnosis { profile: profile.name, findings: machine::judge(&facts, &needs) })
}
