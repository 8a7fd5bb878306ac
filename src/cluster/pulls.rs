//! What the node's kubelet tried to pull, as the cluster's events and pods tell it.
//!
//! A kubelet says `Pulling` when it begins, and `Successfully pulled image` when the bytes are there (kubernetes v1.28
//! `pkg/kubelet/images/image_manager.go`). Events live for an hour, and one that comes again only counts up.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, api::ListParams};
use serde::Serialize;

use super::{client::Cluster, facts::FactError};

/// What a container waits with when the node cannot get its image.
const WAITING: [&str; 2] = ["ErrImagePull", "ImagePullBackOff"];

/// One image that a pod had the node pull.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Pull {
    /// `namespace/pod`
    pub pod: String,
    /// The image as the pod names it.
    pub image: String,
    /// Whether its bytes came.
    pub came: bool,
}

/// Events that were there before, by how often they had happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before(BTreeMap<String, i32>);

impl Cluster {
    /// The events of pulls until now.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn pulls_before(&self) -> Result<Before, FactError> {
        let seen = |event: &Event| Some((event.metadata.uid.clone()?, event.count.unwrap_or(1)));
        Ok(Before(self.pull_events().await?.iter().filter_map(seen).collect()))
    }

    /// What was pulled, or was to be, after a moment; and what pods still wait for.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn pulls(&self, before: &Before, since: Timestamp) -> Result<Vec<Pull>, FactError> {
        let events = self.pull_events().await?;
        let pods = Api::<Pod>::all(self.client.clone()).list(&ListParams::default()).await;
        let pods = pods.map_err(|source| self.unanswered("its pods", source))?;
        let mut pulls = judge(&events, before, since);
        pulls.extend(pods.items.iter().flat_map(waiting));
        pulls.sort();
        pulls.dedup();
        Ok(pulls)
    }

    async fn pull_events(&self) -> Result<Vec<Event>, FactError> {
        let api = Api::<Event>::all(self.client.clone());
        let mut events = Vec::new();
        for reason in ["Pulling", "Pulled"] {
            let found = api.list(&ListParams::default().fields(&format!("reason={reason}"))).await;
            events.extend(found.map_err(|source| self.unanswered("its events", source))?.items);
        }
        Ok(events)
    }
}

/// The pulls among the events that happened after a moment and were not counted before.
fn judge(events: &[Event], before: &Before, since: Timestamp) -> Vec<Pull> {
    let new = |event: &&Event| {
        let uid = event.metadata.uid.as_deref().unwrap_or_default();
        let counted = before.0.get(uid).is_some_and(|count| event.count.unwrap_or(1) <= *count);
        !counted && last_seen(event).is_none_or(|last| last >= since)
    };
    let pull = |event: &Event| {
        let message = event.message.as_deref()?;
        let came = message.starts_with("Successfully pulled image");
        // `Pulled` is also said of an image that was there: nothing was asked of anybody then.
        if !came && event.reason.as_deref() != Some("Pulling") {
            return None;
        }
        let object = &event.involved_object;
        let pod = format!("{}/{}", object.namespace.as_deref()?, object.name.as_deref()?);
        Some(Pull { pod, image: quoted(message)?.to_owned(), came })
    };
    events.iter().filter(new).filter_map(pull).collect()
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or_else(|| event.event_time.as_ref().map(|time| time.0))
}

/// The first word in double quotes.
fn quoted(message: &str) -> Option<&str> {
    message.split('"').nth(1)
}

fn waiting(pod: &Pod) -> Vec<Pull> {
    let place = format!(
        "{}/{}",
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default()
    );
    let status = pod.status.iter();
    let containers =
        status.flat_map(|status| [&status.init_container_statuses, &status.container_statuses]).flatten().flatten();
    containers
        .filter(|container| {
            let reason = container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
            reason.is_some_and(|reason| WAITING.contains(&reason))
        })
        .map(|container| Pull { pod: place.clone(), image: container.image.clone(), came: false })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn event(uid: &str, reason: &str, message: &str, count: i32, last: &str) -> Event {
        from_value(json!({
            "metadata": { "uid": uid },
            "involvedObject": { "kind": "Pod", "namespace": "webapp", "name": "backend-1" },
            "reason": reason, "message": message, "count": count, "lastTimestamp": last,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_was_pulled_since_counts_and_what_was_there_never_does() {
        let (early, late) = ("2026-01-01T10:00:00Z", "2026-01-01T10:05:00Z");
        let events = [
            event("a", "Pulling", "Pulling image \"quay.io/x/y:1\"", 3, late),
            event("b", "Pulled", "Successfully pulled image \"quay.io/x/y:1\" in 2s (2s including waiting)", 1, late),
            event(
                "c",
                "Pulled",
                "Container image \"docker.io/istio/proxyv2:1.20.0\" already present on machine",
                1,
                late,
            ),
            event("d", "Pulling", "Pulling image \"quay.io/old/one:1\"", 1, early),
            event("e", "Pulling", "Pulling image \"quay.io/known/one:1\"", 2, late),
        ];
        let since: Timestamp = "2026-01-01T10:04:00Z".parse().unwrap();
        let before = Before([("a".to_owned(), 2), ("e".to_owned(), 2)].into());
        let pull = |came| Pull { pod: "webapp/backend-1".to_owned(), image: "quay.io/x/y:1".to_owned(), came };
        assert_eq!(judge(&events, &before, since), [pull(false), pull(true)]);
    }

    #[test]
    fn a_pod_that_waits_for_an_image_is_an_attempt() {
        let pod = |reason: &str| -> Pod {
            from_value(json!({
                "metadata": { "namespace": "default", "name": "stranger" },
                "status": { "containerStatuses": [{
                    "name": "c", "image": "quay.io/nobody/nothing:1", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "waiting": { "reason": reason } },
                }] },
            }))
            .unwrap()
        };
        let (pod_name, image) = ("default/stranger".to_owned(), "quay.io/nobody/nothing:1".to_owned());
        assert_eq!(waiting(&pod("ImagePullBackOff")), [Pull { pod: pod_name, image, came: false }]);
        assert!(waiting(&pod("ContainerCreating")).is_empty());
    }
}
