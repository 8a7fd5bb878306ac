//! Apply and delete against a small API server of our own: what the product does with its answers.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use ztlab::cluster::{
    apply::{self, ApplyError, ApplyOptions, Change},
    manifest,
};

/// One config map; remembers what was asked.
#[derive(Clone, Default)]
struct Cluster {
    asked: Arc<Mutex<Vec<String>>>,
    stored: Arc<Mutex<Option<Value>>>,
    conflict: bool,
    /// Somebody makes the object anew as soon as it is gone.
    makes_anew: bool,
}

async fn answer(State(cluster): State<Cluster>, method: Method, uri: Uri, body: Bytes) -> Response {
    cluster.asked.lock().unwrap().push(format!("{method} {uri}"));
    let not_found = || {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404});
        (StatusCode::NOT_FOUND, Json(status)).into_response()
    };
    match (method.as_str(), uri.path()) {
        ("GET", "/api/v1") => Json(json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
            {"name": "configmaps", "singularName": "", "namespaced": true, "kind": "ConfigMap", "verbs": ["get", "patch", "delete"]}]}))
        .into_response(),
        ("GET", "/api/v1/namespaces/webapp/configmaps/settings") => match cluster.stored.lock().unwrap().clone() {
            Some(object) => Json(object).into_response(),
            None => not_found(),
        },
        ("PATCH", "/api/v1/namespaces/webapp/configmaps/settings") => {
            patch(&cluster, &body, uri.query().is_some_and(|query| query.contains("dryRun=All")))
        }
        ("DELETE", "/api/v1/namespaces/webapp/configmaps/settings") => {
            let mut stored = cluster.stored.lock().unwrap();
            let Some(object) = stored.take() else { return not_found() };
            if cluster.makes_anew {
                let mut next = object.clone();
                next["metadata"]["uid"] = json!("second");
                *stored = Some(next);
            }
            Json(object).into_response()
        }
        _ => not_found(),
    }
}

/// Server-side apply as far as these tests need it: the resource version moves only when something changes.
fn patch(cluster: &Cluster, body: &Bytes, dry_run: bool) -> Response {
    if cluster.conflict {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409,
            "message": "Apply failed with 1 conflict: conflict with \"kubectl\": .data.colour"});
        return (StatusCode::CONFLICT, Json(status)).into_response();
    }
    let mut wanted: Value = serde_json::from_slice(body).unwrap();
    let mut stored = cluster.stored.lock().unwrap();
    let version = stored
        .as_ref()
        .and_then(|object| object["metadata"]["resourceVersion"].as_str()?.parse::<u64>().ok())
        .unwrap_or(0);
    let same = stored.as_ref().is_some_and(|object| object["data"] == wanted["data"]);
    // A dry run keeps the version that it found.
    let next = if same || dry_run { version } else { version + 1 };
    wanted["metadata"]["resourceVersion"] = Value::from(next.to_string());
    wanted["metadata"]["uid"] = json!("first");
    if !dry_run {
        *stored = Some(wanted.clone());
    }
    Json(wanted).into_response()
}

async fn serve(cluster: Cluster) -> kube::Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(answer).with_state(cluster);
    tokio::spawn(async move { axum::serve(listener, app).await });
    kube::Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap()
}

fn settings(colour: &str) -> Vec<kube::api::DynamicObject> {
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: webapp}}\ndata: {{colour: {colour}}}\n"
    );
    manifest::parse("settings.yaml", &text).unwrap()
}

async fn apply_one(client: &kube::Client, colour: &str) -> Result<Change, ApplyError> {
    let applied = apply::apply(client, &settings(colour), ApplyOptions::default(), &|_| {}).await?;
    assert_eq!(applied[0].object, "ConfigMap webapp/settings");
    Ok(applied[0].change)
}

#[tokio::test]
async fn an_apply_tells_created_changed_and_unchanged_apart() {
    let cluster = Cluster::default();
    let client = serve(cluster.clone()).await;
    assert_eq!(apply_one(&client, "red").await.unwrap(), Change::Created);
    assert_eq!(apply_one(&client, "red").await.unwrap(), Change::Unchanged);
    assert_eq!(apply_one(&client, "blue").await.unwrap(), Change::Changed);

    let stored = cluster.stored.lock().unwrap().clone().unwrap();
    assert_eq!(stored["metadata"]["labels"]["app.kubernetes.io/managed-by"], "ztlab");
    let asked = cluster.asked.lock().unwrap().join("\n");
    assert!(asked.contains("fieldManager=ztlab"), "{asked}");
    assert!(!asked.contains("force=true"), "{asked}");
}

#[tokio::test]
async fn a_dry_run_says_which_field_would_change_and_writes_nothing() {
    let cluster = Cluster::default();
    let client = serve(cluster.clone()).await;
    apply_one(&client, "red").await.unwrap();
    let options = ApplyOptions { dry_run: true, ..ApplyOptions::default() };
    let would = async |colour: &str| {
        let applied = apply::apply(&client, &settings(colour), options, &|_| {}).await.unwrap();
        let fields: Vec<String> = applied[0].differences.iter().map(|one| one.field.clone()).collect();
        (applied[0].change, fields)
    };
    assert_eq!(would("red").await, (Change::Unchanged, Vec::new()));
    assert_eq!(would("blue").await, (Change::Changed, vec!["data.colour".to_owned()]));
    assert_eq!(cluster.stored.lock().unwrap().as_ref().unwrap()["data"]["colour"], "red");
}

#[tokio::test]
async fn a_conflict_is_shown_and_not_forced() {
    let client = serve(Cluster { conflict: true, ..Cluster::default() }).await;
    let error = apply_one(&client, "red").await.unwrap_err();
    assert!(matches!(&error, ApplyError::Conflict { conflict, .. } if conflict.contains(".data.colour")), "{error}");
}

#[tokio::test]
async fn a_kind_that_does_not_appear_is_named_at_the_deadline() {
    let client = serve(Cluster::default()).await;
    let text = "apiVersion: operator.tigera.io/v1\nkind: Installation\nmetadata: {name: default}\n";
    let objects = manifest::parse("installation.yaml", text).unwrap();
    let options = ApplyOptions { deadline: Duration::from_millis(700), ..ApplyOptions::default() };
    let error = apply::apply(&client, &objects, options, &|_| {}).await.unwrap_err();
    assert!(
        matches!(&error, ApplyError::UnknownKind { kind, .. } if kind == "operator.tigera.io/v1 Installation"),
        "{error}"
    );
}

#[tokio::test]
async fn a_delete_waits_until_the_object_is_gone_and_a_second_one_finds_nothing() {
    let client = serve(Cluster::default()).await;
    apply_one(&client, "red").await.unwrap();
    let delete = async || apply::delete(&client, &settings("red"), Duration::from_secs(10), &|_| {}).await.unwrap();
    assert_eq!(delete().await, 1);
    assert_eq!(delete().await, 0);
}

#[tokio::test]
async fn an_object_that_its_program_makes_anew_at_once_is_gone_all_the_same() {
    let client = serve(Cluster { makes_anew: true, ..Cluster::default() }).await;
    apply_one(&client, "red").await.unwrap();
    let deleted = apply::delete(&client, &settings("red"), Duration::from_secs(2), &|_| {}).await.unwrap();
    assert_eq!(deleted, 1);
}
