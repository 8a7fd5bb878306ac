//! Why a pod does not come up: read from its status, its events and the end of its log.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::{
    Api, Client,
    api::{ListParams, LogParams},
};

use super::gate::{PodsOf, pod_ready};

/// How much of a crashed container's log is shown: a Python traceback fits.
const LOG_TAIL_LINES: i64 = 15;
/// How many of an object's last warnings are shown.
const EVENTS_SHOWN: usize = 4;
/// Reasons with which a kubelet says that it has no image.
const IMAGE_REASONS: [&str; 4] = ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"];

/// A cause that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The node does not have the image and cannot get it.
    ImageMissing {
        /// The image as the pod asks for it.
        image: String,
        /// The kubelet's reason and message.
        message: String,
    },
    /// No node takes the pod: memory, CPU, taints.
    Unschedulable {
        /// The scheduler's words.
        message: String,
    },
    /// A container ends again and again.
    CrashLoop {
        /// The container.
        container: String,
        /// The last exit code.
        code: i32,
        /// The kubelet's reason, such as `OOMKilled`.
        reason: String,
        /// The end of its log.
        log: Vec<String>,
    },
    /// The containers run, but a probe says no.
    ProbeFailing {
        /// The kubelet's words, with the probe's answer.
        message: String,
    },
    /// An admission webhook refuses the pods, or does not answer.
    WebhookRefusing {
        /// The API server's words.
        message: String,
    },
    /// A volume, a secret or the network of the pod is missing.
    Setup {
        /// The kubelet's words.
        message: String,
    },
}

/// A cause and the object that it stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind and name of the object.
    pub object: String,
    /// What stops it.
    pub cause: Cause,
    /// Its last warnings, oldest first.
    pub events: Vec<String>,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImageMissing { image, message } => write!(formatter, "the node has no image {image} ({message})"),
            Self::Unschedulable { message } => write!(formatter, "no node takes it: {message}"),
            Self::CrashLoop { container, code, reason, log } => {
                write!(formatter, "its container {container} ended with exit code {code} ({reason})")?;
                log.iter().try_for_each(|line| write!(formatter, "\n    | {line}"))
            }
            Self::ProbeFailing { message } => write!(formatter, "a probe fails: {message}"),
            Self::WebhookRefusing { message } => write!(formatter, "an admission webhook refuses its pods: {message}"),
            Self::Setup { message } => write!(formatter, "it cannot be set up: {message}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "  {}: {}", self.object, self.cause)?;
        self.events.iter().try_for_each(|event| write!(formatter, "\n    event: {event}"))
    }
}

/// The next command to type for the first of some findings.
pub fn advice(findings: &[Finding]) -> &'static str {
    match findings.first().map(|finding| &finding.cause) {
        Some(Cause::ImageMissing { .. }) => {
            "type `ztlab install --from preload`; when the image is not in the lock, add it and `ztlab lock`"
        }
        Some(Cause::Unschedulable { .. }) => {
            "the node needs more memory or CPUs than it has: `ztlab uninstall`, then `ztlab install --memory MIB --cpus N`"
        }
        Some(Cause::CrashLoop { .. }) => "read the log above, mend what it names, then `ztlab install`",
        Some(Cause::ProbeFailing { .. }) => "type `ztlab install` again; on a slow machine with a longer `--timeout`",
        Some(Cause::WebhookRefusing { .. }) => {
            "type `kubectl get pods -n istio-system`; when istiod is down, `ztlab install --from istio`"
        }
        Some(Cause::Setup { .. }) => {
            "type `ztlab install --from calico`: the pod network or an object that the pod needs is missing"
        }
        None => "type `kubectl get pods -A`, then `ztlab install` again with a longer `--timeout`",
    }
}

/// Only the missing images behind a gate: what is asked for on every look, so it makes one request and no more.
pub async fn missing_images(client: &Client, pods: &PodsOf) -> Vec<Finding> {
    let found = matching(client, pods).await;
    let missing = found.iter().filter_map(|pod| Some((pod, image_missing(pod)?)));
    missing.map(|(pod, cause)| Finding { object: name_of(pod), cause, events: Vec::new() }).collect()
}

