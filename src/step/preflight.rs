//! Is the store whole, the lab consistent, the machine fit? Looks, and changes nothing.

use super::{
    blobs,
    graph::Target,
    images::{self, Role},
    objects::{ObjectsError, locked_references},
    report::Done,
    run::{Install, InstallError},
    setup::{MissingEntry, version},
    tool,
};
use crate::{
    base::human_bytes,
    cluster::process::{Child, ProcessError},
    demand::Shows,
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
    /// No Docker.
    #[error("Docker does not answer")]
    #[diagnostic(
        code("machine::docker"),
        help("start Docker Desktop, wait until it is up, then run the same command again")
    )]
    Docker(#[source] ProcessError),
    /// Docker's machine is of another kind than the lock.
    #[error("Docker runs on {found}, and the lock's images are for {expected}")]
    #[diagnostic(
        code("machine::architecture"),
        help("use the lab for this machine, or lock it for {found} in lock/ztlab.toml (`node`)")
    )]
    Architecture {
        /// What the lock says.
        expected: String,
        /// What Docker says.
        found: String,
    },
    /// Docker offers less memory than the node is to have.
    #[error("Docker has {} of memory, and the node is to have {}", human_bytes(*.found), human_bytes(*.wanted))]
    #[diagnostic(
        code("machine::memory"),
        help("give Docker Desktop more memory (Settings, Resources), or the node less: `ztlab install --memory MIB`")
    )]
    Memory {
        /// Bytes that Docker offers.
        found: u64,
        /// Bytes that the node is to have.
        wanted: u64,
    },
    /// Docker offers fewer CPUs than the node is to have.
    #[error("Docker has {found} CPUs, and the node is to have {wanted}")]
    #[diagnostic(
        code("machine::cpus"),
        help("give Docker Desktop more CPUs (Settings, Resources), or the node fewer: `ztlab install --cpus {found}`")
    )]
    Cpus {
        /// What Docker offers.
        found: u32,
        /// What the node is to have.
        wanted: u32,
    },
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
    if let Target::Minikube { memory, cpus, .. } = &install.target {
        version(&lock.version, "kubernetes")?;
        tool::program(install, "minikube")?;
        if !images.iter().any(|image| image.role == Role::NodeBase) {
            return Err(MissingEntry { entry: "image", name: "kicbase" }.into());
        }
        let locked = locked_references(lock);
        let findings = objects.unlocked(lock, &locked, |shows| matches!(shows, Shows::ClusterPod | Shows::Runtime));
        if !findings.is_empty() {
            return Err(ObjectsError::Unlocked { findings }.into());
        }
        docker_is_fit(install, u64::from(*memory) << 20, *cpus).await?;
    } else {
        install.cluster().await?;
    }
    Ok(Done::unchanged(format!(
        "{count} blobs ({}) are the locked ones, {} images named",
        human_bytes(bytes),
        images.len()
    )))
}

/// Docker's own words: Minikube exits with less helpful ones, and later.
async fn docker_is_fit(install: &Install, memory: u64, cpus: u32) -> Result<(), PreflightError> {
    const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
    let output = Child::new("docker", &install.environment, DEADLINE)
        .arguments(["info", "--format", "{{.MemTotal}} {{.NCPU}} {{.Architecture}}"])
        .run()
        .await
        .map_err(PreflightError::Docker)?;
    let text = output.text();
    let mut words = text.split_whitespace();
    let found_memory: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let found_cpus: u32 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let found = match words.next().unwrap_or("an unknown architecture") {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    };
    if found != install.node.architecture() {
        return Err(PreflightError::Architecture {
            expected: install.node.architecture().to_owned(),
            found: found.to_owned(),
        });
    }
    if found_memory < memory {
        return Err(PreflightError::Memory { found: found_memory, wanted: memory });
    }
    if found_cpus < cpus {
        return Err(PreflightError::Cpus { found: found_cpus, wanted: cpus });
    }
    Ok(())
}
