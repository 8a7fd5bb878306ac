//! Whose objects are these: ztlab's, the machinery's, or somebody else's?
//!
//! | whose | how it is known |
//! |---|---|
//! | ours | the label `app.kubernetes.io/managed-by: ztlab`, and fields that the manager `ztlab` applied: a Service's label is copied to its endpoints, the fields are not |
//! | the machinery's | it has an owner, or only Kubernetes, Calico's operator, Istio or ztlab wrote it |
//! | somebody else's | all others |

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, TypeMeta},
    discovery::{ApiCapabilities, Discovery, Scope, verbs},
};
use serde_json::json;

use super::{
    apply::{self, ApplyError, FIELD_MANAGER, MANAGED_BY},
    manifest::describe,
};

/// Requests at once.
const PARALLEL: usize = 8;

/// Who writes objects in a lab's namespaces without being a person: Kubernetes' own programs, tigera's operator and
/// Calico's, Istio's, and ztlab.
const MACHINERY: [&str; 18] = [
    FIELD_MANAGER,
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "cloud-controller-manager",
    "operator",
    "kube-controllers",
    "calico",
    "calico-ipam",
    "calico-node",
    "calico-typha",
    "felix",
    "istio-operator",
    "istioctl",
    "pilot-discovery",
    "pilot-agent",
    "kiali",
];
/// What Istio's programs leave in their namespace when istioctl has purged them.
const MESH: [&str; 3] = ["pilot-discovery", "istio-operator", "istioctl"];
/// How many objects are named that keep a namespace.
const SHOWN: usize = 3;
/// Kinds that come and go by themselves.
const PASSING: [&str; 5] = ["Event", "Endpoints", "EndpointSlice", "Lease", "PodMetrics"];

/// Calico's programs say no name when they write into their own definitions (seen in 3.27.0), and neither does calicoctl
/// for a person: what such a writer made is Calico's own where it is of a kind that Calico keeps its books in, or is the
/// one object that Calico makes of a kind.
const NAMELESS: &str = "Go-http-client";
const CALICOS: [(&str, Option<&str>); 9] = [
    ("BlockAffinity", None),
    ("IPAMBlock", None),
    ("IPAMConfig", None),
    ("IPAMHandle", None),
    ("ClusterInformation", Some("default")),
    ("FelixConfiguration", Some("default")),
    ("KubeControllersConfiguration", Some("default")),
    ("IPPool", Some("default-ipv4-ippool")),
    ("IPPool", Some("default-ipv6-ippool")),
];

/// What Kubernetes and Istio put into every namespace, by kind and name. The account has no field that anybody manages.
const EVERYWHERE: [(&str, &str); 3] =
    [("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"), ("ConfigMap", "istio-ca-root-cert")];

/// What was deleted, and what stays and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// How many objects went.
    pub deleted: usize,
    /// One line for each that stays.
    pub kept: Vec<String>,
}

/// Whether ztlab applied an object.
pub fn is_ours(metadata: &ObjectMeta) -> bool {
    let labelled =
        metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY.0)).is_some_and(|by| by == MANAGED_BY.1);
    labelled
        && metadata
            .managed_fields
            .iter()
            .flatten()
            .any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply"))
}

/// Whether a person, or a program that ztlab does not know, put an object there.
pub fn is_foreign(kind: &str, metadata: &ObjectMeta) -> bool {
    let name = metadata.name.as_deref().unwrap_or_default();
    let calicos = CALICOS.iter().any(|(of, named)| *of == kind && named.is_none_or(|named| named == name));
    let known: Vec<&str> = MACHINERY.into_iter().chain(calicos.then_some(NAMELESS)).collect();
    !is_ours(metadata)
        && !PASSING.contains(&kind)
        && !EVERYWHERE.contains(&(kind, name))
        && metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
        && !written_only_by(metadata, &known)
}

fn written_only_by(metadata: &ObjectMeta, known: &[&str]) -> bool {
    let managers: BTreeSet<&str> =
        metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref()).collect();
    !managers.is_empty() && managers.iter().all(|manager| known.contains(manager))
}

/// The kinds of a cluster whose objects can be listed and deleted.
pub struct Inventory<'client> {
    client: &'client Client,
    kinds: Vec<(ApiResource, ApiCapabilities)>,
}

