//! Gates with a deadline, and why one did not open.
//!
//! A gate names its objects: `kubectl wait` on a label ends at once when nothing matches yet, which is how the first
//! seconds of an install look. Each gate is a small pure judgement on objects ([`gate`]); [`wait_for`] asks the API
//! server until all of them are met. An image that cannot be pulled ends the wait early, because offline no amount of
//! time brings it.

pub mod cause;
pub mod cidr;
pub mod gate;

use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, sleep};

pub use cause::{Cause, Finding};
pub use gate::{Gate, State};

/// Between two looks. The objects behind a gate change every few seconds at most.
const PAUSE: Duration = Duration::from_secs(1);
/// A look that fails (the API server restarts, a webhook's server is replaced) is repeated this often before it counts.
const LOOKS: u32 = 5;

/// A gate that did not open.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WaitError {
    /// The deadline passed, or waiting longer would not help.
    #[error("{gate} did not happen {}: {state}{}", ended(*.early, *.deadline), .findings.iter().map(|finding| format!("\n{finding}")).collect::<String>())]
    #[diagnostic(code(wait::gate), help("{}", cause::advice(.findings)))]
    Gate {
        /// What was waited for.
        gate: String,
        /// What was there instead.
        state: String,
        /// Why, as far as the cluster tells.
        findings: Vec<Finding>,
        /// How long it had.
        deadline: Duration,
        /// Whether the wait ended before the deadline because more time would not have helped.
        early: bool,
    },
    /// The API server does not answer.
    #[error("cannot ask the cluster about {gate}")]
    #[diagnostic(code(wait::cluster), help("when the node does not run, `ztlab install` starts it"))]
    Cluster {
        /// What was asked about.
        gate: String,
        /// The reason.
        #[source]
        source: Box<kube::Error>,
    },
}

fn ended(early: bool, deadline: Duration) -> String {
    if early { "and waiting longer cannot help".to_owned() } else { format!("within {} s", deadline.as_secs()) }
}

/// Waits until every gate is met; `on_waiting` hears what the first unmet one lacks, when that changes.
///
/// # Errors
/// At the deadline, or as soon as a gate cannot be met any more, with the causes that the cluster shows.
pub async fn wait_for(
    client: &Client,
    gates: &[Gate],
    deadline: Duration,
    on_waiting: &(dyn Fn(String) + Send + Sync),
) -> Result<(), WaitError> {
    let end = Instant::now() + deadline;
    let mut open: Vec<&Gate> = gates.iter().collect();
    let mut said = String::new();
    loop {
        let mut unmet = Vec::new();
        for gate in open {
            match look(client, gate).await? {
                State::Met => {}
                State::Waiting(state) => unmet.push((gate, state)),
                State::Hopeless(state) => return Err(failure(client, gate, state, deadline, true).await),
            }
        }
        let Some((first, state)) = unmet.first() else { return Ok(()) };
        for (gate, state) in &unmet {
            if let Some(error) = image_missing(client, gate, state, deadline).await {
                return Err(error);
            }
        }
        if Instant::now() >= end {
            return Err(failure(client, first, state.clone(), deadline, false).await);
        }
        let line = format!("{first}: {state}");
        if line != said {
            on_waiting(line.clone());
            said = line;
        }
        open = unmet.into_iter().map(|(gate, _)| gate).collect();
        sleep(PAUSE).await;
    }
}

async fn look(client: &Client, gate: &Gate) -> Result<State, WaitError> {
    let mut failed = 0;
    loop {
        match gate.look(client).await {
            Ok(state) => return Ok(state),
            Err(error) if failed + 1 < LOOKS => {
                tracing::debug!(%gate, %error, "asking again");
                failed += 1;
                sleep(PAUSE).await;
            }
            Err(source) => return Err(WaitError::Cluster { gate: gate.to_string(), source: Box::new(source) }),
        }
    }
}

/// An early end when a pod behind the gate lacks its image.
async fn image_missing(client: &Client, gate: &Gate, state: &str, deadline: Duration) -> Option<WaitError> {
    let findings = cause::missing_images(client, &gate.pods()?).await;
    (!findings.is_empty()).then(|| WaitError::Gate {
        gate: gate.to_string(),
        state: state.to_owned(),
        findings,
        deadline,
        early: true,
    })
}

async fn failure(client: &Client, gate: &Gate, state: String, deadline: Duration, early: bool) -> WaitError {
    let findings = match gate.pods() {
        Some(pods) => cause::diagnose(client, &pods).await,
        None => Vec::new(),
    };
    WaitError::Gate { gate: gate.to_string(), state, findings, deadline, early }
}
