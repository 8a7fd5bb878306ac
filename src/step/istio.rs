//! The service mesh, by the pinned istioctl.
//!
//! istioctl's charts are compiled in and it talks to the API server alone (istio 1.20.0,
//! `manifests/manifest.go:25-35`). A run that changes nothing still takes it 8 s, so the digest of program and
//! arguments is kept on the namespace: the same digest and open gates mean that there is nothing to do.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use kube::api::{ApiResource, DynamicObject};

use super::{
    graph::Step,
    report::Done,
    run::{Install, InstallError},
    setup::version,
    stale, tool,
};
use crate::{
    base::Digest,
    cluster::{
        apply,
        client::Cluster,
        process::{Child, ProcessError},
        wait::Gate,
    },
    demand::istio::HUB,
    intent::profile::EGRESS_GATEWAY,
    lockfile::Profile,
};

/// Annotation on the namespace: what installed the mesh.
const INSTALLED_BY: &str = "ztlab.dev/istio-installed-by";
const NAMESPACE: &str = "istio-system";
const EGRESS: &str = "istio-egressgateway";
/// The label in which istioctl writes the component that an object belongs to, and its word for egress gateways
/// (istio 1.20.0, `operator/pkg/helmreconciler/common.go` and `operator/pkg/name/name.go`).
const COMPONENT: (&str, &str) = ("operator.istio.io/component", "EgressGateways");
/// Objects that are there a moment longer than they were told.
const REMOVAL: Duration = Duration::from_secs(120);

/// istioctl failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("istioctl could not {action} the mesh")]
#[diagnostic(
    code("cluster::istioctl"),
    help("read istioctl's words above; `kubectl --context {context} get pods,events -n istio-system` shows the rest")
)]
pub(super) struct IstioError {
    pub(super) action: &'static str,
    pub(super) context: String,
    pub(super) source: ProcessError,
}

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let istio = version(&install.complete.lock().version, "istio")?;
    let program = tool::program(install, "istioctl")?;
    let profile = install.complete.profile();
    let settings = settings(istio, profile);
    let identity = Digest::of(
        format!("{} {}", tool::digest_of(&program).map_err(crate::store::StoreError::from)?, settings.join(" "))
            .as_bytes(),
    );
    let cluster = install.cluster().await?;
    let mut gates = vec![
        Gate::deployment(NAMESPACE, "istiod"),
        Gate::deployment(NAMESPACE, "istio-ingressgateway"),
        Gate::ServiceReady { namespace: NAMESPACE.to_owned(), name: "istiod".to_owned() },
    ];
    let no_egress_gateway = profile.leaves_out(EGRESS_GATEWAY);
    if !no_egress_gateway {
        gates.push(Gate::deployment(NAMESPACE, EGRESS));
    }
    let installed = cluster.namespace_annotation(NAMESPACE, INSTALLED_BY).await?;
    if installed.as_deref() == Some(&identity.to_string()) {
        // The dashboards are in this namespace too.
        let replaced = stale::replace(install, Step::Istio, &[NAMESPACE]).await?;
        install.wait(Step::Istio, &gates).await?;
        return Ok(Done::unchanged(format!("Istio {istio} is installed and ready")).replacing(&replaced));
    }
    install.waiting(Step::Istio)("istioctl install".to_owned());
    let mut arguments = vec!["install".to_owned()];
    arguments.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
    arguments.extend([
        "--readiness-timeout".to_owned(),
        format!("{}s", install.options.timeout.as_secs()),
        "-y".to_owned(),
    ]);
    istioctl(install, cluster, &program, arguments).await.map_err(|source| IstioError {
        action: "install",
        context: cluster.context.clone(),
        source,
    })?;
    let replaced = stale::replace(install, Step::Istio, &[NAMESPACE]).await?;
    let mut left = String::new();
    // Only from a mesh that ztlab installed: an egress gateway that was there before it is somebody else's.
    if no_egress_gateway && installed.is_some() && remove_egress_gateway(install, cluster).await? {
        left.push_str(", its egress gateway removed");
    }
    install.wait(Step::Istio, &gates).await?;
    install.apply(Step::Istio, &[namespace(&identity)]).await?;
    let without = if no_egress_gateway { " without egress gateway" } else { "" };
    Ok(Done::changed(format!("Istio {istio}, its profile demo{without}{left}")).replacing(&replaced))
}

