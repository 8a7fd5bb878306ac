//! Policies against an API server of our own that merges as the real one does: what somebody added to one is found, named
//! and taken away, and what an older lab applied goes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use ztlab::cluster::{
    apply::{self, Applied, ApplyError, ApplyOptions, Change},
    manifest,
};

const PLACE: &str = "/apis/security.istio.io/v1beta1/namespaces/webapp/authorizationpolicies";

/// One policy: its spec, its annotations, and which of the spec's fields each manager has.
#[derive(Clone, Default)]
struct Policy {
    there: bool,
    version: u64,
    spec: Map<String, Value>,
    annotations: Map<String, Value>,
    owned: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Clone, Default)]
struct Cluster {
    policy: Arc<Mutex<Policy>>,
    /// An admission webhook that puts this field into every policy with a name.
    webhook: Option<&'static str>,
}

impl Policy {
    fn object(&self, name: &str) -> Value {
        let managed: Vec<Value> = self
            .owned
            .iter()
            .map(|(manager, fields)| {
                let fields: Map<String, Value> = fields.iter().map(|field| (format!("f:{field}"), json!({}))).collect();
                let operation = if manager == "ztlab" { "Apply" } else { "Update" };
                json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}})
            })
            .collect();
        json!({"apiVersion": "security.istio.io/v1beta1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": "webapp", "resourceVersion": self.version.to_string(),
                "labels": {"app.kubernetes.io/managed-by": "ztlab"},
                "annotations": self.annotations, "managedFields": managed},
            "spec": self.spec})
    }

    /// What a definition's default does; here, a selector without an action allows.
    fn complete(&mut self) {
        if self.spec.contains_key("selector") && !self.spec.contains_key("action") {
            self.spec.insert("action".to_owned(), json!("ALLOW"));
        }
    }

    /// Server-side apply by ztlab: what it had applied and applies no more goes, unless somebody else has it too.
    fn apply(&mut self, wanted: &Map<String, Value>) -> Option<Response> {
        let mine = self.owned.remove("ztlab").unwrap_or_default();
        let mut gone = false;
        for field in mine.iter().filter(|field| !wanted.contains_key(*field)) {
            if !self.owned.values().any(|fields| fields.contains(field)) {
                self.spec.remove(field);
                gone = true;
            }
        }
        self.spec.extend(wanted.clone());
        self.owned.insert("ztlab".to_owned(), wanted.keys().cloned().collect());
        if gone && self.spec.is_empty() {
            return Some(failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "spec: Invalid value: \"null\""));
        }
        self.there = true;
        self.complete();
        None
    }

    /// What any other change does: who changes a field has it, and what is gone nobody has.
    fn update(&mut self, manager: &str, patch: &Map<String, Value>) {
        for (field, value) in patch {
            for fields in self.owned.values_mut() {
                fields.remove(field);
            }
            if value.is_null() {
                self.spec.remove(field);
            } else {
                self.spec.insert(field.clone(), value.clone());
                self.owned.entry(manager.to_owned()).or_default().insert(field.clone());
            }
        }
        self.complete();
    }
}

fn failure(status: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": message, "code": status.as_u16()});
    (status, Json(body)).into_response()
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

async fn answer(State(cluster): State<Cluster>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let dry_run = uri.query().is_some_and(|query| query.contains("dryRun=All"));
    let mut stored = cluster.policy.lock().unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let named = format!("{PLACE}/deny-all");
    let mut policy = stored.clone();
    match (method.as_str(), uri.path()) {
        ("GET", "/apis/security.istio.io/v1beta1") => {
            let kind = json!({"name": "authorizationpolicies", "singularName": "", "namespaced": true,
                "kind": "AuthorizationPolicy", "verbs": ["get", "create", "patch"]});
            let list =
                json!({"kind": "APIResourceList", "groupVersion": "security.istio.io/v1beta1", "resources": [kind]});
            return Json(list).into_response();
        }
        ("GET", path) if path == named && policy.there => return Json(policy.object("deny-all")).into_response(),
        ("POST", PLACE) if dry_run => {
            let mut fresh = Policy { spec: fields(&body["spec"]), ..Policy::default() };
            fresh.complete();
            return Json(fresh.object("ztlab-x7k2q")).into_response();
        }
        ("PATCH", path) if path == named => {
            let kind = headers["content-type"].to_str().unwrap();
            if kind.contains("apply-patch") {
                if let Some(refusal) = policy.apply(&fields(&body["spec"])) {
                    return refusal;
                }
            } else {
                assert!(kind.contains("merge-patch"), "{kind}");
                policy.update("ztlab", &fields(&body["spec"]));
                for (name, value) in fields(&body["metadata"]["annotations"]) {
                    assert!(value.is_null(), "{name} = {value}");
                    policy.annotations.remove(&name);
                }
            }
        }
        _ => return failure(StatusCode::NOT_FOUND, "NotFound", "not found"),
    }
    if let Some(field) = cluster.webhook {
        policy.spec.insert(field.to_owned(), json!("webhook"));
    }
    let differs = |one: &Policy, other: &Policy| (&one.spec, &one.annotations) != (&other.spec, &other.annotations);
    if differs(&policy, &stored) || !stored.there {
        policy.version += 1;
    }
    let object = policy.object("deny-all");
    if !dry_run {
        *stored = policy;
    }
    Json(object).into_response()
}

impl Cluster {
    async fn client(&self) -> kube::Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        kube::Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap()
    }

    /// Somebody's `kubectl edit`.
    fn edit(&self, spec: Value) {
        let mut policy = self.policy.lock().unwrap();
        policy.update("kubectl-edit", &fields(&spec));
        policy.version += 1;
    }

    fn spec(&self) -> Value {
        Value::Object(self.policy.lock().unwrap().spec.clone())
    }
}

