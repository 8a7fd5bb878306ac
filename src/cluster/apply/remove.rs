//! Away with objects.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, PropagationPolicy},
};
use tokio::time::{Instant, sleep};

use super::{ApplyError, PAUSE, Rank, api_for, kind_of, name_of, ranked, refused, unlisted};
use crate::cluster::manifest::describe;

/// A workload is gone when its pods are. Of everything else that has dependents somebody knows the order in which they
/// may go: told to go all at once, Calico's network plugin loses its rights before the pods whose network it has to take
/// down, and they stay for ever (tigera/operator v1.32.3, `core_controller.go:96-117`).
fn propagation(rank: Rank) -> PropagationPolicy {
    if rank == Rank::Workload { PropagationPolicy::Foreground } else { PropagationPolicy::Background }
}

/// An object that was told to go.
struct Leaving {
    object: String,
    name: String,
    /// Another one of the same name is not this one: Calico's operator makes some of its objects again at once.
    uid: Option<String>,
    api: Api<DynamicObject>,
}

/// Deletes objects in reverse order and waits until they are gone; what is not there is fine. Returns the number deleted.
///
/// # Errors
/// When the server refuses or an object stays.
pub async fn delete(
    client: &Client,
    objects: &[DynamicObject],
    deadline: Duration,
    on_waiting: &(dyn Fn(String) + Send + Sync),
) -> Result<usize, ApplyError> {
    let end = Instant::now() + deadline;
    let mut deleted = 0;
    for (rank, group) in ranked(objects).into_iter().rev() {
        let mut leaving = Vec::new();
        for object in group {
            leaving.extend(tell(client, object, propagation(rank)).await?);
        }
        deleted += leaving.len();
        for one in leaving {
            while one.is_there().await? {
                if Instant::now() >= end {
                    return Err(ApplyError::Stays { object: one.object, deadline });
                }
                on_waiting(format!("{} to go", one.object));
                sleep(PAUSE).await;
            }
        }
    }
    Ok(deleted)
}

/// Tells an object to go and does not wait: for one that a program has to clear up first. What is not there is fine.
///
/// # Errors
/// When the server refuses.
pub async fn tell_to_go(client: &Client, object: &DynamicObject) -> Result<(), ApplyError> {
    tell(client, object, PropagationPolicy::Background).await.map(|_| ())
}

async fn tell(
    client: &Client,
    object: &DynamicObject,
    propagation: PropagationPolicy,
) -> Result<Option<Leaving>, ApplyError> {
    // A kind that is gone took its objects along.
    let Some((resource, capabilities)) = kind_of(client, object).await? else { return Ok(None) };
    let (api, name) = (api_for(client, object, &resource, &capabilities), name_of(object));
    let found = api.get_metadata_opt(name).await.map_err(|source| refused("read", object, source))?;
    let Some(found) = found else { return Ok(None) };
    let parameters = DeleteParams { propagation_policy: Some(propagation), ..Default::default() };
    match api.delete(name, &parameters).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        Err(source) => return Err(refused("delete", object, source)),
    }
    Ok(Some(Leaving { object: describe(object), name: name.to_owned(), uid: found.metadata.uid, api }))
}

impl Leaving {
    async fn is_there(&self) -> Result<bool, ApplyError> {
        let found = self.api.get_metadata_opt(&self.name).await.map_err(|source| ApplyError::Refused {
            action: "read",
            object: self.object.clone(),
            source: Box::new(source),
        })?;
        Ok(found.is_some_and(|found| found.metadata.uid == self.uid))
    }
}

/// Waits until no pod that a controller made is left in a namespace.
///
/// # Errors
/// When the server refuses or a pod stays.
pub async fn wait_for_pods_to_go(
    client: &Client,
    namespace: &str,
    deadline: Duration,
    on_waiting: &(dyn Fn(String) + Send + Sync),
) -> Result<(), ApplyError> {
    let end = Instant::now() + deadline;
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    loop {
        let left = pods.list_metadata(&ListParams::default()).await;
        let left = left.map_err(|source| unlisted(&format!("the pods of {namespace}"), source))?.items;
        let mut metadata = left.into_iter().map(|pod| pod.metadata);
        let made = metadata.find(|pod| pod.owner_references.as_ref().is_some_and(|owners| !owners.is_empty()));
        let Some(pod) = made else { return Ok(()) };
        let object = format!("Pod {namespace}/{}", pod.name.unwrap_or_default());
        if Instant::now() >= end {
            return Err(ApplyError::Stays { object, deadline });
        }
        on_waiting(format!("{object} to go"));
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{apply::rank, manifest::parse};

    #[test]
    fn a_workload_waits_for_its_pods_and_an_operators_order_is_its_own() {
        for (kind, foreground) in
            [("Deployment", true), ("DaemonSet", true), ("Installation", false), ("Namespace", false)]
        {
            let text = format!("apiVersion: x/v1\nkind: {kind}\nmetadata: {{name: a}}\n");
            let object = parse("test.yaml", &text).unwrap().remove(0);
            assert_eq!(propagation(rank(&object)) == PropagationPolicy::Foreground, foreground, "{kind}");
        }
    }
}