/// What the mesh is made with. Hub and tag are said because a binary without release stamps would take others
/// (istio 1.20.0, `manifests/profiles/default.yaml:6-7`); the cloud platform, because a proxy otherwise asks
/// 169.254.169.254 at its start and waits 5 s for no answer. Gateways are a list that is merged by name: without its
/// name, an entry is refused ("does not contain declared merge key", istio/istio#27045).
fn settings(istio: &str, profile: &Profile) -> Vec<String> {
    let mut settings = vec![
        "profile=demo".to_owned(),
        format!("hub={HUB}"),
        format!("tag={istio}"),
        "values.global.imagePullPolicy=IfNotPresent".to_owned(),
        "meshConfig.defaultConfig.proxyMetadata.CLOUD_PLATFORM=none".to_owned(),
    ];
    if profile.leaves_out(EGRESS_GATEWAY) {
        settings.push(format!("components.egressGateways[0].name={EGRESS}"));
        settings.push("components.egressGateways[0].enabled=false".to_owned());
    }
    settings
}

/// What istioctl made of the egress gateway (istio 1.20.0, `manifests/charts/gateways/istio-egress/templates`). It
/// prunes within the components that it installs (`operator/pkg/helmreconciler/prune.go`), and a component that is
/// switched off may not be among them. Whether anything went.
async fn remove_egress_gateway(install: &Install, cluster: &Cluster) -> Result<bool, InstallError> {
    fn named<Kind: kube::Resource<DynamicType = ()>>(suffix: &str) -> DynamicObject {
        DynamicObject::new(&format!("{EGRESS}{suffix}"), &ApiResource::erase::<Kind>(&())).within(NAMESPACE)
    }
    let made = [
        named::<Deployment>(""),
        named::<Service>(""),
        named::<PodDisruptionBudget>(""),
        named::<RoleBinding>("-sds"),
        named::<Role>("-sds"),
        named::<ServiceAccount>("-service-account"),
    ];
    let mut there = Vec::new();
    for object in made {
        let found = apply::find(&cluster.client, &object).await?;
        let component = found.and_then(|found| found.metadata.labels?.remove(COMPONENT.0));
        if component.as_deref() == Some(COMPONENT.1) {
            there.push(object);
        }
    }
    Ok(apply::delete(&cluster.client, &there, REMOVAL, &install.waiting(Step::Istio)).await? > 0)
}

/// Runs the pinned istioctl against the cluster.
pub(super) async fn istioctl(
    install: &Install,
    cluster: &Cluster,
    program: &std::path::Path,
    mut arguments: Vec<String>,
) -> Result<(), ProcessError> {
    arguments.extend(["--context".to_owned(), cluster.context.clone()]);
    if let Some(path) = &cluster.kubeconfig {
        arguments.extend(["--kubeconfig".to_owned(), path.display().to_string()]);
    }
    // istioctl waits for each of four components in turn.
    let deadline = install.options.timeout * 4 + Duration::from_secs(60);
    let environment = install.child_environment(&cluster.host);
    let child = Child::new(program, &environment, deadline).arguments(arguments);
    child.noted_in(Some(&install.children())).run().await.map(|_| ())
}

fn namespace(identity: &Digest) -> DynamicObject {
    let mut object = DynamicObject::new(NAMESPACE, &ApiResource::erase::<Namespace>(&()));
    object.metadata.annotations = Some([(INSTALLED_BY.to_owned(), identity.to_string())].into());
    object
}
