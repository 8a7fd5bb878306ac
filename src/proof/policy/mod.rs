//! What the policy objects say about a call, by Kubernetes' and Istio's own rules. Pure.
//!
//! Nothing is proved here: a packet is what proves. This names the policy that lets a call through or stops it, so that
//! what was seen can be explained, and so that a policy which nothing enforces is noticed.
//!
//! | file | judges |
//! |---|---|
//! | [`network`] | NetworkPolicies: may this packet leave, may it arrive |
//! | [`authorization`] | AuthorizationPolicies: may this caller ask for that |
//! | [`peer`] | PeerAuthentications: must the caller show a certificate |

pub mod authorization;
pub mod network;
pub mod peer;

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::prober::PROBE_LABEL;

/// One end of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct End {
    /// Its namespace; empty for what is no pod.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is a pod: selectors choose pods and nothing else.
    pub is_pod: bool,
}

/// What one kind of policy says about one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// No policy of the kind is concerned: everything passes.
    Open,
    /// A rule of these policies lets it through.
    Allowed(Vec<String>),
    /// These policies are concerned, and none of their rules lets it through.
    Denied(Vec<String>),
}

/// Every policy object that matters for the app.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// NetworkPolicies of all namespaces.
    pub network: Vec<DynamicObject>,
    /// AuthorizationPolicies of all namespaces.
    pub authorization: Vec<DynamicObject>,
    /// PeerAuthentications of all namespaces.
    pub peer: Vec<DynamicObject>,
}

impl Policies {
    /// Sorts the policies out of a lab's objects.
    pub fn of(objects: impl IntoIterator<Item = DynamicObject>) -> Self {
        let mut policies = Self::default();
        for object in objects {
            match object.types.as_ref().map(|types| types.kind.as_str()) {
                Some("NetworkPolicy") => policies.network.push(object),
                Some("AuthorizationPolicy") => policies.authorization.push(object),
                Some("PeerAuthentication") => policies.peer.push(object),
                _ => {}
            }
        }
        policies
    }

    /// Reads those of the running cluster. A cluster without Istio's definitions has none of Istio's.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn live(client: &Client) -> Result<Self, kube::Error> {
        let istio = |kind: &str, plural: &str| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("security.istio.io", "v1beta1", kind), plural)
        };
        let network = ApiResource::erase::<NetworkPolicy>(&());
        let (authorization, peer) =
            (istio("AuthorizationPolicy", "authorizationpolicies"), istio("PeerAuthentication", "peerauthentications"));
        let (network, authorization, peer) =
            tokio::try_join!(list(client, &network), list(client, &authorization), list(client, &peer))?;
        Ok(Self { network, authorization, peer })
    }

    /// Copies, for another namespace, of those network policies of the app's that allow nothing.
    pub fn denying_copies(&self, app_namespace: &str, into: &str) -> Vec<DynamicObject> {
        let of_app = self.network.iter().filter(|policy| policy.metadata.namespace.as_deref() == Some(app_namespace));
        of_app
            .filter(|policy| {
                let rules =
                    |direction: &str| policy.data["spec"][direction].as_array().is_some_and(|all| !all.is_empty());
                !rules("ingress") && !rules("egress")
            })
            .filter_map(|policy| {
                let copy = json!({
                    "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                    "metadata": {"name": policy.metadata.name, "namespace": into, "labels": {PROBE_LABEL: "sealed"}},
                    "spec": policy.data["spec"],
                });
                serde_json::from_value(copy).ok()
            })
            .collect()
    }
}

async fn list(client: &Client, resource: &ApiResource) -> Result<Vec<DynamicObject>, kube::Error> {
    match Api::<DynamicObject>::all_with(client.clone(), resource).list(&ListParams::default()).await {
        Ok(found) => Ok(found.items),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Kind and name, as a table shows them.
fn name(object: &DynamicObject) -> String {
    object.metadata.name.clone().unwrap_or_default()
}

fn namespace(object: &DynamicObject) -> &str {
    object.metadata.namespace.as_deref().unwrap_or_default()
}

/// Whether `matchLabels` and `matchExpressions` choose these labels; an empty selector chooses all.
fn chooses(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    let all = wanted.into_iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    all && expressions.into_iter().all(|expression| {
        let found = labels.get(expression["key"].as_str().unwrap_or_default());
        let values = expression["values"].as_array().into_iter().flatten();
        let named = values.into_iter().filter_map(Value::as_str).any(|value| Some(value) == found.map(String::as_str));
        match expression["operator"].as_str() {
            Some("In") => named,
            Some("NotIn") => !named,
            Some("Exists") => found.is_some(),
            Some("DoesNotExist") => found.is_none(),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_choose_as_kubernetes_says() {
        let labels = BTreeMap::from([("app".to_owned(), "frontend".to_owned())]);
        for (selector, chosen) in [
            (json!({}), true),
            (json!({"matchLabels": {"app": "frontend"}}), true),
            (json!({"matchLabels": {"app": "backend"}}), false),
            (json!({"matchLabels": {"app": "frontend", "version": "v2"}}), false),
            (json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["frontend", "x"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["frontend"]}]}), false),
            (json!({"matchExpressions": [{"key": "other", "operator": "NotIn", "values": ["frontend"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}), false),
        ] {
            assert_eq!(chooses(&selector, &labels), chosen, "{selector}");
        }
    }

    #[test]
    fn only_what_allows_nothing_is_copied() {
        let policy = |name: &str, spec: Value| -> DynamicObject {
            serde_json::from_value(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": name, "namespace": "webapp"}, "spec": spec}))
            .unwrap()
        };
        let policies = Policies::of([
            policy("deny", json!({"podSelector": {}, "policyTypes": ["Ingress"]})),
            policy("allow", json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]})),
        ]);
        let copies = policies.denying_copies("webapp", "sealed");
        assert_eq!(copies.len(), 1);
        assert_eq!((name(&copies[0]).as_str(), namespace(&copies[0])), ("deny", "sealed"));
        assert!(policies.denying_copies("other", "sealed").is_empty());
    }
}
