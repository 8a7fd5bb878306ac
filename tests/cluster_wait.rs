//! Waits against a small API server of our own that restarts, forgets and lies in wait like a real one.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::stream;
use miette::Diagnostic as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use ztlab::cluster::wait::{Cause, Gate, WaitError, wait_for};

/// How the server stands.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    /// It has just been started. (503 would be asked again by the client, below the watch.)
    Unavailable,
    /// It does not know the kind: the definition is not there yet.
    UnknownKind,
    Forbidden,
}

/// What a watch is told.
#[derive(Debug, Clone)]
enum News {
    Line(String),
    /// The connection breaks off.
    End,
}

struct World {
    mood: Mood,
    deployment: Option<Value>,
    pods: Vec<Value>,
    lists: usize,
}

#[derive(Clone)]
struct Server {
    world: Arc<Mutex<World>>,
    news: broadcast::Sender<News>,
}

#[derive(Deserialize)]
struct Parameters {
    watch: Option<String>,
}

async fn answer(State(server): State<Server>, uri: Uri, Query(parameters): Query<Parameters>) -> Response {
    let mut world = server.world.lock().unwrap();
    let failure = |code: StatusCode, reason: &str| {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code.as_u16()});
        (code, Json(status)).into_response()
    };
    match world.mood {
        Mood::Unavailable => return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        // As the real one says it: no Status, a plain page.
        Mood::UnknownKind => return (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
        Mood::Forbidden => return failure(StatusCode::FORBIDDEN, "Forbidden"),
        Mood::Well => {}
    }
    let (kind, items) = match uri.path() {
        "/apis/apps/v1/namespaces/webapp/deployments" => ("DeploymentList", world.deployment.iter().cloned().collect()),
        "/api/v1/namespaces/webapp/pods" => ("PodList", world.pods.clone()),
        _ => return failure(StatusCode::NOT_FOUND, "NotFound"),
    };
    if parameters.watch.is_some() {
        let about_deployments = kind == "DeploymentList";
        let lines = stream::unfold(server.news.subscribe(), move |mut news| async move {
            loop {
                match news.recv().await.ok()? {
                    News::End => return None,
                    News::Line(line) if about_deployments => {
                        return Some((Ok::<_, std::io::Error>(Bytes::from(line)), news));
                    }
                    News::Line(_) => {}
                }
            }
        });
        return Response::new(Body::from_stream(lines));
    }
    world.lists += usize::from(kind == "DeploymentList");
    Json(json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}))
        .into_response()
}

impl Server {
    async fn start(mood: Mood, deployment: Option<Value>, pods: Vec<Value>) -> (Self, kube::Client) {
        let world = World { mood, deployment, pods, lists: 0 };
        let server = Self { world: Arc::new(Mutex::new(world)), news: broadcast::channel(16).0 };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (server, kube::Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap())
    }

    /// Changes something once a wait has listed the Deployments so many times and watches them and the pods.
    fn after_lists(&self, lists: usize, change: impl FnOnce(&Self) + Send + 'static) {
        let server = self.clone();
        tokio::spawn(async move {
            while server.world.lock().unwrap().lists < lists || server.news.receiver_count() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The watch that follows the list has to be there.
            tokio::time::sleep(Duration::from_millis(50)).await;
            change(&server);
        });
    }

    fn say(&self, kind: &str, object: &Value) {
        self.news.send(News::Line(format!("{}\n", json!({"type": kind, "object": object})))).unwrap();
    }
}

fn deployment(available: i32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "backend", "namespace": "webapp", "generation": 1, "resourceVersion": "8"},
        "spec": {"replicas": 1, "selector": {}, "template": {}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available}})
}

