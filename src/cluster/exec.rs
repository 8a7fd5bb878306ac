//! A command inside a pod, over the API server's WebSocket.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::{Api, Client, api::AttachParams};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecOutput {
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
    /// Its exit code.
    pub code: i32,
}

/// A command that could not be run in a pod. A command that ran and failed is not one: see [`ExecOutput::code`].
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExecError {
    /// The API server or the kubelet refused.
    #[error("cannot run `{command}` in the pod {pod}")]
    #[diagnostic(code(exec::refused), help("type `kubectl describe pod -n {namespace} {name}`", namespace = .pod.split('/').next().unwrap_or_default(), name = .pod.split('/').nth(1).unwrap_or_default()))]
    Refused {
        /// The command.
        command: String,
        /// Namespace and name.
        pod: String,
        /// The reason.
        #[source]
        source: Box<kube::Error>,
    },
    /// The runtime could not start it, or the connection broke before its exit code arrived.
    #[error("`{command}` in the pod {pod} ended without an exit code: {reason}")]
    #[diagnostic(code(exec::lost), help("run the same command again; the pod may have been restarted meanwhile"))]
    Lost {
        /// The command.
        command: String,
        /// Namespace and name.
        pod: String,
        /// What is known.
        reason: String,
    },
    /// It takes too long.
    #[error("`{command}` in the pod {pod} did not end within {} s", .deadline.as_secs())]
    #[diagnostic(
        code(exec::deadline),
        help("run the same command again; `kubectl get pods -A` shows what is not ready when it stays so")
    )]
    Deadline {
        /// The command.
        command: String,
        /// Namespace and name.
        pod: String,
        /// How long it had.
        deadline: Duration,
    },
}

/// Runs a command in a container of a pod and waits for its end.
///
/// # Errors
/// When the command could not be started or followed to its end.
pub async fn exec(
    client: &Client,
    namespace: &str,
    pod: &str,
    container: &str,
    command: &[&str],
    deadline: Duration,
) -> Result<ExecOutput, ExecError> {
    let (line, place) = (command.join(" "), format!("{namespace}/{pod}"));
    match tokio::time::timeout(deadline, run(client, namespace, pod, container, command)).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(Trouble::Refused(source))) => Err(ExecError::Refused { command: line, pod: place, source }),
        Ok(Err(Trouble::Lost(reason))) => Err(ExecError::Lost { command: line, pod: place, reason }),
        Err(_) => Err(ExecError::Deadline { command: line, pod: place, deadline }),
    }
}

enum Trouble {
    Refused(Box<kube::Error>),
    Lost(String),
}

async fn run(
    client: &Client,
    namespace: &str,
    pod: &str,
    container: &str,
    command: &[&str],
) -> Result<ExecOutput, Trouble> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let parameters = AttachParams::default().container(container).stderr(true);
    let attached = api.exec(pod, command.iter().copied(), &parameters).await;
    let mut process = attached.map_err(|source| Trouble::Refused(Box::new(source)))?;
    let (stdout, stderr, status) = (process.stdout(), process.stderr(), process.take_status());
    let status = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    // Both streams must be read while the command runs: a full one would stop it.
    let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), status);
    let code = exit_code(status.as_ref()).map_err(Trouble::Lost)?;
    Ok(ExecOutput { stdout, stderr, code })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // A broken stream shows itself as a missing status.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit code in the status that the kubelet sends last.
fn exit_code(status: Option<&Status>) -> Result<i32, String> {
    let Some(status) = status else { return Err("the connection was closed early".to_owned()) };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.iter().filter_map(|details| details.causes.as_ref()).flatten();
    let code =
        causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode")).find_map(|cause| cause.message.as_ref());
    match code.and_then(|code| code.parse().ok()) {
        Some(code) => Ok(code),
        None => Err(status.message.clone().unwrap_or_else(|| "the kubelet gave no reason".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_exit_code_is_in_the_causes() {
        assert_eq!(exit_code(Some(&status(r#"{"metadata":{},"status":"Success"}"#))), Ok(0));
        let failed = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"56"}]}}"#;
        assert_eq!(exit_code(Some(&status(failed))), Ok(56));
    }

    #[test]
    fn a_command_that_never_started_has_no_exit_code() {
        let failed =
            r#"{"metadata":{},"status":"Failure","message":"exec: \"curl\": not found","reason":"InternalError"}"#;
        assert_eq!(exit_code(Some(&status(failed))), Err("exec: \"curl\": not found".to_owned()));
        assert!(exit_code(None).is_err());
    }
}
