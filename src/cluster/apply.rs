//! Server-side apply with one field manager, and removal.
//!
//! Order: namespaces; custom resource definitions until they are established; what others refer to; what starts pods.
//! Network policies and accounts are thus in force before the first pod that they are meant for. Server-side apply,
//! because one of Calico's definitions is twice as large as the annotation of a client-side apply may be, and because
//! it can be repeated. Policies have to be exactly what their manifest says afterwards ([`exact`]).

use std::{collections::BTreeMap, future::Future, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use tokio::time::{Instant, sleep};

mod error;
mod exact;
mod kinds;
mod remove;

use self::kinds::{Kinds, api_for, kind_of};
pub use self::{
    error::ApplyError,
    remove::{delete, tell_to_go, wait_for_pods_to_go},
};
use super::{
    difference::{Difference, differences},
    manifest::describe,
    wait::judge::crd_established,
};

/// The one name under which ztlab changes fields.
pub const FIELD_MANAGER: &str = "ztlab";
/// The label on every object that ztlab made; `uninstall` looks for it.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "ztlab");
/// Requests at once: enough to hide the round trips, few enough for a one-node API server.
const PARALLEL: usize = 6;
/// Between two looks at something that is on its way.
const PAUSE: Duration = Duration::from_millis(500);

/// What an apply did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there and is different now.
    Changed,
    /// It was there, just so.
    Unchanged,
    /// Somebody else owns a field that it would change; only a dry run says it so.
    Conflicting,
}

/// One applied object.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    /// Kind and name, for people.
    pub object: String,
    /// What happened to it.
    pub change: Change,
    /// Where it differs from what was there; a dry run only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Who owns which field, when it conflicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<String>,
}

impl Applied {
    fn new(object: &DynamicObject, change: Change) -> Self {
        Self { object: describe(object), change, differences: Vec::new(), conflict: None }
    }
}

/// How to apply.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// Take fields over from other managers instead of stopping.
    pub force: bool,
    /// Let the server compute the result and keep nothing. Objects of kinds that do not exist yet count as created.
    pub dry_run: bool,
    /// How long kinds, definitions and webhooks may take to appear.
    pub deadline: Duration,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        // The operator's definitions took 4 s on two cores; a webhook that has just started takes longer.
        Self { force: false, dry_run: false, deadline: Duration::from_secs(120) }
    }
}

/// Applies objects in the order that they need and tells what happened to each, in that order.
///
/// # Errors
/// At the first object that cannot be applied.
pub async fn apply(
    client: &Client,
    objects: &[DynamicObject],
    options: ApplyOptions,
    on_waiting: &(dyn Fn(String) + Send + Sync),
) -> Result<Vec<Applied>, ApplyError> {
    let end = Instant::now() + options.deadline;
    let mut done = Vec::new();
    for (rank, group) in ranked(objects) {
        let kinds = Kinds::find(client, &group, options, end, on_waiting).await?;
        let applied: Vec<_> =
            stream::iter(group.iter().map(|object| one(client, object, &kinds, options, end, on_waiting)))
                .buffered(PARALLEL)
                .try_collect()
                .await?;
        done.extend(applied);
        if rank == Rank::Definition && !options.dry_run {
            established(client, &group, options.deadline, end, on_waiting).await?;
        }
    }
    Ok(done)
}

/// An object as it is in the cluster; `None` when it, or its kind, is not there.
///
/// # Errors
/// When the server refuses.
pub async fn find(client: &Client, object: &DynamicObject) -> Result<Option<DynamicObject>, ApplyError> {
    let Some((resource, capabilities)) = kind_of(client, object).await? else { return Ok(None) };
    let api = api_for(client, object, &resource, &capabilities);
    match api.get(name_of(object)).await {
        Ok(found) => Ok(Some(found)),
        // A definition that has just gone is still listed for a moment; then the answer is a plain page.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(source) => Err(refused("read", object, source)),
    }
}

/// The order of an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Namespace,
    Definition,
    Reference,
    Workload,
}

fn rank(object: &DynamicObject) -> Rank {
    match object.types.as_ref().map_or("", |types| types.kind.as_str()) {
        "Namespace" => Rank::Namespace,
        "CustomResourceDefinition" => Rank::Definition,
        "Pod" | "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet" | "Job" | "CronJob" => Rank::Workload,
        _ => Rank::Reference,
    }
}

