//! A cluster that keeps objects and does nothing with them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// Kinds: group with version, plural, kind, whether it is in namespaces.
const KINDS: [(&str, &str, &str, bool); 6] = [
    ("v1", "configmaps", "ConfigMap", true),
    ("v1", "namespaces", "Namespace", false),
    ("apps/v1", "deployments", "Deployment", true),
    ("v1", "serviceaccounts", "ServiceAccount", true),
    ("v1", "pods", "Pod", true),
    ("v1", "nodes", "Node", false),
];

/// Objects by their path.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Cluster {
    /// Puts an object there, as ztlab's or as somebody else's.
    pub(crate) fn put(&self, kind: &str, namespace: &str, name: &str, ours: bool, data: Value) {
        let (version, plural, _, namespaced) = KINDS.iter().find(|(_, _, known, _)| *known == kind).unwrap();
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
        if *namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        for (key, value) in data.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        if ours {
            object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "ztlab"});
            object["metadata"]["managedFields"] = json!([{"manager": "ztlab", "operation": "Apply"}]);
        }
        let place = if *namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        self.objects.lock().unwrap().insert(format!("{}{place}/{plural}/{name}", root(version)), object);
    }

    /// Takes an object away, by its path.
    pub(crate) fn remove(&self, path: &str) {
        assert!(self.objects.lock().unwrap().remove(path).is_some(), "{path} is not there");
    }

    /// `Deployment webapp/backend`, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let objects = self.objects.lock().unwrap();
        let text = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut names: Vec<String> = objects
            .values()
            .map(|one| {
                let (namespace, name) = (text(one, "/metadata/namespace"), text(one, "/metadata/name"));
                format!("{} {namespace}/{name}", text(one, "/kind"))
            })
            .collect();
        names.sort();
        names
    }

    /// Listens, and writes a kubeconfig with the context `lab`.
    pub(crate) async fn serve(&self, kubeconfig: &std::path::Path) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: lab, context: {{cluster: c, user: u}}}}]\n"
        );
        fs_err::write(kubeconfig, text).unwrap();
    }
}

fn root(version: &str) -> String {
    if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") }
}

fn not_found() -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404});
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}

async fn answer(State(cluster): State<Cluster>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    // All kinds in one answer are for newer servers: whoever asks gets them one group at a time.
    let accepted = headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.contains("apidiscovery") {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let mut objects = cluster.objects.lock().unwrap();
    match (method.as_str(), path) {
        ("GET", "/api") => {
            Json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})).into_response()
        }
        ("GET", "/apis") => {
            let version = json!({"groupVersion": "apps/v1", "version": "v1"});
            let group = json!({"name": "apps", "versions": [version], "preferredVersion": version});
            Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]})).into_response()
        }
        ("GET", "/api/v1" | "/apis/apps/v1") => {
            let version = path.trim_start_matches("/apis/").trim_start_matches("/api/");
            let of_it = KINDS.iter().filter(|(group, ..)| *group == version);
            let resources: Vec<Value> = of_it
                .map(|(_, plural, kind, namespaced)| {
                    json!({"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind,
                           "verbs": ["get", "list", "patch", "delete"]})
                })
                .collect();
            Json(json!({"kind": "APIResourceList", "groupVersion": version, "resources": resources})).into_response()
        }
        ("GET", path) if objects.contains_key(path) => Json(objects[path].clone()).into_response(),
        ("DELETE", path) => objects.remove(path).map_or_else(not_found, |object| Json(object).into_response()),
        ("GET", "/version") => {
            let empty = ["buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform"];
            let mut version = json!({"major": "1", "minor": "28", "gitVersion": "v1.28.3"});
            empty.iter().for_each(|field| version[*field] = json!(""));
            Json(version).into_response()
        }
        ("GET", path) => match listed(path) {
            Some((root, namespace, plural)) => {
                let place = namespace.map_or_else(String::new, |namespace| format!("/namespaces/{namespace}"));
                let of_kind =
                    |key: &&String| key.starts_with(&format!("{root}{place}/")) && key.contains(&format!("/{plural}/"));
                let query = uri.query().unwrap_or_default().replace("%2F", "/").replace("%3D", "=");
                let query = query.replace("%2C", ",").replace("%21", "!");
                let selector = query.split('&').find_map(|part| part.strip_prefix("labelSelector=")).unwrap_or("");
                let items: Vec<Value> = objects
                    .keys()
                    .filter(of_kind)
                    .map(|key| objects[key].clone())
                    .filter(|one| selected(&one["metadata"]["labels"], selector))
                    .collect();
                Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})).into_response()
            }
            None => not_found(),
        },
        _ => not_found(),
    }
}

/// The root, namespace and plural of a path that lists.
fn listed(path: &str) -> Option<(String, Option<&str>, &str)> {
    KINDS.iter().find_map(|(version, plural, ..)| {
        let root = root(version);
        let rest = path.strip_prefix(&root)?.strip_prefix('/')?;
        match rest.split('/').collect::<Vec<_>>().as_slice() {
            [last] if last == plural => Some((root, None, *plural)),
            ["namespaces", namespace, last] if last == plural => Some((root, Some(*namespace), *plural)),
            _ => None,
        }
    })
}

/// `a=b` and `!c`, with commas between.
fn selected(labels: &Value, selector: &str) -> bool {
    selector.split(',').filter(|part| !part.is_empty()).all(|part| match part.split_once('=') {
        Some((key, value)) => labels[key] == value,
        None => labels[part.trim_start_matches('!')].is_null(),
    })
}
