//! Minikube as a child process: the start command, its events, and whether a profile exists.
//!
//! `minikube start -o json` writes one CloudEvent per line. A start that goes well emits warnings and even `error`
//! events (no way to a registry, run as root), so the exit code alone says whether it went well; the events only tell
//! a person what is happening.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

mod events;

pub use self::events::{MinikubeEvent, parse_event};
use super::process::{Child, Environment, Ledger, ProcessError};
use crate::base::{Event, Reporter};

/// Exit code of Minikube when the profile does not exist (`reason.ExGuestNotFound`).
const PROFILE_NOT_FOUND: i32 = 85;
/// `minikube status` adds 1, 2 and 4 for host, cluster and Kubernetes not running: answers, not failures.
const STATUS_BITS: std::ops::RangeInclusive<i32> = 1..=7;
/// `status` only asks Docker and the API server.
const STATUS_DEADLINE: Duration = Duration::from_secs(60);
/// Stopping and deleting took 6 s and 4 s on two cores; a swapping laptop takes longer.
const STOP_DEADLINE: Duration = Duration::from_secs(180);

/// Where Minikube puts its nodes (it takes the first free network from 192.168.49.0/24 on) and its Services.
const NODE_NETWORKS: [&str; 3] = ["192.168.0.0/16", "10.96.0.0/12", "control-plane.minikube.internal"];

/// What the node is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartOptions {
    /// Kubernetes version with its `v`.
    pub kubernetes_version: String,
    /// The node's base image, by tag: a digest would be looked up in a registry.
    pub base_image: String,
    /// Memory in MiB.
    pub memory: u32,
    /// Number of CPUs.
    pub cpus: u32,
    /// Range of pod addresses; Calico's pool must lie inside it.
    pub pod_cidr: String,
    /// Further arguments that a person asked for, such as `--force` for root.
    pub extra: Vec<String>,
}

/// How a profile's parts are doing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProfileStatus {
    /// The container: `Running`, `Stopped`, `Nonexistent`.
    pub host: String,
    /// The kubelet.
    #[serde(default)]
    pub kubelet: String,
    /// The API server.
    #[serde(default, rename = "APIServer")]
    pub api_server: String,
    /// Whether the kubeconfig has the context with the API server's address: `Configured` or `Misconfigured`
    /// (kubernetes/minikube v1.32.0, `cmd/minikube/cmd/status.go`, `VerifyEndpoint`).
    #[serde(default)]
    pub kubeconfig: String,
}

impl ProfileStatus {
    /// Whether the node and its API server run, where the kubeconfig says that they are. A Docker that was started again
    /// gives the node another port on this machine; a start of what runs writes it down.
    pub fn running(&self) -> bool {
        self.host == "Running" && self.api_server == "Running" && self.kubeconfig != "Misconfigured"
    }
}

/// Minikube did not do what it was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MinikubeError {
    /// The start failed; its own events say more than its stderr.
    #[error("Minikube could not start the profile `{profile}`: expected exit code 0{}", listed(.reported))]
    #[diagnostic(
        code(minikube::start),
        help("look into `minikube logs -p {profile}`, and `ztlab uninstall` before another try")
    )]
    Start {
        /// The profile.
        profile: String,
        /// Its error events.
        reported: Vec<String>,
        /// The exit code and the end of stderr.
        #[source]
        source: ProcessError,
    },
    /// Another command failed.
    #[error("Minikube could not {action} the profile `{profile}`")]
    #[diagnostic(code(minikube::command), help("type `minikube {action} -p {profile}` to see what it says"))]
    Command {
        /// The subcommand.
        action: &'static str,
        /// The profile.
        profile: String,
        /// The exit code and the end of stderr.
        #[source]
        source: ProcessError,
    },
    /// `minikube status` wrote something else than JSON.
    #[error("cannot read what `minikube status -p {profile} -o json` wrote: expected a JSON object, found `{found}`")]
    #[diagnostic(code(minikube::status), help("type `minikube status -p {profile}`"))]
    Status {
        /// The profile.
        profile: String,
        /// The beginning of what it wrote.
        found: String,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
}

fn listed(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("; it reported:\n  {}", lines.join("\n  ")) }
}

/// One profile of one Minikube binary.
#[derive(Debug, Clone)]
pub struct Minikube {
    program: PathBuf,
    environment: Environment,
    profile: String,
    ledger: Option<Ledger>,
}