fn ranked(objects: &[DynamicObject]) -> BTreeMap<Rank, Vec<&DynamicObject>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for object in objects {
        groups.entry(rank(object)).or_default().push(object);
    }
    groups
}

async fn one(
    client: &Client,
    object: &DynamicObject,
    kinds: &Kinds,
    options: ApplyOptions,
    end: Instant,
    on_waiting: &(dyn Fn(String) + Send + Sync),
) -> Result<Applied, ApplyError> {
    let created = || Applied::new(object, Change::Created);
    let Some((resource, capabilities)) = kinds.of(object) else { return Ok(created()) };
    let api = api_for(client, object, resource, capabilities);
    let before = api.get_opt(name_of(object)).await.map_err(|source| refused("read", object, source))?;
    let mut wanted = object.clone();
    wanted.metadata.labels.get_or_insert_default().insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    let request = Request { api, wanted, options, end, on_waiting };
    let applied = match (&before, request.apply(options.force).await) {
        (_, Err(kube::Error::Api(status))) if status.code == 409 => Err(status.message.clone()),
        // In a dry run the namespace is not there yet.
        (_, Err(kube::Error::Api(status))) if options.dry_run && status.code == 404 => return Ok(created()),
        // An empty spec over one whose fields are ours is none at all by the rules of the merge, and that is invalid.
        (Some(before), Err(kube::Error::Api(status))) if status.code == 422 && exact::is_meant_exactly(object) => {
            request.hold(before).await?
        }
        (_, Err(source)) => return Err(refused("apply", object, source)),
        (Some(_), Ok(after)) if exact::is_meant_exactly(object) => request.hold(&after).await?,
        (_, Ok(after)) => Ok(after),
    };
    let after = match applied {
        Ok(after) => after,
        Err(conflict) if options.dry_run => {
            return Ok(Applied { conflict: Some(conflict), ..Applied::new(object, Change::Conflicting) });
        }
        Err(conflict) => return Err(ApplyError::Conflict { object: describe(object), conflict }),
    };
    let Some(before) = before else { return Ok(created()) };
    // After a dry run nothing was written, so the resource version says nothing.
    let differences = if options.dry_run { differences(&before, &after) } else { Vec::new() };
    let unchanged = if options.dry_run { differences.is_empty() } else { same(&before, &after) };
    let change = if unchanged { Change::Unchanged } else { Change::Changed };
    Ok(Applied { differences, ..Applied::new(object, change) })
}

/// The requests about one object.
struct Request<'run> {
    api: Api<DynamicObject>,
    wanted: DynamicObject,
    options: ApplyOptions,
    end: Instant,
    on_waiting: &'run (dyn Fn(String) + Send + Sync),
}

impl Request<'_> {
    async fn apply(&self, force: bool) -> Result<DynamicObject, kube::Error> {
        let parameters = PatchParams { force, ..self.parameters() };
        let patch = Patch::Apply(&self.wanted);
        self.patiently(|| self.api.patch(name_of(&self.wanted), &parameters, &patch)).await
    }

    fn parameters(&self) -> PatchParams {
        PatchParams {
            dry_run: self.options.dry_run,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        }
    }

    /// Makes an object that is there exactly what the manifest says; the object, or who stands against it.
    async fn hold(&self, found: &DynamicObject) -> Result<Result<DynamicObject, String>, ApplyError> {
        let refused = |source| refused("apply", &self.wanted, source);
        // What the server itself makes of the manifest, its own defaults included: as if the object were new.
        let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let nameless = exact::nameless(&self.wanted);
        let meant = self.patiently(|| self.api.create(&parameters, &nameless)).await.map_err(refused)?;
        let Some(mending) = exact::mending(found, &meant) else { return Ok(Ok(found.clone())) };
        let strangers = exact::strangers(found, &mending);
        if !strangers.is_empty() && !self.options.force {
            return Ok(Err(strangers));
        }
        let (parameters, patch) = (self.parameters(), Patch::Merge(&mending));
        let patch = self.patiently(|| self.api.patch(name_of(&self.wanted), &parameters, &patch));
        let mended = patch.await.map_err(refused)?;
        if self.options.dry_run {
            return Ok(Ok(mended));
        }
        let after = self.apply(true).await.map_err(refused)?;
        match exact::mending(&after, &meant) {
            None => Ok(Ok(after)),
            Some(still) => {
                Err(ApplyError::Altered { object: describe(&self.wanted), fields: exact::fields(&still).join(", ") })
            }
        }
    }

    /// Asks until the answer is no longer one that passes by itself.
    async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, kube::Error>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        loop {
            match ask().await {
                Err(error) if passing(&error) && Instant::now() < self.end => {
                    (self.on_waiting)(format!("the API server to take {}: {error}", describe(&self.wanted)));
                    sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}

/// Whether two versions of an object are the same to a person.
///
/// The resource version settles most cases. It also moves when a controller writes a status between our two looks, and
/// at every apply of an object with an empty list in it (the operator's ServiceAccount), so then the content decides.
fn same(before: &DynamicObject, after: &DynamicObject) -> bool {
    let content = |object: &DynamicObject| {
        let mut object = object.clone();
        object.metadata.resource_version = None;
        object.metadata.managed_fields = None;
        if let Some(fields) = object.data.as_object_mut() {
            fields.remove("status");
        }
        object
    };
    before.metadata.resource_version == after.metadata.resource_version || content(before) == content(after)
}

/// Whether an error goes away by itself: a webhook whose pod has just started, a server that is catching up.
fn passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            matches!(status.code, 429 | 503 | 504)
                || (status.code == 500 && status.message.contains("failed calling webhook"))
        }
        _ => false,
    }
}

