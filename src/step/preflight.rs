//! Is the store whole, the lab consistent, the machine fit? Looks, and changes nothing.

use std::collections::BTreeSet;

use super::{
    blobs,
    graph::Target,
    images::{self, Role},
    objects::{ObjectsError, locked_references},
    report::Done,
    run::{Install, InstallError},
    setup::{MissingEntry, POD_CIDR, version},
    tool,
};
use crate::{
    base::{Event, human_bytes},
    demand::Shows,
    lockfile::{Lock, Profile},
    machine::{self, Finding, Grade, Needs, Places, Smaller},
    plan::DamagedArtifact,
};

/// The store or the machine is not fit for an install.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum PreflightError {
    /// Blobs changed on disk since they were fetched.
    #[error("the store holds damaged bytes:\n{}", listed(.0))]
    #[diagnostic(
        code("integrity::damaged"),
        help(
            "with a network, `ztlab store repair` fetches them again; without one, `ztlab fetch --from DIR` takes them from another store"
        )
    )]
    Damaged(Vec<DamagedArtifact>),
    /// Docker does not answer.
    #[error("{}", .0.found)]
    #[diagnostic(code("machine::docker"), help("{}", mend(.0)))]
    Docker(Finding),
    /// Docker's machine is of another kind than the lock.
    #[error("{}", .0.found)]
    #[diagnostic(code("machine::architecture"), help("{}", mend(.0)))]
    Architecture(Finding),
    /// Docker offers less memory than the node is to have.
    #[error("{}", .0.found)]
    #[diagnostic(code("machine::memory"), help("{}", mend(.0)))]
    Memory(Finding),
    /// Docker offers fewer CPUs than the node is to have.
    #[error("{}", .0.found)]
    #[diagnostic(code("machine::cpus"), help("{}", mend(.0)))]
    Cpus(Finding),
    /// Anything else that an install cannot do without.
    #[error("{}", .0.found)]
    #[diagnostic(code("machine::unfit"), help("{}", mend(.0)))]
    Unfit(Finding),
}

fn mend(finding: &Finding) -> String {
    let fix = finding.fix.as_deref().unwrap_or("`ztlab doctor` says more");
    format!("{fix}; then the same command again (`ztlab doctor` shows all that it looks at)")
}

fn listed(damaged: &[DamagedArtifact]) -> String {
    let lines = damaged.iter().map(|one| format!("  {}: blob {}: {}", one.artifact, one.descriptor.digest, one.damage));
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let lock = install.complete.lock();
    let (count, bytes) = blobs::check_early(install).await?;
    let objects = install.objects().await?;
    let images = images::of_lock(lock, install.node);
    version(&lock.version, "istio")?;
    tool::program(install, "istioctl")?;
    if let Target::Minikube { .. } = &install.target {
        version(&lock.version, "kubernetes")?;
        tool::program(install, "minikube")?;
        if !images.iter().any(|image| image.role == Role::NodeBase) {
            return Err(MissingEntry { entry: "image", name: "kicbase" }.into());
        }
        let locked = locked_references(lock);
        let profile = install.complete.profile();
        let findings =
            objects.unlocked(lock, profile, &locked, |shows| matches!(shows, Shows::ClusterPod | Shows::Runtime));
        if !findings.is_empty() {
            return Err(ObjectsError::Unlocked { findings }.into());
        }
        machine_is_fit(install).await?;
    } else {
        install.cluster().await?;
    }
    Ok(Done::unchanged(format!(
        "{count} blobs ({}) are the locked ones, {} images named",
        human_bytes(bytes),
        images.len()
    )))
}

/// The profiles that a machine with too little memory may have room for.
pub(crate) fn smaller(lock: &Lock, profile: &Profile) -> Vec<Smaller> {
    lock.smaller_than(profile).into_iter().map(|other| Smaller::new(other.name, other.memory)).collect()
}

/// The first thing that an install cannot do without: Minikube says it in less helpful words, and later.
async fn machine_is_fit(install: &Install) -> Result<(), PreflightError> {
    let Target::Minikube { cluster, .. } = &install.target else { return Ok(()) };
    let profile = install.complete.profile();
    let lock = install.complete.lock();
    let images = lock.image.values().filter_map(|image| image.platforms.get(&install.node));
    let layers: BTreeSet<_> = images.flat_map(|pin| pin.layers.iter().copied()).collect();
    let needs = Needs {
        cluster: cluster.clone(),
        profile: profile.name.clone(),
        memory: u64::from(install.memory()) << 20,
        smaller: smaller(install.complete.whole_lock(), profile),
        cpus: install.cpus(),
        architecture: install.node.architecture().to_owned(),
        kubernetes: lock.version.get("kubernetes").map(|version| format!("v{version}")),
        pod_cidr: POD_CIDR.to_owned(),
        store_bytes: 0,
        node_bytes: layers.iter().map(|layer| layer.size).sum(),
    };
    let places = Places {
        environment: &install.environment,
        cluster,
        minikube_home: &install.minikube_home,
        // Every blob is in the store; what still grows on this machine is Minikube's cache.
        store: &install.minikube_home,
        kubeconfig: install.kubeconfig.as_deref(),
    };
    let findings = machine::judge(&machine::gather(&places).await, &needs);
    for finding in findings.iter().filter(|finding| (finding.check, finding.grade) == ("cluster", Grade::Warning)) {
        let fix = finding.fix.as_deref().unwrap_or_default();
        install.reporter.report(Event::Warning { text: format!("{} ({fix})", finding.found) });
    }
    let Some(fault) = findings.into_iter().find(|finding| finding.grade == Grade::Fault) else { return Ok(()) };
    Err(match fault.check {
        "docker" => PreflightError::Docker(fault),
        "architecture" => PreflightError::Architecture(fault),
        "memory" => PreflightError::Memory(fault),
        "cpus" => PreflightError::Cpus(fault),
        _ => PreflightError::Unfit(fault),
    })
}