/// Everything that can be found out about the pods behind a gate. Best effort: a request that fails finds nothing.
pub async fn diagnose(client: &Client, pods: &PodsOf) -> Vec<Finding> {
    let events = events(client, &pods.namespace).await;
    let mut findings = Vec::new();
    for pod in matching(client, pods).await.iter().filter(|pod| !pod_ready(pod)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let warnings = warnings_of(&events, |about| about == name);
        let Some(mut cause) = pod_cause(pod, &warnings) else { continue };
        if let Cause::CrashLoop { container, log, .. } = &mut cause {
            *log = log_tail(client, pod, container).await;
        }
        findings.push(Finding { object: name_of(pod), cause, events: warnings });
    }
    // Pods that were never made leave only events, at the ReplicaSet or the like that was to make them.
    let refused = warnings_of(&events, |about| about.starts_with(&pods.prefix));
    if let (true, Some(message)) = (findings.is_empty(), refused.iter().rev().find(|line| line.contains("webhook"))) {
        let cause = Cause::WebhookRefusing { message: message.clone() };
        findings.push(Finding { object: format!("{}/{}", pods.namespace, pods.prefix), cause, events: Vec::new() });
    }
    findings
}

async fn matching(client: &Client, pods: &PodsOf) -> Vec<Pod> {
    let listed = Api::<Pod>::namespaced(client.clone(), &pods.namespace).list(&ListParams::default()).await;
    let listed = listed.map(|list| list.items).unwrap_or_default();
    let belongs = |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.metadata.name.as_ref().is_some_and(|name| name.starts_with(&pods.prefix))
    };
    listed.into_iter().filter(belongs).collect()
}

fn name_of(pod: &Pod) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("pod {}/{}", part(&pod.metadata.namespace), part(&pod.metadata.name))
}

/// The cause that a pod's status and warnings show, the most telling one first.
fn pod_cause(pod: &Pod, warnings: &[String]) -> Option<Cause> {
    if let Some(cause) = image_missing(pod) {
        return Some(cause);
    }
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    if let Some(condition) =
        conditions.into_iter().find(|condition| condition.reason.as_deref() == Some("Unschedulable"))
    {
        return Some(Cause::Unschedulable { message: condition.message.clone().unwrap_or_default() });
    }
    if let Some(cause) = statuses(pod).find_map(crash) {
        return Some(cause);
    }
    let last =
        |words: &[&str]| warnings.iter().rev().find(|line| words.iter().any(|word| line.contains(word))).cloned();
    if let Some(message) = last(&["probe failed", "probe errored"]) {
        return Some(Cause::ProbeFailing { message });
    }
    last(&["FailedMount", "FailedCreatePodSandBox", "FailedAttachVolume", "NetworkNotReady"])
        .map(|message| Cause::Setup { message })
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    let lists = status.flat_map(|status| [status.init_container_statuses.as_ref(), status.container_statuses.as_ref()]);
    lists.flatten().flatten()
}

fn image_missing(pod: &Pod) -> Option<Cause> {
    statuses(pod).find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| IMAGE_REASONS.contains(reason))?;
        let message = match waiting.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        };
        Some(Cause::ImageMissing { image: status.image.clone(), message })
    })
}

fn crash(status: &ContainerStatus) -> Option<Cause> {
    let looping = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let looping = looping.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    let ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.clone())
    };
    let last = ended(&status.state).or_else(|| ended(&status.last_state))?;
    (looping || last.exit_code != 0).then(|| Cause::CrashLoop {
        container: status.name.clone(),
        code: last.exit_code,
        reason: last.reason.unwrap_or_else(|| "no reason given".to_owned()),
        log: Vec::new(),
    })
}

async fn events(client: &Client, namespace: &str) -> Vec<Event> {
    let listed =
        Api::<Event>::namespaced(client.clone(), namespace).list(&ListParams::default().fields("type=Warning")).await;
    let mut events = listed.map(|list| list.items).unwrap_or_default();
    events.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    events
}

