//! From an object's kind to the address of its objects.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    discovery::{self, ApiCapabilities, Scope},
};
use tokio::time::{Instant, sleep};

use super::{ApplyError, ApplyOptions, PAUSE, refused};
use crate::cluster::manifest::describe;

/// The resources behind the kinds of some objects. Asked anew for each group of objects, because the definitions
/// before it may have added some.
pub(super) struct Kinds(BTreeMap<String, (ApiResource, ApiCapabilities)>);

impl Kinds {
    pub(super) async fn find(
        client: &Client,
        objects: &[&DynamicObject],
        options: ApplyOptions,
        end: Instant,
        on_waiting: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Self, ApplyError> {
        let mut kinds = BTreeMap::new();
        for object in objects {
            let key = kind_key(object);
            while !kinds.contains_key(&key) {
                if let Some(found) = kind_of(client, object).await? {
                    kinds.insert(key.clone(), found);
                } else if options.dry_run {
                    break;
                } else if Instant::now() >= end {
                    let (object, deadline) = (describe(object), options.deadline);
                    return Err(ApplyError::UnknownKind { object, kind: key, deadline });
                } else {
                    on_waiting(format!("the API server to know {key}"));
                    sleep(PAUSE).await;
                }
            }
        }
        Ok(Self(kinds))
    }

    /// The resource behind an object's kind; in a dry run there may be none.
    pub(super) fn of(&self, object: &DynamicObject) -> Option<&(ApiResource, ApiCapabilities)> {
        self.0.get(&kind_key(object))
    }
}

fn kind_key(object: &DynamicObject) -> String {
    object.types.as_ref().map_or_else(String::new, |types| format!("{} {}", types.api_version, types.kind))
}

/// The resource behind an object's kind; `None` when the server knows no such kind.
pub(super) async fn kind_of(
    client: &Client,
    object: &DynamicObject,
) -> Result<Option<(ApiResource, ApiCapabilities)>, ApplyError> {
    let Some(kind) = object.types.as_ref().and_then(|types| GroupVersionKind::try_from(types).ok()) else {
        return Ok(None);
    };
    match discovery::pinned_kind(client, &kind).await {
        Ok(found) => Ok(Some(found)),
        // The group is there but not the kind, or not even the group.
        Err(kube::Error::Discovery(_)) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(source) => Err(refused("read", object, source)),
    }
}

pub(super) fn api_for(
    client: &Client,
    object: &DynamicObject,
    resource: &ApiResource,
    capabilities: &ApiCapabilities,
) -> Api<DynamicObject> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
    match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, resource),
    }
}
