//! Causes that a pod's status, its warnings and the policies around it show. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Event, Pod},
    networking::v1::NetworkPolicy,
};

use super::{
    cause::Cause,
    judge::{State, pod_condition, pod_ready},
    policy::{Destination, egress_blocked},
};

/// How many of an object's last warnings are shown.
const EVENTS_SHOWN: usize = 4;
/// Reasons with which a kubelet says that it has no image.
const IMAGE_REASONS: [&str; 4] = ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"];
/// The sidecar's container.
const SIDECAR: &str = "istio-proxy";
/// Go's words for a certificate that is not valid at the clock's time, and Kubernetes' for a token.
const CLOCK_WORDS: [&str; 4] = [
    "certificate has expired or is not yet valid",
    "Token used before issued",
    "token has expired",
    "token is expired",
];

/// The most telling cause, and the container whose log belongs to it.
pub(super) fn cause(pod: &Pod, warnings: &[String], policies: &[NetworkPolicy]) -> Option<(Cause, Option<String>)> {
    let last =
        |words: &[&str]| warnings.iter().rev().find(|line| words.iter().any(|word| line.contains(word))).cloned();
    if let Some(cause) = image_missing(pod) {
        return Some((cause, None));
    }
    if let Some(cause) = unschedulable(pod) {
        return Some((cause, None));
    }
    if let Some(cause) = evicted(pod) {
        return Some((cause, None));
    }
    if let Some((cause, container)) = statuses(pod).find_map(|status| ended(pod, status)) {
        return Some((cause, Some(container)));
    }
    if let Some(message) = last(&CLOCK_WORDS) {
        return Some((Cause::ClockSkew { message }, None));
    }
    if let Some(cause) = sidecar_blocked(pod, policies) {
        return Some((cause, Some(SIDECAR.to_owned())));
    }
    if let Some(message) = last(&["probe failed", "probe errored"]) {
        let unready = statuses(pod).find(|status| !status.ready).map(|status| status.name.clone());
        return Some((Cause::ProbeFailing { message }, unready));
    }
    let setup = last(&["FailedMount", "FailedCreatePodSandBox", "FailedAttachVolume", "NetworkNotReady"]);
    setup.map(|message| (Cause::Setup { message }, None))
}

/// Why a pod is not ready, in a line, as far as its own status tells; `None` for one that is, that has done its work, or
/// that is on its way out.
pub fn why_not_ready(pod: &Pod) -> Option<String> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() || phase == Some("Succeeded") || pod_ready(pod) {
        return None;
    }
    if let Some((cause, _)) = cause(pod, &[], &[]) {
        return Some(cause.to_string());
    }
    match pod_condition(pod, "Ready") {
        State::Waiting(why) | State::Hopeless(why) => Some(why),
        State::Met => None,
    }
}

/// What a log says of clocks, whatever else seemed to be the cause.
pub(super) fn clock_in_log(log: &[String]) -> Option<Cause> {
    let line = log.iter().rev().find(|line| CLOCK_WORDS.iter().any(|word| line.contains(word)))?;
    Some(Cause::ClockSkew { message: line.clone() })
}

