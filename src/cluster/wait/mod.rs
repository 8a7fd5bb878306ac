//! Gates with a deadline, and why one did not open.
//!
//! A gate names its objects: `kubectl wait` on a label ends at once when nothing matches yet, which is how the first
//! seconds of an install look. The objects are watched ([`watch`]), each gate is a pure judgement on them ([`gate`],
//! [`judge`]), and all gates have to be open at the same moment. An image that cannot be pulled ends the wait early,
//! because offline no amount of time brings it.
//!
//! | file | what it does |
//! |---|---|
//! | [`gate`] | what is waited for, and which objects to watch for it |
//! | [`judge`] | whether objects are what is waited for (pure) |
//! | [`watch`] | watches that start over by themselves |
//! | [`cause`] | why a gate stays shut, each with its code and advice |
//! | [`pod`], [`policy`] | causes from a pod's status, from network policies (pure) |
//! | [`diagnose`] | asks the cluster for what the causes are read from |

pub mod cause;
pub mod cidr;
mod diagnose;
pub mod gate;
pub mod judge;
mod pod;
mod policy;
mod watch;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, runtime::watcher};
use miette::Diagnostic;
use tokio::time::{Instant, interval, sleep_until};

pub use self::{
    cause::{Cause, Finding},
    gate::Gate,
    judge::State,
    pod::why_not_ready,
};
use self::{
    gate::{PodsOf, Watched, typed},
    watch::{Trouble, View},
};

/// How long the API server may stay silent: a node that starts again took 31 s until it answered.
const SILENCE: Duration = Duration::from_secs(90);
/// Between two looks at the clocks.
const TICK: Duration = Duration::from_secs(5);

/// A wait that ended badly.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WaitError {
    /// The deadline passed, or waiting longer would not help.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Gate(Box<ShutGate>),
    /// The API server does not answer, or refuses to.
    #[error("cannot ask the cluster about {gate}: no answer for {} s", .silent.as_secs())]
    #[diagnostic(code(wait::cluster), help("when the node does not run, `ztlab install` starts it"))]
    Cluster {
        /// What was asked about.
        gate: String,
        /// For how long it did not answer.
        silent: Duration,
        /// The reason.
        #[source]
        source: Box<watcher::Error>,
    },
}

/// A gate that did not open. Its code and its advice are those of the first cause that was found.
#[derive(Debug)]
pub struct ShutGate {
    /// What was waited for.
    pub gate: String,
    /// What was there instead.
    pub state: String,
    /// Why, as far as the cluster tells.
    pub findings: Vec<Finding>,
    /// How long it had.
    pub deadline: Duration,
    /// Whether the wait ended before the deadline because more time would not have helped.
    pub early: bool,
}

/// A gate without a cause.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("nothing in the cluster says why")]
#[diagnostic(
    code(wait::gate),
    help("type `kubectl get pods -A`, then `ztlab install` again with a longer `--timeout`")
)]
struct Unexplained;

impl std::fmt::Display for ShutGate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} did not happen ", self.gate)?;
        if self.early {
            formatter.write_str("and waiting longer cannot help")?;
        } else {
            write!(formatter, "within {} s", self.deadline.as_secs())?;
        }
        write!(formatter, ": {}", self.state)?;
        self.findings.iter().try_for_each(|finding| write!(formatter, "\n{finding}"))
    }
}

impl std::error::Error for ShutGate {}

impl ShutGate {
    fn cause(&self) -> &dyn Diagnostic {
        self.findings.first().map_or(&Unexplained, |finding| &finding.cause)
    }
}

impl Diagnostic for ShutGate {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.cause().code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.cause().help()
    }
}