async fn applied(client: &kube::Client, spec: &str, options: ApplyOptions) -> Result<Applied, ApplyError> {
    let text = format!(
        "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata: {{name: deny-all, namespace: webapp}}\nspec: {spec}\n"
    );
    let objects = manifest::parse("deny-all.yaml", &text).unwrap();
    Ok(apply::apply(client, &objects, options, &|_| {}).await?.remove(0))
}

async fn change(client: &kube::Client, spec: &str) -> Change {
    applied(client, spec, ApplyOptions::default()).await.unwrap().change
}

fn forced() -> ApplyOptions {
    ApplyOptions { force: true, ..ApplyOptions::default() }
}

const NOBODY: &str = "{}";
const SOMEBODY: &str = "{rules: [{from: [{source: {principals: [a]}}]}]}";

#[tokio::test]
async fn a_rule_that_somebody_added_to_an_empty_policy_is_named_and_with_force_taken_away() {
    let cluster = Cluster::default();
    let client = cluster.client().await;
    assert_eq!(change(&client, NOBODY).await, Change::Created);
    assert_eq!(change(&client, NOBODY).await, Change::Unchanged);

    cluster.edit(json!({"rules": [{}]}));
    let error = applied(&client, NOBODY, ApplyOptions::default()).await.unwrap_err();
    let ApplyError::Conflict { object, conflict } = &error else { panic!("{error:?}") };
    assert_eq!(object, "AuthorizationPolicy webapp/deny-all");
    assert_eq!(conflict, "conflict with \"kubectl-edit\": .spec.rules");
    assert!(cluster.spec()["rules"].is_array(), "nothing is taken without being told to");

    let done = applied(&client, NOBODY, forced()).await.unwrap();
    assert_eq!(done.change, Change::Changed);
    assert_eq!(cluster.spec(), json!({}), "the policy allows what somebody added");
    assert_eq!(change(&client, NOBODY).await, Change::Unchanged);
}

#[tokio::test]
async fn a_dry_run_shows_the_conflict_and_with_force_what_would_go() {
    let cluster = Cluster::default();
    let client = cluster.client().await;
    change(&client, NOBODY).await;
    cluster.edit(json!({"rules": [{}]}));
    let dry = ApplyOptions { dry_run: true, ..ApplyOptions::default() };
    let would = applied(&client, NOBODY, dry).await.unwrap();
    assert_eq!(would.change, Change::Conflicting);
    assert_eq!(would.conflict.as_deref(), Some("conflict with \"kubectl-edit\": .spec.rules"));
    let would = applied(&client, NOBODY, ApplyOptions { dry_run: true, ..forced() }).await.unwrap();
    assert_eq!(would.change, Change::Changed);
    assert!(would.differences.iter().any(|one| one.field == "spec.rules" && one.would_be.is_none()), "{would:?}");
    assert!(cluster.spec()["rules"].is_array(), "a dry run wrote something");
}

#[tokio::test]
async fn a_policy_that_an_older_lab_applied_with_rules_becomes_empty() {
    let cluster = Cluster::default();
    let client = cluster.client().await;
    assert_eq!(change(&client, SOMEBODY).await, Change::Created);
    assert_eq!(change(&client, SOMEBODY).await, Change::Unchanged);
    // The merge alone would make the spec none at all, which the server refuses.
    assert_eq!(change(&client, NOBODY).await, Change::Changed);
    assert_eq!(cluster.spec(), json!({}));
    assert_eq!(change(&client, NOBODY).await, Change::Unchanged);
    assert_eq!(change(&client, SOMEBODY).await, Change::Changed);
    assert_eq!(change(&client, NOBODY).await, Change::Changed);
}

#[tokio::test]
async fn what_the_server_adds_by_default_is_nobodys_edit() {
    let cluster = Cluster::default();
    let client = cluster.client().await;
    assert_eq!(change(&client, "{selector: {matchLabels: {app: a}}}").await, Change::Created);
    assert_eq!(cluster.spec()["action"], "ALLOW");
    assert_eq!(change(&client, "{selector: {matchLabels: {app: a}}}").await, Change::Unchanged);
}

#[tokio::test]
async fn an_annotation_that_disarms_a_policy_goes_and_a_remark_stays() {
    let cluster = Cluster::default();
    let client = cluster.client().await;
    change(&client, NOBODY).await;
    let notes = [("istio.io/dry-run", "true"), ("school.example/remark", "mine")];
    cluster.policy.lock().unwrap().annotations =
        notes.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
    assert_eq!(change(&client, NOBODY).await, Change::Changed);
    assert_eq!(
        Value::Object(cluster.policy.lock().unwrap().annotations.clone()),
        json!({"school.example/remark": "mine"})
    );
}

#[tokio::test]
async fn a_policy_that_something_keeps_altering_is_an_error_with_the_field() {
    let cluster = Cluster::default();
    change(&cluster.client().await, NOBODY).await;
    let client = Cluster { webhook: Some("action"), ..cluster }.client().await;
    let error = applied(&client, NOBODY, ApplyOptions::default()).await.unwrap_err();
    assert!(matches!(&error, ApplyError::Altered { fields, .. } if fields == ".spec.action"), "{error:?}");
}