impl<'client> Inventory<'client> {
    /// Asks the cluster for its kinds.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(client: &'client Client) -> Result<Self, ApplyError> {
        // Two requests; a server that is too old for them gets one for each group.
        let found = match Discovery::new(client.clone()).run_aggregated().await {
            Ok(found) => found,
            Err(_) => {
                Discovery::new(client.clone()).run().await.map_err(|source| apply::unlisted("the kinds", source))?
            }
        };
        let kinds = found.groups().flat_map(|group| group.recommended_resources());
        let kinds =
            kinds.filter(|(_, can)| can.supports_operation(verbs::LIST) && can.supports_operation(verbs::DELETE));
        Ok(Self { client, kinds: kinds.collect() })
    }

    /// Every object that ztlab applied, without its content.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn ours(&self) -> Result<Vec<DynamicObject>, ApplyError> {
        let label = ListParams::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
        let found = self.list(&|_| true, None, &label).await?;
        Ok(found.into_iter().filter(|object| is_ours(&object.metadata)).collect())
    }

    /// What somebody else put into a namespace.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn foreign_in(&self, namespace: &str) -> Result<Vec<DynamicObject>, ApplyError> {
        let found = self.list(&|_| true, Some(namespace), &ListParams::default()).await?;
        Ok(found.into_iter().filter(|object| is_foreign(kind_of(object), &object.metadata)).collect())
    }

    /// What somebody else made of a definition (its name is `PLURAL.GROUP`).
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn foreign_of(&self, definition: &str) -> Result<Vec<DynamicObject>, ApplyError> {
        let of_it = |resource: &ApiResource| format!("{}.{}", resource.plural, resource.group) == definition;
        let found = self.list(&of_it, None, &ListParams::default()).await?;
        Ok(found.into_iter().filter(|object| is_foreign(kind_of(object), &object.metadata)).collect())
    }

    async fn list(
        &self,
        wanted: &dyn Fn(&ApiResource) -> bool,
        namespace: Option<&str>,
        parameters: &ListParams,
    ) -> Result<Vec<DynamicObject>, ApplyError> {
        let kinds = self
            .kinds
            .iter()
            .filter(|(resource, can)| wanted(resource) && (namespace.is_none() || can.scope == Scope::Namespaced));
        let lists = kinds.map(|(resource, _)| async move {
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
                None => Api::all_with(self.client.clone(), resource),
            };
            match api.list_metadata(parameters).await {
                Ok(list) => Ok(list.items.into_iter().map(|one| named(resource, one.metadata)).collect::<Vec<_>>()),
                // A definition that has just gone, or a kind that cannot be listed after all.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(Vec::new()),
                Err(source) => Err(apply::unlisted(&resource.plural, source)),
            }
        });
        let found: Vec<Vec<DynamicObject>> = stream::iter(lists).buffer_unordered(PARALLEL).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Deletes those of some objects that are ours, and waits until they are gone. A namespace with somebody else's
    /// objects in it stays, without what ztlab wrote on it; so does a definition that somebody else uses.
    ///
    /// # Errors
    /// When the cluster refuses, or an object stays without a reason.
    pub async fn remove(
        &self,
        objects: &[DynamicObject],
        deadline: Duration,
        on_waiting: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Removal, ApplyError> {
        let mut removal = Removal::default();
        let mut going = Vec::new();
        let mut namespaces = Vec::new();
        for object in objects {
            let Some(found) = apply::find(self.client, object).await? else { continue };
            if !is_ours(&found.metadata) {
                removal.kept.push(format!("{} is not ztlab's", describe(object)));
            } else if kind_of(object) == "Namespace" {
                namespaces.push(object.clone());
            } else if kind_of(object) == "CustomResourceDefinition" {
                match self.foreign_of(object.metadata.name.as_deref().unwrap_or_default()).await?.first() {
                    Some(user) => removal.kept.push(format!("{}: {} uses it", describe(object), describe(user))),
                    None => going.push(object.clone()),
                }
            } else {
                going.push(object.clone());
            }
        }
        removal.deleted += apply::delete(self.client, &going, deadline, on_waiting).await?;
        for namespace in namespaces {
            let name = namespace.metadata.name.as_deref().unwrap_or_default();
            match self.remove_namespace(name, deadline, on_waiting).await? {
                None => removal.deleted += 1,
                Some(line) => removal.kept.push(line),
            }
        }
        Ok(removal)
    }

    /// Deletes a namespace with what the lab's programs left in it, unless somebody else's objects are there: then it
    /// stays, and so do they. The reason why it stays.
    ///
    /// # Errors
    /// When the cluster refuses, or the namespace stays without a reason.
    pub async fn remove_namespace(
        &self,
        name: &str,
        deadline: Duration,
        on_waiting: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Option<String>, ApplyError> {
        let foreign = self.foreign_in(name).await?;
        if foreign.is_empty() {
            apply::delete(self.client, &[named_namespace(name)], deadline, on_waiting).await?;
            return Ok(None);
        }
        let left = self.list(&|_| true, Some(name), &ListParams::default()).await?;
        let left: Vec<_> = left.into_iter().filter(|object| written_only_by(&object.metadata, &MESH)).collect();
        apply::delete(self.client, &left, deadline, on_waiting).await?;
        self.let_go(name).await?;
        let mut names = foreign.iter().take(SHOWN).map(describe).collect::<Vec<_>>().join(", ");
        if foreign.len() > SHOWN {
            names.push_str(&format!(" and {} more", foreign.len() - SHOWN));
        }
        Ok(Some(format!("Namespace {name}, because of what is not ztlab's: {names}")))
    }

    /// Takes what ztlab wrote on a namespace off it, and the owner that would take it away.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn let_go(&self, name: &str) -> Result<(), ApplyError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let nothing = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let refused = |source| apply::refused("apply", &named_namespace(name), source);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_metadata(name, &parameters, &Patch::Apply(nothing)).await.map_err(refused)?;
        self.disown(name).await
    }

    /// Takes a namespace's owner off it, so that it outlives the owner; one that is not there is fine.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn disown(&self, name: &str) -> Result<(), ApplyError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let free = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
        match api.patch_metadata(name, &PatchParams::default(), &free).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(apply::refused("apply", &named_namespace(name), source)),
        }
    }
}