/// The last warnings about the objects that a filter names, oldest first, each once.
fn warnings_of(events: &[Event], about: impl Fn(&str) -> bool) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let lines =
        events.iter().rev().filter(|event| event.involved_object.name.as_deref().is_some_and(&about)).map(|event| {
            let part = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
            format!("{}: {}", part(&event.reason), part(&event.message))
        });
    let mut lines: Vec<_> = lines.filter(|line| seen.insert(line.clone())).take(EVENTS_SHOWN).collect();
    lines.reverse();
    lines
}

async fn log_tail(client: &Client, pod: &Pod, container: &str) -> Vec<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let parameters = LogParams {
        container: Some(container.to_owned()),
        tail_lines: Some(LOG_TAIL_LINES),
        // The container that runs now has only begun; the one before it said why it ended.
        previous: true,
        ..Default::default()
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let log = match api.logs(name, &parameters).await {
        Ok(log) => log,
        Err(_) => api.logs(name, &LogParams { previous: false, ..parameters }).await.unwrap_or_default(),
    };
    log.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn pod(container: Value, conditions: Value) -> Pod {
        from_value(json!({"metadata": {"namespace": "webapp", "name": "backend-1"}, "status": {
            "conditions": conditions, "containerStatuses": [container]}}))
        .unwrap()
    }

    fn container(state: Value, last: Value) -> Value {
        json!({"name": "backend", "image": "docker.io/library/simple-backend:v1", "imageID": "", "ready": false,
            "restartCount": 0, "state": state, "lastState": last})
    }

    #[test]
    fn every_way_to_lack_an_image_is_recognised() {
        for reason in IMAGE_REASONS {
            let waiting = json!({"waiting": {"reason": reason, "message": "not found"}});
            let cause = pod_cause(&pod(container(waiting, json!({})), json!([])), &[]).unwrap();
            let expected = Cause::ImageMissing {
                image: "docker.io/library/simple-backend:v1".to_owned(),
                message: format!("{reason}: not found"),
            };
            assert_eq!(cause, expected);
        }
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(pod_cause(&pod(container(creating, json!({})), json!([])), &[]), None);
    }

    #[test]
    fn a_crash_shows_the_last_exit_code() {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let Some(Cause::CrashLoop { code, reason, .. }) = pod_cause(&pod(container(state, last), json!([])), &[])
        else {
            panic!("not a crash")
        };
        assert_eq!((code, reason.as_str()), (137, "OOMKilled"));
    }

    #[test]
    fn the_scheduler_the_probe_and_the_kubelet_are_told_apart() {
        let running = || container(json!({"running": {}}), json!({}));
        let scheduled = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient memory"}]);
        assert_eq!(
            pod_cause(&pod(running(), scheduled), &[]),
            Some(Cause::Unschedulable { message: "Insufficient memory".to_owned() })
        );
        let probe = "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned();
        let cause = pod_cause(&pod(running(), json!([])), std::slice::from_ref(&probe));
        assert_eq!(cause, Some(Cause::ProbeFailing { message: probe }));
        let mount = "FailedMount: secret \"x\" not found".to_owned();
        let cause = pod_cause(&pod(running(), json!([])), std::slice::from_ref(&mount));
        assert_eq!(cause, Some(Cause::Setup { message: mount }));
    }

    #[test]
    fn warnings_are_shown_once_and_oldest_first() {
        let event = |name: &str, message: &str| -> Event {
            from_value(
                json!({"metadata": {}, "involvedObject": {"name": name}, "reason": "Failed", "message": message}),
            )
            .unwrap()
        };
        let events = [event("a", "one"), event("b", "other"), event("a", "two"), event("a", "two")];
        assert_eq!(warnings_of(&events, |about| about == "a"), ["Failed: one", "Failed: two"]);
    }

    #[test]
    fn a_finding_reads_as_a_paragraph() {
        let cause = Cause::CrashLoop {
            container: "backend".to_owned(),
            code: 1,
            reason: "Error".to_owned(),
            log: vec!["ImportError: flask".to_owned()],
        };
        let finding =
            Finding { object: "pod webapp/backend-1".to_owned(), cause, events: vec!["BackOff: again".to_owned()] };
        let text = "  pod webapp/backend-1: its container backend ended with exit code 1 (Error)\n    | ImportError: flask\n    event: BackOff: again";
        assert_eq!(finding.to_string(), text);
        assert!(advice(&[finding]).contains("ztlab install"));
    }
}
