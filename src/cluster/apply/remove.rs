//! Away with objects.

use std::time::Duration;

use kube::{
    Client,
    api::{DeleteParams, DynamicObject, PropagationPolicy},
};
use tokio::time::{Instant, sleep};

use super::{ApplyError, PAUSE, api_for, kind_of, name_of, ranked, refused};
use crate::cluster::manifest::describe;

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
    for (_, group) in ranked(objects).into_iter().rev() {
        let mut leaving = Vec::new();
        for object in group {
            // A kind that is gone took its objects along.
            let Some((resource, capabilities)) = kind_of(client, object).await? else { continue };
            let api = api_for(client, object, &resource, &capabilities);
            let parameters =
                DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..Default::default() };
            match api.delete(name_of(object), &parameters).await {
                Ok(_) => leaving.push((object, api)),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(source) => return Err(refused("delete", object, source)),
            }
        }
        deleted += leaving.len();
        for (object, api) in leaving {
            while api
                .get_metadata_opt(name_of(object))
                .await
                .map_err(|source| refused("read", object, source))?
                .is_some()
            {
                if Instant::now() >= end {
                    return Err(ApplyError::Stays { object: describe(object), deadline });
                }
                on_waiting(format!("{} to go", describe(object)));
                sleep(PAUSE).await;
            }
        }
    }
    Ok(deleted)
}