/// Waits until the server serves what was defined. Twenty definitions are asked for once each and are there by then, as a
/// rule: cheaper than as many watches. Only a server that is behind is asked again after a pause, and the same goes for
/// [`Kinds`]: there is no watch for what a server knows.
async fn established(
    client: &Client,
    definitions: &[&DynamicObject],
    deadline: Duration,
    end: Instant,
    on_waiting: &(dyn Fn(String) + Send + Sync),
) -> Result<(), ApplyError> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in definitions {
        let name = name_of(definition);
        loop {
            let found = api.get_opt(name).await.map_err(|source| refused("read", definition, source))?;
            if found.as_ref().is_some_and(crd_established) {
                break;
            }
            if Instant::now() >= end {
                return Err(ApplyError::NotEstablished { name: name.to_owned(), deadline });
            }
            on_waiting(format!("the definition {name} to be established"));
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

fn name_of(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

/// A list that the server does not give.
pub(crate) fn unlisted(what: &str, source: kube::Error) -> ApplyError {
    ApplyError::Unlisted { what: what.to_owned(), source: Box::new(source) }
}

pub(super) fn refused(action: &'static str, object: &DynamicObject, source: kube::Error) -> ApplyError {
    ApplyError::Refused { action, object: describe(object), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifest::parse;

    #[test]
    fn what_others_need_comes_first_and_pods_come_last() {
        let text = ["Deployment", "NetworkPolicy", "CustomResourceDefinition", "Pod", "Namespace", "ServiceAccount"]
            .map(|kind| format!("apiVersion: x/v1\nkind: {kind}\nmetadata: {{name: a}}\n"))
            .join("---\n");
        let objects = parse("test.yaml", &text).unwrap();
        let order: Vec<_> = ranked(&objects).into_values().flatten().map(describe).collect();
        let expected = [
            "Namespace a",
            "CustomResourceDefinition a",
            "NetworkPolicy a",
            "ServiceAccount a",
            "Deployment a",
            "Pod a",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn what_the_server_writes_by_itself_is_no_change_of_ours() {
        let object = |version: &str, colour: &str, status: &str| -> DynamicObject {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": version},
                "data": {"colour": colour}, "status": {"phase": status}}))
            .unwrap()
        };
        assert!(same(&object("1", "red", "new"), &object("1", "red", "new")));
        assert!(same(&object("1", "red", "new"), &object("2", "red", "old")));
        assert!(!same(&object("1", "red", "new"), &object("2", "blue", "new")));
    }

    #[test]
    fn only_errors_that_pass_are_tried_again() {
        let error = |code, message: &str| {
            kube::Error::Api(Box::new(kube::core::Status { code, message: message.to_owned(), ..Default::default() }))
        };
        assert!(passing(&error(500, "Internal error occurred: failed calling webhook \"x\": connection refused")));
        assert!(passing(&error(503, "")));
        assert!(!passing(&error(403, "forbidden")));
        assert!(!passing(&error(422, "Installation is invalid")));
        assert!(!passing(&error(500, "etcd is corrupt")));
    }
}