/// The image that a pod waits for in vain.
pub(super) fn image_missing(pod: &Pod) -> Option<Cause> {
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

fn unschedulable(pod: &Pod) -> Option<Cause> {
    let mut conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let condition = conditions.find(|condition| condition.reason.as_deref() == Some("Unschedulable"))?;
    Some(Cause::Unschedulable { message: condition.message.clone().unwrap_or_default() })
}

fn evicted(pod: &Pod) -> Option<Cause> {
    let status = pod.status.as_ref().filter(|status| status.reason.as_deref() == Some("Evicted"))?;
    let message = status.message.clone().filter(|message| message.contains("memory"))?;
    Some(Cause::OutOfMemory { message: format!("the node threw the pod out: {message}") })
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    let lists = status.flat_map(|status| [status.init_container_statuses.as_ref(), status.container_statuses.as_ref()]);
    lists.flatten().flatten()
}

/// A container that ended and should not have.
fn ended(pod: &Pod, status: &ContainerStatus) -> Option<(Cause, String)> {
    let looping = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let looping = looping.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    let last = terminated(&status.state).or_else(|| terminated(&status.last_state))?;
    if last.reason.as_deref() == Some("OOMKilled") && !status.ready {
        let limit = memory_limit(pod, &status.name)
            .map_or_else(|| "it has no limit of its own".to_owned(), |limit| format!("its limit is {limit}"));
        let message = format!("its container {} was killed ({limit})", status.name);
        return Some((Cause::OutOfMemory { message }, status.name.clone()));
    }
    let crashed = Cause::CrashLoop {
        container: status.name.clone(),
        code: last.exit_code,
        reason: last.reason.clone().unwrap_or_else(|| "no reason given".to_owned()),
    };
    // A container that restarted and runs well now (a node that started again) is no cause.
    (looping || (last.exit_code != 0 && !status.ready)).then(|| (crashed, status.name.clone()))
}

fn terminated(state: &Option<ContainerState>) -> Option<&ContainerStateTerminated> {
    state.as_ref().and_then(|state| state.terminated.as_ref())
}

fn memory_limit(pod: &Pod, container: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let found = containers.find(|one| one.name == container)?;
    Some(found.resources.as_ref()?.limits.as_ref()?.get("memory")?.0.clone())
}

/// A sidecar that is not ready and may not reach what makes it so.
fn sidecar_blocked(pod: &Pod, policies: &[NetworkPolicy]) -> Option<Cause> {
    statuses(pod).find(|status| status.name == SIDECAR && !status.ready)?;
    let labels = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    // istiod gives certificates and configuration on 15012 (istio 1.20.0, `manifests/charts/istio-control`).
    let needs = [
        (
            "istiod (istio-system, TCP 15012)",
            Destination { namespace: "istio-system", labels: labels("app", "istiod"), protocol: "TCP", port: 15012 },
        ),
        (
            "DNS (kube-system, UDP 53)",
            Destination { namespace: "kube-system", labels: labels("k8s-app", "kube-dns"), protocol: "UDP", port: 53 },
        ),
    ];
    needs.iter().find_map(|(name, destination)| {
        let policies = egress_blocked(pod, policies, destination)?;
        Some(Cause::PolicyBlocking { to: (*name).to_owned(), policies })
    })
}

/// The last warnings about the objects that a filter names, oldest first, each once.
pub(super) fn warnings_of(events: &[Event], about: impl Fn(&str) -> bool) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn pod(container: Value, conditions: Value) -> Pod {
        from_value(json!({"metadata": {"namespace": "webapp", "name": "backend-1"},
            "spec": {"containers": [{"name": "backend", "resources": {"limits": {"memory": "64Mi"}}}]},
            "status": {"conditions": conditions, "containerStatuses": [container]}}))
        .unwrap()
    }

    fn container(state: Value, last: Value) -> Value {
        json!({"name": "backend", "image": "docker.io/library/simple-backend:v1", "imageID": "", "ready": false,
            "restartCount": 0, "state": state, "lastState": last})
    }

    fn of(pod: &Pod, warnings: &[&str]) -> Option<Cause> {
        let warnings: Vec<String> = warnings.iter().map(|line| (*line).to_owned()).collect();
        cause(pod, &warnings, &[]).map(|(cause, _)| cause)
    }

    #[test]
    fn why_a_pod_is_not_ready_in_a_line() {
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let started = |conditions: Value| pod(container(json!({"running": {}}), json!({})), conditions);
        assert_eq!(why_not_ready(&started(ready)), None);
        let unready =
            json!([{"type": "Ready", "status": "False", "message": "containers with unready status: [backend]"}]);
        assert_eq!(why_not_ready(&started(unready)).unwrap(), "containers with unready status: [backend]");
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff"}});
        let told = why_not_ready(&pod(container(waiting, json!({})), json!([]))).unwrap();
        assert!(told.contains("the node has no image docker.io/library/simple-backend:v1"), "{told}");
        let mut done = started(json!([]));
        done.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
        assert_eq!(why_not_ready(&done), None);
    }

    #[test]
    fn every_way_to_lack_an_image_is_recognised() {
        for reason in IMAGE_REASONS {
            let waiting = json!({"waiting": {"reason": reason, "message": "not found"}});
            let cause = of(&pod(container(waiting, json!({})), json!([])), &[]).unwrap();
            let expected = Cause::ImageMissing {
                image: "docker.io/library/simple-backend:v1".to_owned(),
                message: format!("{reason}: not found"),
            };
            assert_eq!(cause, expected);
        }
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(of(&pod(container(creating, json!({})), json!([])), &[]), None);
    }

    #[test]
    fn a_crash_shows_the_last_exit_code_and_a_kill_for_memory_the_limit() {
        let state = || json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let crashed = pod(container(state(), json!({"terminated": {"exitCode": 1, "reason": "Error"}})), json!([]));
        assert!(matches!(of(&crashed, &[]), Some(Cause::CrashLoop { code: 1, .. })));
        let killed =
            pod(container(state(), json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})), json!([]));
        let Some(Cause::OutOfMemory { message }) = of(&killed, &[]) else { panic!("not out of memory") };
        assert_eq!(message, "its container backend was killed (its limit is 64Mi)");
        let evicted: Pod = from_value(json!({"metadata": {"name": "a"}, "status": {"reason": "Evicted",
            "message": "The node was low on resource: memory."}}))
        .unwrap();
        assert!(matches!(of(&evicted, &[]), Some(Cause::OutOfMemory { .. })));
    }

    #[test]
    fn a_container_that_restarted_with_its_node_and_runs_is_no_cause() {
        let mut one = container(json!({"running": {}}), json!({"terminated": {"exitCode": 255, "reason": "Unknown"}}));
        one["ready"] = json!(true);
        assert_eq!(of(&pod(one, json!([])), &[]), None);
    }

    #[test]
    fn the_scheduler_the_probe_the_clock_and_the_kubelet_are_told_apart() {
        let running = || container(json!({"running": {}}), json!({}));
        let scheduled = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient memory"}]);
        assert_eq!(
            of(&pod(running(), scheduled), &[]),
            Some(Cause::Unschedulable { message: "Insufficient memory".to_owned() })
        );
        let probe = "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503";
        let found = cause(&pod(running(), json!([])), &[probe.to_owned()], &[]);
        assert_eq!(found, Some((Cause::ProbeFailing { message: probe.to_owned() }, Some("backend".to_owned()))));
        let clock = "Failed: x509: certificate has expired or is not yet valid: current time 2026-01-01";
        assert_eq!(
            of(&pod(running(), json!([])), &[probe, clock]),
            Some(Cause::ClockSkew { message: clock.to_owned() })
        );
        assert!(clock_in_log(&["fine".to_owned(), clock.to_owned()]).is_some());
        assert_eq!(clock_in_log(&["fine".to_owned()]), None);
        let mount = "FailedMount: secret \"x\" not found";
        assert_eq!(of(&pod(running(), json!([])), &[mount]), Some(Cause::Setup { message: mount.to_owned() }));
    }

    #[test]
    fn a_sidecar_behind_a_policy_that_lets_nothing_out_is_told_from_a_slow_one() {
        let sidecar = json!({"name": "istio-proxy", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"running": {}}});
        let pod = pod(sidecar, json!([]));
        let probe = ["Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned()];
        let deny: NetworkPolicy = from_value(
            json!({"metadata": {"name": "default-deny"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}}),
        )
        .unwrap();
        let Some((Cause::PolicyBlocking { to, policies }, log)) = cause(&pod, &probe, &[deny]) else { panic!() };
        assert!(to.starts_with("istiod"), "{to}");
        assert_eq!((policies, log.as_deref()), (vec!["webapp/default-deny".to_owned()], Some("istio-proxy")));
        assert!(matches!(cause(&pod, &probe, &[]), Some((Cause::ProbeFailing { .. }, _))));
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
}