/// Waits until every gate is met at the same moment; `on_waiting` hears what the first unmet one lacks, when that
/// changes. The deadline is time that the machine was awake: a closed lid uses up nothing of it.
///
/// # Errors
/// At the deadline, or as soon as a gate cannot be met any more, with the causes that the cluster shows; and when the
/// API server has not answered for a minute and a half, or refuses to.
pub async fn wait_for(
    client: &Client,
    gates: &[Gate],
    deadline: Duration,
    on_waiting: &(dyn Fn(String) + Send + Sync),
) -> Result<(), WaitError> {
    let end = Instant::now() + deadline;
    let mut view = View::new(client);
    let watched: Vec<Seen<'_>> = gates.iter().map(|gate| Seen::begin(gate, &mut view)).collect();
    let mut said = String::new();
    let mut tick = interval(TICK);
    loop {
        let unmet: Vec<(&Seen<'_>, State)> =
            watched.iter().map(|seen| (seen, seen.state(&view))).filter(|(_, state)| *state != State::Met).collect();
        let Some((first, state)) = unmet.first() else { return Ok(()) };
        let line = match unmet.len() {
            1 => format!("{}: {}", first.gate, words(state)),
            more => format!("{}: {} (and {} more)", first.gate, words(state), more - 1),
        };
        if watched.iter().all(|seen| seen.known(&view)) && line != said {
            on_waiting(line.clone());
            said = line;
        }
        for (seen, state) in &unmet {
            if let State::Hopeless(state) = state {
                return Err(shut(client, seen, state.clone(), &view, deadline, true).await);
            }
            if let Some(source) = view.trouble(seen.own).filter(|trouble| is_final(trouble)) {
                return Err(unanswered(seen.gate, source));
            }
            if seen.lacks_an_image(&view) {
                return Err(shut(client, seen, words(state).to_owned(), &view, deadline, true).await);
            }
        }
        tokio::select! {
            news = view.next() => if news.is_none() { tick.tick().await; },
            _ = tick.tick() => {
                if let Some(slept) = view.wake() {
                    on_waiting(format!("the machine slept for {} s; the cluster is asked anew", slept.as_secs()));
                }
            }
            () = sleep_until(end) => {
                return Err(shut(client, first, words(state).to_owned(), &view, deadline, false).await);
            }
        }
    }
}

fn words(state: &State) -> &str {
    match state {
        State::Met => "",
        State::Waiting(text) | State::Hopeless(text) => text,
    }
}

/// A gate and what is watched for it.
struct Seen<'gate> {
    gate: &'gate Gate,
    /// The set that is judged.
    own: usize,
    /// The pods behind the gate, for images that are missing.
    pods: Option<(usize, PodsOf)>,
}

impl<'gate> Seen<'gate> {
    fn begin(gate: &'gate Gate, view: &mut View<'_>) -> Self {
        let pods = gate.pods().map(|pods| (view.follow(Watched::all::<Pod>(Some(&pods.namespace))), pods));
        Self { gate, own: view.follow(gate.watched()), pods }
    }

    fn state(&self, view: &View<'_>) -> State {
        match (view.objects(self.own), view.trouble(self.own)) {
            (Some(objects), None) => self.gate.judge(&objects),
            // What was known before may be wrong by now.
            (_, Some(trouble)) if is_unknown_kind(&trouble.error) => {
                State::Waiting("the API server does not know its kind yet".to_owned())
            }
            (_, Some(trouble)) => State::Waiting(format!("the API server does not answer ({})", root(&trouble.error))),
            (None, None) => State::Waiting("the API server has not answered yet".to_owned()),
        }
    }

    /// Whether anything was heard of it.
    fn known(&self, view: &View<'_>) -> bool {
        view.trouble(self.own).is_some() || view.objects(self.own).is_some()
    }

    fn lacks_an_image(&self, view: &View<'_>) -> bool {
        let Some((number, pods)) = &self.pods else { return false };
        let pods_there: Vec<Pod> = typed(&view.objects(*number).unwrap_or_default());
        pods_there.iter().filter(|pod| pods.has(pod)).any(|pod| pod::image_missing(pod).is_some())
    }
}

/// Whether asking again would not help, or has not helped for long enough.
fn is_final(trouble: &Trouble) -> bool {
    match &trouble.error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => true,
        error => !is_unknown_kind(error) && trouble.since.elapsed() >= SILENCE,
    }
}

fn is_unknown_kind(error: &watcher::Error) -> bool {
    // The API server's word for a group that it does not serve is a plain page: no reason, only the code.
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

fn unanswered(gate: &Gate, trouble: &Trouble) -> WaitError {
    // The error is not Clone, and the watch keeps it: its words are what a person needs.
    let status = kube::core::Status::failure(&root(&trouble.error), "Unanswered").boxed();
    WaitError::Cluster {
        gate: gate.to_string(),
        silent: trouble.since.elapsed(),
        source: Box::new(watcher::Error::WatchError(status)),
    }
}

/// The innermost reason: `Connection refused` instead of three lines about requests.
fn root(error: &watcher::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

async fn shut(
    client: &Client,
    seen: &Seen<'_>,
    state: String,
    view: &View<'_>,
    deadline: Duration,
    early: bool,
) -> WaitError {
    let objects = view.objects(seen.own).unwrap_or_default();
    let findings = diagnose::diagnose(client, seen.gate, &objects).await;
    WaitError::Gate(Box::new(ShutGate { gate: seen.gate.to_string(), state, findings, deadline, early }))
}
