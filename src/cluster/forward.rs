//! A loopback port that leads into a pod, as `kubectl port-forward` makes one.
//!
//! Each connection asks anew which pod stands behind a Service, so that a forward outlives a restarted pod.

use std::{fmt, net::SocketAddr};

use k8s_openapi::{
    api::core::v1::{Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, Client, api::ListParams};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::wait::judge::pod_ready;

/// Where a forward leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A port of a pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The port that a container listens on.
        port: u16,
    },
    /// A port of a Service: a ready pod behind it, at the port that the Service translates to.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The Service's own port.
        port: u16,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace, name, port } => write!(formatter, "pod/{name} port {port} in {namespace}"),
            Self::Service { namespace, name, port } => write!(formatter, "svc/{name} port {port} in {namespace}"),
        }
    }
}

/// No way to a pod.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ForwardError {
    /// The loopback port is taken.
    #[error("cannot listen on 127.0.0.1:{port} for {target}")]
    #[diagnostic(code(forward::listen), help("choose another port, or end the program that holds this one"))]
    Listen {
        /// The port.
        port: u16,
        /// Where it was to lead.
        target: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The API server refused or does not know the object.
    #[error("cannot find {target}")]
    #[diagnostic(code(forward::find), help("`ztlab install` brings what is missing"))]
    Find {
        /// Where it was to lead.
        target: String,
        /// The reason.
        #[source]
        source: Box<kube::Error>,
    },
    /// The Service is there, but not the port, or no ready pod.
    #[error("nothing answers behind {target}: expected {expected}")]
    #[diagnostic(code(forward::nobody), help("type `kubectl get pods -A` to see which pod is not ready"))]
    Nobody {
        /// Where it was to lead.
        target: String,
        /// What is missing.
        expected: String,
    },
}

/// An open forward; it ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        // The connections live in a set inside this task and end with it.
        self.accepting.abort();
    }
}

impl Forward {
    /// Listens on a loopback port (0: any free one) after having made sure that the target exists.
    ///
    /// # Errors
    /// When the target is not there or the port is taken.
    pub async fn open(client: &Client, target: Target, local_port: u16) -> Result<Self, ForwardError> {
        resolve(client, &target).await?;
        let listen = |source| ForwardError::Listen { port: local_port, target: target.to_string(), source };
        let listener = TcpListener::bind(("127.0.0.1", local_port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let accepting = tokio::spawn(accept(client.clone(), target, listener));
        Ok(Self { address, accepting })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(client: Client, target: Target, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (client, target) = (client.clone(), target.clone());
                connections.spawn(async move {
                    if let Err(error) = carry(&client, &target, stream).await {
                        // The caller sees a closed connection; why is for `--verbose`.
                        tracing::debug!(%target, error = &*error, "forwarded connection ended");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(
    client: &Client,
    target: &Target,
    mut stream: TcpStream,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (namespace, pod, port) = resolve(client, target).await?;
    let mut forwarder = Api::<Pod>::namespaced(client.clone(), &namespace).portforward(&pod, &[port]).await?;
    let mut inside = forwarder.take_stream(port).ok_or("no stream for the port")?;
    tokio::io::copy_bidirectional(&mut stream, &mut inside).await?;
    drop(inside);
    forwarder.join().await?;
    Ok(())
}

/// The namespace, pod and container port behind a target.
async fn resolve(client: &Client, target: &Target) -> Result<(String, String, u16), ForwardError> {
    let find = |source| ForwardError::Find { target: target.to_string(), source: Box::new(source) };
    let nobody = |expected: String| ForwardError::Nobody { target: target.to_string(), expected };
    match target {
        Target::Pod { namespace, name, port } => {
            Api::<Pod>::namespaced(client.clone(), namespace).get_metadata(name).await.map_err(find)?;
            Ok((namespace.clone(), name.clone(), *port))
        }
        Target::Service { namespace, name, port } => {
            let service = Api::<Service>::namespaced(client.clone(), namespace).get(name).await.map_err(find)?;
            let spec = service.spec.unwrap_or_default();
            let ports = spec.ports.unwrap_or_default();
            let service_port = ports.iter().find(|candidate| candidate.port == i32::from(*port));
            let service_port = service_port.ok_or_else(|| nobody(format!("the Service to have a port {port}")))?;
            let selector = spec.selector.unwrap_or_default();
            let selector: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let pods = Api::<Pod>::namespaced(client.clone(), namespace);
            let pods = pods.list(&ListParams::default().labels(&selector.join(","))).await.map_err(find)?;
            let pod = pods.items.iter().find(|pod| pod_ready(pod));
            let pod = pod.ok_or_else(|| nobody(format!("a ready pod with {}", selector.join(","))))?;
            let inside = container_port(service_port, pod)
                .ok_or_else(|| nobody(format!("a container port for the Service's port {port}")))?;
            Ok((namespace.clone(), pod.metadata.name.clone().unwrap_or_default(), inside))
        }
    }
}

/// The port that a Service's port means inside a pod: a number, a container port's name, or the same number.
fn container_port(service_port: &ServicePort, pod: &Pod) -> Option<u16> {
    let number = match &service_port.target_port {
        None => service_port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.filter_map(|container| container.ports.as_ref()).flatten();
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_port_means_a_number_a_name_or_itself() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {}, "spec": {"containers": [{"name": "c", "ports": [{"name": "http2", "containerPort": 8080}]}]}
        }))
        .unwrap();
        let port = |target: Option<IntOrString>| {
            container_port(&ServicePort { port: 80, target_port: target, ..Default::default() }, &pod)
        };
        assert_eq!(port(None), Some(80));
        assert_eq!(port(Some(IntOrString::Int(8443))), Some(8443));
        assert_eq!(port(Some(IntOrString::String("http2".to_owned()))), Some(8080));
        assert_eq!(port(Some(IntOrString::String("grpc".to_owned()))), None);
    }
}
