//! `open`: the app and the dashboards on a loopback port, until the caller lets go.

use super::Context;
use crate::{
    cluster::{
        client::Cluster,
        forward::{Forward, Target as Place},
    },
    lockfile,
    step::Target,
};

/// What can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dashboard {
    /// The app, through the mesh's gateway: a forward to the frontend's own port would go around gateway,
    /// sidecar, mutual TLS and policies.
    App,
    /// The mesh's picture.
    Kiali,
    /// Graphs.
    Grafana,
    /// Raw metrics.
    Prometheus,
}

impl Dashboard {
    /// Namespace, Service and its port (istio 1.20.0, `samples/addons`; the gateway: `manifests/charts/gateways`).
    fn service(self) -> (&'static str, u16) {
        match self {
            Self::App => ("istio-ingressgateway", 80),
            Self::Kiali => ("kiali", 20001),
            Self::Grafana => ("grafana", 3000),
            Self::Prometheus => ("prometheus", 9090),
        }
    }

    /// The member of the locked archive that brings it; the app is always there.
    fn member(self) -> Option<&'static str> {
        match self {
            Self::App => None,
            other => Some(other.service().0),
        }
    }

    /// The loopback port when the user names none.
    fn default_port(self) -> u16 {
        match self {
            Self::App => 8080,
            other => other.service().1,
        }
    }
}

/// The lab that is there has no such dashboard.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("there is no {dashboard}: the lab was installed in its profile {profile}, which leaves it out")]
#[diagnostic(code("open::left_out"), help("`ztlab install --profile full` adds it, where the machine has the memory"))]
pub struct LeftOut {
    dashboard: &'static str,
    profile: String,
}

/// Says so, before a Service is looked for that nobody made.
async fn refuse_left_out(context: &Context, target: &Target, dashboard: &'static str) -> miette::Result<()> {
    // A lab without a lock that can be read may have a dashboard all the same.
    let Ok(lock) = lockfile::read(&context.lock_path()) else { return Ok(()) };
    let Some(profile) = super::profile::installed(context, target).await.and_then(|name| lock.profile(&name).ok())
    else {
        return Ok(());
    };
    let left = lock.file.keys().any(|file| profile.leaves_out(&format!("file.{file}.{dashboard}")));
    if left { Err(LeftOut { dashboard, profile: profile.name }.into()) } else { Ok(()) }
}

/// Opens a way to a dashboard; it closes when the value is dropped.
///
/// # Errors
/// When the cluster does not answer, the Service has no ready pod, or the port is taken.
pub async fn run(
    context: &Context,
    target: &Target,
    dashboard: Dashboard,
    port: Option<u16>,
) -> miette::Result<Forward> {
    let cluster = Cluster::connect(super::install::kubeconfig(context).as_deref(), target.context()).await?;
    if let Some(name) = dashboard.member() {
        refuse_left_out(context, target, name).await?;
    }
    let (name, service_port) = dashboard.service();
    let place = Place::Service { namespace: "istio-system".to_owned(), name: name.to_owned(), port: service_port };
    Ok(Forward::open(&cluster.client, place, port.unwrap_or_else(|| dashboard.default_port())).await?)
}
