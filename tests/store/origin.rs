//! A server that counts what it sends, on loopback: files and registry documents by their paths.

use std::{
    collections::BTreeMap,
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
use futures::{StreamExt as _, stream};

/// Bytes of a body that leave at once.
const PIECE: usize = 64 * 1024;
/// Small on purpose: bytes that lie in a socket look like sent ones.
const SOCKET_BUFFER: u32 = 64 * 1024;

#[derive(Default)]
struct Shared {
    bodies: Mutex<BTreeMap<String, Bytes>>,
    sent: Mutex<BTreeMap<String, u64>>,
    requests: Mutex<u64>,
    pause: Mutex<Duration>,
}

/// The server; it stops with its runtime.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    address: String,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(SOCKET_BUFFER).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, address }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) fn serve(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.shared.bodies.lock().unwrap().insert(path.to_owned(), Bytes::from(body.into()));
    }

    /// What is served at a path.
    pub(crate) fn body(&self, path: &str) -> Vec<u8> {
        self.shared.bodies.lock().unwrap()[path].to_vec()
    }

    /// Waits so long before each piece of a body.
    pub(crate) fn pause(&self, pause: Duration) {
        *self.shared.pause.lock().unwrap() = pause;
    }

    /// Bytes of bodies that left, by path.
    pub(crate) fn sent(&self) -> BTreeMap<String, u64> {
        self.shared.sent.lock().unwrap().clone()
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent().values().sum()
    }

    pub(crate) fn requests(&self) -> u64 {
        *self.shared.requests.lock().unwrap()
    }

    pub(crate) fn forget(&self) {
        self.shared.sent.lock().unwrap().clear();
        *self.shared.requests.lock().unwrap() = 0;
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    *shared.requests.lock().unwrap() += 1;
    let path = request.uri().path().to_owned();
    let Some(body) = shared.bodies.lock().unwrap().get(&path).cloned() else {
        return Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap();
    };
    let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let (start, end) = match range.and_then(|range| range.split_once('-')) {
        None => (0, body.len()),
        Some((start, end)) => (start.parse().unwrap(), end.parse::<usize>().map_or(body.len(), |end| end + 1)),
    };
    let mut response = Response::builder().header(header::CONTENT_LENGTH, end - start);
    if range.is_some() {
        let range = format!("bytes {start}-{}/{}", end - 1, body.len());
        response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range);
    }
    let pieces = (start..end).step_by(PIECE).map(move |at| body.slice(at..end.min(at + PIECE)));
    let paced = stream::iter(pieces.collect::<Vec<_>>()).then(move |piece| {
        let (shared, path) = (Arc::clone(&shared), path.clone());
        async move {
            let pause = *shared.pause.lock().unwrap();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            *shared.sent.lock().unwrap().entry(path).or_default() += piece.len() as u64;
            Ok::<_, Infallible>(piece)
        }
    });
    response.body(Body::from_stream(paced)).unwrap()
}