impl Minikube {
    /// Takes the binary and a scrubbed environment that says where Minikube keeps its files (`MINIKUBE_HOME`).
    pub fn new(program: impl Into<PathBuf>, environment: Environment, profile: impl Into<String>) -> Self {
        // Styled output is emoji and colours in the middle of messages.
        let mut environment = environment.with("MINIKUBE_IN_STYLE", "false");
        // On Linux Minikube asks the API server at the node's own address, which nobody knows before the start; Go reads
        // the exceptions once, so the one that Minikube adds later comes too late.
        for name in ["NO_PROXY", "no_proxy"] {
            if let Some(exempt) = environment.get(name) {
                let exempt = [&[exempt], &NODE_NETWORKS[..]].concat().join(",");
                environment = environment.with(name, exempt);
            }
        }
        Self { program: program.into(), environment, profile: profile.into(), ledger: None }
    }

    /// Writes down what runs, for the next run to end should this process be killed.
    #[must_use]
    pub fn noted_in(mut self, ledger: Ledger) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// The profile's name, which is also the node's container and the kubeconfig context.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Starts or resumes the profile; repeatable. What Minikube is busy with goes to the reporter as `step`'s wait.
    ///
    /// # Errors
    /// When Minikube ends with another code than 0, with the errors that it reported.
    pub async fn start(
        &self,
        options: &StartOptions,
        deadline: Duration,
        step: &'static str,
        reporter: &dyn Reporter,
    ) -> Result<(), MinikubeError> {
        let child = self.child(deadline).arguments(start_arguments(&self.profile, options));
        let mut errors = Vec::new();
        let mut told = Vec::new();
        let outcome = child
            .run_lines(&mut |line| match parse_event(line) {
                Some(MinikubeEvent::Step { on, done, total }) => {
                    let on = format!("{on} ({done}/{total})");
                    reporter.report(Event::StepProgress { step, done, total });
                    reporter.report(Event::StepWaiting { step, on });
                }
                Some(MinikubeEvent::Explained(text)) if !told.contains(&text) => {
                    told.push(text);
                    reporter.report(Event::Note { text: text.to_owned() });
                }
                Some(MinikubeEvent::Explained(_)) => {}
                Some(MinikubeEvent::Warning(text)) => {
                    reporter.report(Event::Warning { text: format!("minikube: {text}") })
                }
                Some(MinikubeEvent::Error(text)) => errors.push(text),
                None => {}
            })
            .await;
        outcome.map(|_| ()).map_err(|source| MinikubeError::Start {
            profile: self.profile.clone(),
            reported: errors,
            source,
        })
    }

    /// How the profile is doing, or `None` when there is none of this name.
    ///
    /// # Errors
    /// When Minikube cannot be run or writes no JSON.
    pub async fn status(&self) -> Result<Option<ProfileStatus>, MinikubeError> {
        let child = self.child(STATUS_DEADLINE).arguments(["status", "-p", &self.profile, "-o", "json"]);
        let child = STATUS_BITS.chain([PROFILE_NOT_FOUND]).fold(child, Child::accept);
        let output = child.run().await.map_err(|source| self.failed("status", source))?;
        if output.code == PROFILE_NOT_FOUND {
            return Ok(None);
        }
        let text = output.text();
        serde_json::from_str(text.trim()).map(Some).map_err(|source| MinikubeError::Status {
            profile: self.profile.clone(),
            found: text.trim().chars().take(200).collect(),
            source,
        })
    }

    /// Stops the node; its state stays.
    ///
    /// # Errors
    /// When Minikube fails.
    pub async fn stop(&self) -> Result<(), MinikubeError> {
        self.plain("stop").await
    }

    /// Deletes the profile with its node; succeeds when there is none.
    ///
    /// # Errors
    /// When Minikube fails.
    pub async fn delete(&self) -> Result<(), MinikubeError> {
        self.plain("delete").await
    }

    async fn plain(&self, action: &'static str) -> Result<(), MinikubeError> {
        let child = self.child(STOP_DEADLINE).arguments([action, "-p", &self.profile]);
        child.run().await.map(|_| ()).map_err(|source| self.failed(action, source))
    }

    fn child(&self, deadline: Duration) -> Child {
        Child::new(&self.program, &self.environment, deadline).noted_in(self.ledger.as_ref())
    }

    fn failed(&self, action: &'static str, source: ProcessError) -> MinikubeError {
        MinikubeError::Command { action, profile: self.profile.clone(), source }
    }
}

