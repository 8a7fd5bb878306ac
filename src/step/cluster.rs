//! `minikube start`, from its cache alone.

use super::{
    base_image::node_base,
    graph::{Step, Target},
    report::Done,
    run::{Install, InstallError},
    setup::{POD_CIDR, version},
    tool,
};
use crate::cluster::minikube::{Minikube, StartOptions};

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let Target::Minikube { cluster, .. } = &install.target else {
        return Ok(Done::unchanged("the cluster is not ztlab's to start"));
    };
    let minikube = minikube(install, cluster)?;
    if minikube.status().await?.is_some_and(|status| status.running()) {
        return Ok(Done::unchanged(format!("the cluster {cluster} is running")));
    }
    let kubernetes = version(&install.complete.lock().version, "kubernetes")?;
    let options = StartOptions {
        kubernetes_version: format!("v{kubernetes}"),
        base_image: node_base(install)?.reference,
        memory: install.memory(),
        cpus: install.cpus(),
        pod_cidr: POD_CIDR.to_owned(),
        extra: if runs_as_root() { vec!["--force".to_owned()] } else { Vec::new() },
    };
    // A start from archives took half a minute; kubeadm's own timeouts add up to minutes when it goes wrong.
    let deadline = install.options.timeout.max(std::time::Duration::from_secs(600));
    minikube.start(&options, deadline, Step::Cluster.name(), install.reporter.as_ref()).await?;
    Ok(Done::changed(format!("the cluster {cluster} runs Kubernetes v{kubernetes}")))
}

/// Whether this process is root's: Minikube then refuses the docker driver without `--force`
/// (kubernetes/minikube v1.32.0, `cmd/minikube/cmd/start.go`, `DRV_AS_ROOT`). A fresh file belongs to whoever makes it.
fn runs_as_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    tempfile::tempfile().and_then(|file| file.metadata()).is_ok_and(|file| file.uid() == 0)
}

/// The pinned Minikube for a cluster of this name.
pub(super) fn minikube(install: &Install, cluster: &str) -> Result<Minikube, tool::ToolError> {
    let program = tool::program(install, "minikube")?;
    // Minikube asks no API server by way of a proxy and ignores a loopback one for the node
    // (kubernetes/minikube v1.32.0, `pkg/minikube/proxy/proxy.go`), so a dead one stops look-ups and nothing else.
    let home = install.minikube_home.display().to_string();
    let environment = install.child_environment("127.0.0.1").with("MINIKUBE_HOME", home);
    Ok(Minikube::new(program, environment, cluster).noted_in(install.children()))
}
