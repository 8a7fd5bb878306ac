//! A server that lies on purpose: registry, file server and token service in one, on loopback.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Response, StatusCode, header},
};
use futures::{StreamExt, stream};

/// What to do wrong, once each, before the truth is told.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Answer this status, with this `Retry-After`.
    Status(u16, Option<&'static str>),
    /// Announce everything, send this many bytes, break the connection.
    Cut(usize),
    /// Send this many bytes, then nothing for ever.
    Stall(usize),
    /// Send this many bytes and call that the end.
    EndEarly(usize),
    /// A login page, as a captive portal sends it.
    LoginPage,
    /// Other bytes, with the right status.
    Instead(&'static [u8]),
    /// The whole body where a part was asked for.
    IgnoreRange,
    /// Another part than the one asked for.
    WrongRange,
}

#[derive(Default)]
struct Route {
    body: Vec<u8>,
    faults: VecDeque<Fault>,
    redirect: Option<String>,
    wants_token: bool,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    routes: Mutex<HashMap<String, Route>>,
    seen: Mutex<Vec<Seen>>,
    address: Mutex<String>,
}

/// The server; it stops with the test's runtime.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    address: String,
}

/// The token that the token service gives.
const TOKEN: &str = "pull-token";

impl Origin {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        *shared.address.lock().unwrap() = address.clone();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, address }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Serves bytes at a path.
    pub(crate) fn serve(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.edit(path, |route| route.body = body.into());
    }

    pub(crate) fn faults(&self, path: &str, faults: &[Fault]) {
        self.edit(path, |route| route.faults = faults.iter().cloned().collect());
    }

    pub(crate) fn redirect(&self, path: &str, to: String) {
        self.edit(path, |route| route.redirect = Some(to));
    }

    pub(crate) fn want_token(&self, path: &str) {
        self.edit(path, |route| route.wants_token = true);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
    }

    /// Requests for this path.
    pub(crate) fn asked(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path == path).collect()
    }

    fn edit(&self, path: &str, change: impl FnOnce(&mut Route)) {
        change(self.shared.routes.lock().unwrap().entry(path.to_owned()).or_default());
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let text = |name| request.headers().get(name).map(|value: &header::HeaderValue| value.to_str().unwrap().to_owned());
    let seen = Seen { path: path.clone(), range: text(header::RANGE), authorization: text(header::AUTHORIZATION) };
    shared.seen.lock().unwrap().push(seen.clone());
    if path == "/token" {
        return plain(StatusCode::OK, format!(r#"{{"token":"{TOKEN}"}}"#));
    }
    let mut routes = shared.routes.lock().unwrap();
    let challenged = |wants: bool| wants && seen.authorization.as_deref() != Some(&format!("Bearer {TOKEN}"));
    let any_token = routes.values().any(|route| route.wants_token);
    if path == "/v2/" && challenged(any_token) {
        return challenge(&shared);
    }
    let Some(route) = routes.get_mut(&path) else { return plain(StatusCode::NOT_FOUND, "no such thing".to_owned()) };
    if challenged(route.wants_token) {
        return challenge(&shared);
    }
    if let Some(to) = &route.redirect {
        return Response::builder().status(307).header(header::LOCATION, to).body(Body::empty()).unwrap();
    }
    match route.faults.pop_front() {
        Some(fault) => lie(fault, route, &seen),
        None => truth(route, &seen),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

fn challenge(shared: &Shared) -> Response<Body> {
    let address = shared.address.lock().unwrap().clone();
    let value = format!(r#"Bearer realm="{address}/token",service="lab""#);
    Response::builder().status(401).header(header::WWW_AUTHENTICATE, value).body(Body::empty()).unwrap()
}

fn start_of(range: Option<&str>) -> Option<usize> {
    range?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
}

fn truth(route: &Route, seen: &Seen) -> Response<Body> {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/octet-stream");
    let total = route.body.len();
    match start_of(seen.range.as_deref()) {
        Some(start) if start >= total => plain(StatusCode::RANGE_NOT_SATISFIABLE, String::new()),
        Some(start) => response
            .status(206)
            .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{total}", total - 1))
            .body(Body::from(route.body[start..].to_vec()))
            .unwrap(),
        None => response.body(Body::from(route.body.clone())).unwrap(),
    }
}

fn lie(fault: Fault, route: &Route, seen: &Seen) -> Response<Body> {
    let start = start_of(seen.range.as_deref()).unwrap_or(0);
    let part = |count: usize| Bytes::copy_from_slice(&route.body[start..(start + count).min(route.body.len())]);
    let response = || {
        let range = format!("bytes {start}-{}/{}", route.body.len() - 1, route.body.len());
        match start {
            0 => Response::builder().status(200),
            _ => Response::builder().status(206).header(header::CONTENT_RANGE, range),
        }
    };
    match fault {
        Fault::Status(status, retry_after) => {
            let mut response = Response::builder().status(status);
            if let Some(after) = retry_after {
                response = response.header(header::RETRY_AFTER, after);
            }
            response.body(Body::empty()).unwrap()
        }
        Fault::Cut(count) => {
            let pieces = stream::iter([Ok(part(count)), Err(std::io::Error::other("cut"))]);
            // The pause lets the bytes leave before the connection is torn down.
            let pieces = pieces.then(|piece| async move {
                tokio::time::sleep(Duration::from_millis(if piece.is_err() { 30 } else { 0 })).await;
                piece
            });
            let length = route.body.len() - start;
            response().header(header::CONTENT_LENGTH, length).body(Body::from_stream(pieces)).unwrap()
        }
        Fault::Stall(count) => {
            let first = stream::iter([Ok::<_, Infallible>(part(count))]);
            response().body(Body::from_stream(first.chain(stream::pending()))).unwrap()
        }
        Fault::EndEarly(count) => {
            response().body(Body::from_stream(stream::iter([Ok::<_, Infallible>(part(count))]))).unwrap()
        }
        Fault::LoginPage => Response::builder()
            .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
            .body(Body::from("<!DOCTYPE html><title>Welcome to the hotel</title>"))
            .unwrap(),
        Fault::Instead(bytes) => Response::builder().body(Body::from(bytes)).unwrap(),
        Fault::IgnoreRange => Response::builder().status(200).body(Body::from(route.body.clone())).unwrap(),
        Fault::WrongRange => {
            let total = route.body.len();
            let range = format!("bytes 1-{}/{total}", total - 1);
            let response = Response::builder().status(206).header(header::CONTENT_RANGE, range);
            response.body(Body::from(route.body[1..].to_vec())).unwrap()
        }
    }
}