fn pod(reason: &str, message: &str) -> Value {
    json!({"metadata": {"name": "backend-7d-x", "namespace": "webapp"}, "status": {"containerStatuses": [{
        "name": "backend", "image": "docker.io/library/simple-backend:v1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}}}]}})
}

fn gates() -> [Gate; 1] {
    [Gate::deployment("webapp", "backend")]
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_change_is_heard_and_not_asked_for() {
    let (server, client) = Server::start(Mood::Well, Some(deployment(0)), Vec::new()).await;
    server.after_lists(1, |server| server.say("MODIFIED", &deployment(1)));
    wait_for(&client, &gates(), LONG, &|_| {}).await.unwrap();
    assert_eq!(server.world.lock().unwrap().lists, 1, "it polled");
}

#[tokio::test]
async fn a_watch_that_is_too_old_is_begun_anew() {
    let (server, client) = Server::start(Mood::Well, Some(deployment(0)), Vec::new()).await;
    server.after_lists(1, |server| {
        server.world.lock().unwrap().deployment = Some(deployment(1));
        server.say("ERROR", &json!({"kind": "Status", "status": "Failure", "reason": "Expired", "message": "too old resource version", "code": 410}));
    });
    wait_for(&client, &gates(), LONG, &|_| {}).await.unwrap();
    assert_eq!(server.world.lock().unwrap().lists, 2);
}

#[tokio::test]
async fn an_api_server_that_restarts_is_waited_for_and_said() {
    let (server, client) = Server::start(Mood::Well, Some(deployment(0)), Vec::new()).await;
    server.after_lists(1, |server| {
        server.world.lock().unwrap().mood = Mood::Unavailable;
        server.news.send(News::End).unwrap();
        let server = server.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            let mut world = server.world.lock().unwrap();
            (world.mood, world.deployment) = (Mood::Well, Some(deployment(1)));
        });
    });
    let said = Mutex::new(Vec::new());
    wait_for(&client, &gates(), LONG, &|line| said.lock().unwrap().push(line)).await.unwrap();
    let said = said.into_inner().unwrap().join("\n");
    assert!(said.contains("the API server does not answer"), "{said}");
}

#[tokio::test]
async fn a_kind_that_is_not_there_yet_is_waited_for() {
    let (server, client) = Server::start(Mood::UnknownKind, Some(deployment(1)), Vec::new()).await;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.world.lock().unwrap().mood = Mood::Well;
    });
    let said = Mutex::new(Vec::new());
    wait_for(&client, &gates(), LONG, &|line| said.lock().unwrap().push(line)).await.unwrap();
    let expected = "rollout of the Deployment webapp/backend: the API server does not know its kind yet";
    assert_eq!(said.into_inner().unwrap()[0], expected);
}

#[tokio::test]
async fn a_refusal_is_not_waited_out() {
    let (_server, client) = Server::start(Mood::Forbidden, None, Vec::new()).await;
    let begun = Instant::now();
    let error = wait_for(&client, &gates(), LONG, &|_| {}).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "it was waited out");
    assert!(matches!(&error, WaitError::Cluster { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_image_ends_a_wait_early() {
    let pod = pod("ErrImagePull", "connect: network is unreachable");
    let (_server, client) = Server::start(Mood::Well, Some(deployment(0)), vec![pod]).await;
    let begun = Instant::now();
    let error = wait_for(&client, &gates(), Duration::from_secs(300), &|_| {}).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(60), "it ran out the clock");
    assert_eq!(error.code().unwrap().to_string(), "wait::image_missing");
    let WaitError::Gate(shut) = &error else { panic!("{error}") };
    assert!(shut.early);
    let cause = &shut.findings[0].cause;
    assert!(matches!(cause, Cause::ImageMissing { image, .. } if image.ends_with("simple-backend:v1")), "{error}");
    assert!(error.to_string().contains("network is unreachable"), "{error}");
}

#[tokio::test]
async fn a_gate_whose_object_never_appears_says_so_at_its_deadline() {
    let (_server, client) = Server::start(Mood::Well, None, Vec::new()).await;
    let said = Mutex::new(Vec::new());
    let on_waiting = |line: String| said.lock().unwrap().push(line);
    let error = wait_for(&client, &gates(), Duration::from_millis(500), &on_waiting).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("rollout of the Deployment webapp/backend did not happen within 0 s: it does not exist yet"),
        "{text}"
    );
    assert_eq!(error.code().unwrap().to_string(), "wait::gate");
    assert_eq!(said.into_inner().unwrap(), ["rollout of the Deployment webapp/backend: it does not exist yet"]);
}