/// The arguments of an offline start.
///
/// `--preload=false`: Minikube's own image archive is used only with some storage drivers of Docker, so it cannot be
/// relied on. `--network-plugin=cni` beside `--cni=false`: without it the bridge that the base image ships stays
/// active and hands CoreDNS an address that Calico does not know.
pub fn start_arguments(profile: &str, options: &StartOptions) -> Vec<String> {
    let mut arguments: Vec<String> = ["start", "-p", profile].map(str::to_owned).into();
    arguments.extend([
        "--driver=docker".to_owned(),
        "--container-runtime=docker".to_owned(),
        format!("--kubernetes-version={}", options.kubernetes_version),
        format!("--base-image={}", options.base_image),
        "--preload=false".to_owned(),
        "--cni=false".to_owned(),
        "--network-plugin=cni".to_owned(),
        format!("--memory={}", options.memory),
        format!("--cpus={}", options.cpus),
        format!("--extra-config=kubeadm.pod-network-cidr={}", options.pod_cidr),
        "--interactive=false".to_owned(),
        "-o".to_owned(),
        "json".to_owned(),
    ]);
    arguments.extend(options.extra.iter().cloned());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> StartOptions {
        StartOptions {
            kubernetes_version: "v1.28.3".to_owned(),
            base_image: "gcr.io/k8s-minikube/kicbase:v0.0.42".to_owned(),
            memory: 6144,
            cpus: 4,
            pod_cidr: "10.244.0.0/16".to_owned(),
            extra: Vec::new(),
        }
    }

    #[test]
    fn the_start_command_is_the_one_that_was_seen_to_work_offline() {
        assert_eq!(
            start_arguments("P", &options()).join(" "),
            "start -p P --driver=docker --container-runtime=docker --kubernetes-version=v1.28.3 \
             --base-image=gcr.io/k8s-minikube/kicbase:v0.0.42 --preload=false --cni=false --network-plugin=cni \
             --memory=6144 --cpus=4 --extra-config=kubeadm.pod-network-cidr=10.244.0.0/16 --interactive=false -o json"
        );
    }

    #[test]
    fn an_offline_minikube_still_reaches_its_own_node() {
        let minikube = Minikube::new("minikube", Environment::default().offline(["127.0.0.1"]), "ztlab");
        for name in ["NO_PROXY", "no_proxy"] {
            let exempt = minikube.environment.get(name).unwrap();
            assert!(exempt.starts_with("localhost,127.0.0.1") && exempt.contains(",192.168.0.0/16"), "{exempt}");
        }
        let online = Minikube::new("minikube", Environment::default(), "ztlab");
        assert_eq!(online.environment.get("NO_PROXY"), None);
    }

    #[tokio::test]
    async fn a_start_is_told_as_progress_and_its_exit_code_is_believed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("minikube");
        let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recorded/minikube-start-events.jsonl");
        let start = |code: u8| {
            fs_err::write(&program, format!("#!/bin/sh\n/bin/cat '{recorded}'\nexit {code}\n")).unwrap();
            fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            Minikube::new(&program, Environment::default(), "ztlab")
        };
        let reporter = crate::base::report::Recording::default();
        let run = |minikube: Minikube| {
            let reporter = &reporter;
            async move { minikube.start(&options(), Duration::from_secs(30), "cluster", reporter).await }
        };
        run(start(0)).await.unwrap();
        let events = reporter.events();
        assert!(events.contains(&Event::StepProgress { step: "cluster", done: 19, total: 19 }), "{events:?}");
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Note { .. })).count(), 1, "{events:?}");
        assert!(!events.iter().any(|event| matches!(event, Event::Warning { .. })), "{events:?}");
        let error = run(start(80)).await.unwrap_err();
        assert!(error.to_string().contains("could not start"), "{error}");
    }

    #[test]
    fn a_status_says_whether_the_node_runs() {
        let text = r#"{"Name":"ztlab","Host":"Running","Kubelet":"Running","APIServer":"Stopped","Kubeconfig":"Configured","Worker":false}"#;
        let status: ProfileStatus = serde_json::from_str(text).unwrap();
        assert!(!status.running());
        let running = ProfileStatus { api_server: "Running".to_owned(), ..status };
        assert!(running.running());
        assert!(!ProfileStatus { kubeconfig: "Misconfigured".to_owned(), ..running }.running());
    }
}
