//! The service mesh, by the pinned istioctl.
//!
//! istioctl's charts are compiled in and it talks to the API server alone (istio 1.20.0,
//! `manifests/manifest.go:25-35`). A run that changes nothing still takes it 8 s, so the digest of program and
//! arguments is kept on the namespace: the same digest and open gates mean that there is nothing to do.

use std::time::Duration;

use kube::api::DynamicObject;

use super::{
    graph::Step,
    report::Done,
    run::{Install, InstallError},
    setup::version,
    tool,
};
use crate::{
    base::Digest,
    cluster::{
        client::Cluster,
        process::{Child, ProcessError},
        wait::Gate,
    },
    demand::istio::HUB,
};

/// Annotation on the namespace: what installed the mesh.
const INSTALLED_BY: &str = "ztlab.dev/istio-installed-by";
const NAMESPACE: &str = "istio-system";

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
    let settings = settings(istio);
    let identity = Digest::of(
        format!("{} {}", tool::digest_of(&program).map_err(crate::store::StoreError::from)?, settings.join(" "))
            .as_bytes(),
    );
    let cluster = install.cluster().await?;
    let gates = [
        Gate::deployment(NAMESPACE, "istiod"),
        Gate::deployment(NAMESPACE, "istio-ingressgateway"),
        Gate::deployment(NAMESPACE, "istio-egressgateway"),
        Gate::ServiceReady { namespace: NAMESPACE.to_owned(), name: "istiod".to_owned() },
    ];
    let installed = cluster.namespace_annotation(NAMESPACE, INSTALLED_BY).await?;
    if installed.as_deref() == Some(&identity.to_string()) {
        install.wait(Step::Istio, &gates).await?;
        return Ok(Done::unchanged(format!("Istio {istio} is installed and ready")));
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
    install.wait(Step::Istio, &gates).await?;
    install.apply(Step::Istio, &[namespace(&identity)]).await?;
    Ok(Done::changed(format!("Istio {istio}, profile demo")))
}

/// What the mesh is made with. Hub and tag are said because a binary without release stamps would take others
/// (istio 1.20.0, `manifests/profiles/default.yaml:6-7`); the cloud platform, because a proxy otherwise asks
/// 169.254.169.254 at its start and waits 5 s for no answer.
fn settings(istio: &str) -> Vec<String> {
    vec![
        "profile=demo".to_owned(),
        format!("hub={HUB}"),
        format!("tag={istio}"),
        "values.global.imagePullPolicy=IfNotPresent".to_owned(),
        "meshConfig.defaultConfig.proxyMetadata.CLOUD_PLATFORM=none".to_owned(),
    ]
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
    let mut object =
        DynamicObject::new(NAMESPACE, &kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&()));
    object.metadata.annotations = Some([(INSTALLED_BY.to_owned(), identity.to_string())].into());
    object
}
