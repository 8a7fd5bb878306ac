//! The pod network and its policy engine, by Calico's operator.

use super::{
    graph::Step,
    report::Done,
    run::{Install, InstallError},
    setup::{MissingEntry, POD_CIDR},
    stale,
};
use crate::{cluster::wait::Gate, intent::profile::CSI_DRIVER};

/// Where the operator puts what it makes (tigera/operator v1.32.3, `pkg/render`).
const NAMESPACE: &str = "calico-system";
/// Where the operator itself is (calico v3.27.0, `manifests/tigera-operator.yaml`).
const OPERATOR: &str = "tigera-operator";

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let objects = install.objects().await?;
    if objects.operator.is_empty() {
        return Err(MissingEntry { entry: "manifest", name: "tigera-operator" }.into());
    }
    let mut counts = install.apply(Step::Calico, &objects.operator).await?;
    let mut replaced = stale::replace(install, Step::Calico, &[OPERATOR]).await?;
    install.wait(Step::Calico, &[Gate::deployment(OPERATOR, "tigera-operator")]).await?;
    let asked = install.apply(Step::Calico, &objects.cluster).await?;
    counts.objects += asked.objects;
    counts.changed.extend(asked.changed);
    replaced.extend(stale::replace(install, Step::Calico, &[NAMESPACE]).await?);
    // TigeraStatus answers for calico-node and calico-kube-controllers only (tigera/operator v1.32.3,
    // core_controller.go:1425-1426), and a node says Ready before any pod network exists: ask for each.
    let (namespace, name) = (NAMESPACE.to_owned(), "csi-node-driver".to_owned());
    let csi_driver = if install.complete.profile().leaves_out(CSI_DRIVER) {
        Gate::DaemonSetGone { namespace, name }
    } else {
        Gate::DaemonSet { namespace, name }
    };
    install
        .wait(
            Step::Calico,
            &[
                Gate::TigeraStatus { name: "calico".to_owned() },
                Gate::daemon_set(NAMESPACE, "calico-node"),
                Gate::deployment(NAMESPACE, "calico-typha"),
                Gate::deployment(NAMESPACE, "calico-kube-controllers"),
                csi_driver,
                Gate::NodesReady,
                Gate::DnsInside { cidr: POD_CIDR.to_owned() },
            ],
        )
        .await?;
    Ok(counts.done("Calico Available, DNS inside the pod range").replacing(&replaced))
}