fn kind_of(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

fn named(resource: &ApiResource, metadata: ObjectMeta) -> DynamicObject {
    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    DynamicObject { types: Some(types), metadata, data: serde_json::Value::Null }
}

fn named_namespace(name: &str) -> DynamicObject {
    DynamicObject::new(name, &ApiResource::erase::<Namespace>(&()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value};

    use super::*;

    fn object(labels: Value, managers: &[(&str, &str)], owners: Value) -> ObjectMeta {
        let fields: Vec<Value> =
            managers.iter().map(|(manager, operation)| json!({"manager": manager, "operation": operation})).collect();
        from_value(json!({"name": "a", "labels": labels, "managedFields": fields, "ownerReferences": owners})).unwrap()
    }

    #[test]
    fn ours_is_what_we_labelled_and_applied() {
        let label = || json!({"app.kubernetes.io/managed-by": "ztlab"});
        assert!(is_ours(&object(label(), &[("ztlab", "Apply"), ("kubectl-edit", "Update")], json!([]))));
        // An EndpointSlice has its Service's labels.
        assert!(!is_ours(&object(label(), &[("kube-controller-manager", "Update")], json!([]))));
        // Somebody applied it with ztlab's name and another label, or none.
        assert!(!is_ours(&object(json!({}), &[("ztlab", "Apply")], json!([]))));
    }

    #[test]
    fn what_is_in_every_namespace_keeps_none() {
        let account: ObjectMeta = from_value(json!({"name": "default"})).unwrap();
        assert!(!is_foreign("ServiceAccount", &account));
        let other: ObjectMeta = from_value(json!({"name": "deployer"})).unwrap();
        assert!(is_foreign("ServiceAccount", &other));
    }

    #[test]
    fn what_a_person_made_is_foreign_and_what_programs_made_is_not() {
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]);
        for (kind, managers, owners, foreign) in [
            ("ConfigMap", vec![("kubectl-create", "Update")], json!([]), true),
            ("ConfigMap", vec![("kube-controller-manager", "Update")], json!([]), false),
            ("ConfigMap", vec![("pilot-discovery", "Update"), ("kubectl-edit", "Update")], json!([]), true),
            ("Secret", vec![("pilot-discovery", "Update")], json!([]), false),
            ("Pod", vec![("kubectl-run", "Update")], owner, false),
            ("Event", vec![("somebody", "Update")], json!([]), false),
            ("Deployment", vec![("helm", "Update")], json!([]), true),
            ("IPAMBlock", vec![("Go-http-client", "Update")], json!([]), false),
            ("IPPool", vec![("Go-http-client", "Update")], json!([]), true),
            ("GlobalNetworkPolicy", vec![("Go-http-client", "Update")], json!([]), true),
            ("IPAMConfig", vec![("Go-http-client", "Update"), ("kubectl-edit", "Update")], json!([]), true),
            // Nobody knows: then it is not touched.
            ("ConfigMap", vec![], json!([]), true),
        ] {
            assert_eq!(is_foreign(kind, &object(json!({}), &managers, owners)), foreign, "{kind} of {managers:?}");
        }
    }
}
