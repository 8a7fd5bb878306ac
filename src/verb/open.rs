//! `open`: the app and the dashboards on a loopback port, until the caller lets go.

use super::Context;
use crate::{
    cluster::{
        client::Cluster,
        forward::{Forward, Target as Place},
    },
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

    /// The loopback port when the user names none.
    fn default_port(self) -> u16 {
        match self {
            Self::App => 8080,
            other => other.service().1,
        }
    }
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
    let (name, service_port) = dashboard.service();
    let place = Place::Service { namespace: "istio-system".to_owned(), name: name.to_owned(), port: service_port };
    Ok(Forward::open(&cluster.client, place, port.unwrap_or_else(|| dashboard.default_port())).await?)
}
