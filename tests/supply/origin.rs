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
    /// Answer this status with these headers and this body.
    Refuse(u16, &'static [(&'static str, &'static str)], &'static str),
    /// Announce everything, send this many bytes, break the connection.
    Cut(usize),
    /// As `Cut`; from then on there are other bytes under another entity tag.
    CutAndReplace(usize, &'static [u8]),
    /// Take back every pull token that was given.
    ExpireToken,
    /// Never begin to answer.
    Silence,
    /// Send this many bytes, then nothing for ever.
    Stall(usize),
    /// Send this many bytes and call that the end.
    EndEarly(usize),
    /// Send and never end.
    Endless,
    /// A login page, as a captive portal sends it.
    LoginPage,
    /// Other bytes, with the right status.
    Instead(&'static [u8]),
    /// The whole body where a part was asked for.
    IgnoreRange,
    /// Another part than the one asked for.
    WrongRange,
    /// A part, whatever `If-Range` says.
    IgnoreIfRange,
}

#[derive(Default)]
struct Route {
    body: Vec<u8>,
    faults: VecDeque<Fault>,
    redirect: Option<String>,
    wants: Wants,
    etag: Option<String>,
    modified: Option<String>,
}

/// What a path wants to see before it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Wants {
    #[default]
    Nothing,
    Token,
    Password,
    This(String),
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
    pub(crate) if_range: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    routes: Mutex<HashMap<String, Route>>,
    seen: Mutex<Vec<Seen>>,
    address: Mutex<String>,
    tokens: Mutex<Tokens>,
}

/// The token service's memory.
#[derive(Default)]
struct Tokens {
    /// How many were given. A new one leaves those of other repositories valid, as registries do.
    given: usize,
    /// How many of them, from the first on, were taken back.
    expired: usize,
    /// `Authorization` that the service wants to see.
    wants: Option<String>,
    /// What a refresh token must be.
    wants_refresh: Option<String>,
}

impl Tokens {
    fn accept(&self, authorization: Option<&str>) -> bool {
        let number =
            authorization.and_then(|text| text.strip_prefix("Bearer ")?.strip_prefix(TOKEN)?.strip_prefix('-'));
        number
            .and_then(|number| number.parse().ok())
            .is_some_and(|number| self.expired < number && number <= self.given)
    }
}

/// The server; it stops with the test's runtime.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    address: String,
}

/// The token that the token service gives, followed by its number.
pub(crate) const TOKEN: &str = "pull-token";
/// The user and password that the server knows, and how a header writes them.
pub(crate) const LOGIN: (&str, &str) = ("teacher", "open-sesame");
const BASIC: &str = "Basic dGVhY2hlcjpvcGVuLXNlc2FtZQ==";

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

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Serves bytes at a path.
    pub(crate) fn serve(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.edit(path, |route| route.body = body.into());
    }

    /// Serves nothing at a path any more.
    pub(crate) fn remove(&self, path: &str) {
        self.shared.routes.lock().unwrap().remove(path);
    }

    pub(crate) fn faults(&self, path: &str, faults: &[Fault]) {
        self.edit(path, |route| route.faults = faults.iter().cloned().collect());
    }

    /// Says when a path was last changed, as HTTP writes it.
    pub(crate) fn modified(&self, path: &str, date: &str) {
        self.edit(path, |route| route.modified = Some(date.to_owned()));
    }

    pub(crate) fn redirect(&self, path: &str, to: String) {
        self.edit(path, |route| route.redirect = Some(to));
    }

    pub(crate) fn want_token(&self, path: &str) {
        self.edit(path, |route| route.wants = Wants::Token);
    }

    /// This path wants a token that the test gives out itself.
    pub(crate) fn want_this_token(&self, path: &str, token: &str) {
        self.edit(path, |route| route.wants = Wants::This(format!("Bearer {token}")));
    }

    /// This path wants name and password, without a token service.
    pub(crate) fn want_password(&self, path: &str) {
        self.edit(path, |route| route.wants = Wants::Password);
    }

    /// The token service gives tokens for name and password only.
    pub(crate) fn want_login(&self) {
        self.shared.tokens.lock().unwrap().wants = Some(BASIC.to_owned());
    }

    /// The token service gives tokens for this refresh token only.
    pub(crate) fn want_refresh_token(&self, token: &str) {
        self.shared.tokens.lock().unwrap().wants_refresh = Some(token.to_owned());
    }

    pub(crate) fn tag(&self, path: &str, etag: &str) {
        self.edit(path, |route| route.etag = Some(etag.to_owned()));
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
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let text = |name| head.headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap().to_owned());
    let seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
        if_range: text(header::IF_RANGE),
        range: text(header::RANGE),
        authorization: text(header::AUTHORIZATION),
    };
    shared.seen.lock().unwrap().push(seen.clone());
    match judge(&shared, &seen) {
        Some(response) => response,
        None => std::future::pending().await,
    }
}

/// What to answer; nothing for silence.
fn judge(shared: &Shared, seen: &Seen) -> Option<Response<Body>> {
    let mut routes = shared.routes.lock().unwrap();
    let mut tokens = shared.tokens.lock().unwrap();
    if seen.path == "/token" && !routes.contains_key("/token") {
        return Some(give_token(&mut tokens, seen));
    }
    let Some(route) = routes.get_mut(&seen.path) else {
        return Some(plain(StatusCode::NOT_FOUND, "no such thing".to_owned()));
    };
    if let Some(Fault::ExpireToken) = route.faults.front() {
        route.faults.pop_front();
        tokens.expired = tokens.given;
    }
    match &route.wants {
        Wants::This(token) if seen.authorization.as_ref() != Some(token) => return Some(challenge(shared)),
        Wants::Token if !tokens.accept(seen.authorization.as_deref()) => {
            return Some(challenge(shared));
        }
        Wants::Password if seen.authorization.as_deref() != Some(BASIC) => {
            let asks = Response::builder().status(401).header(header::WWW_AUTHENTICATE, r#"Basic realm="lab""#);
            return Some(asks.body(Body::empty()).unwrap());
        }
        _ => {}
    }
    if let Some(to) = &route.redirect {
        return Some(Response::builder().status(307).header(header::LOCATION, to).body(Body::empty()).unwrap());
    }
    match route.faults.pop_front() {
        Some(Fault::Silence) => None,
        Some(fault) => Some(lie(fault, route, seen)),
        None => Some(truth(route, seen, true)),
    }
}

fn give_token(tokens: &mut Tokens, seen: &Seen) -> Response<Body> {
    let refreshed = |wanted: &String| {
        seen.method == "POST"
            && url::form_urlencoded::parse(seen.body.as_bytes())
                .any(|(name, value)| name == "refresh_token" && value == *wanted)
    };
    let allowed = match (&tokens.wants, &tokens.wants_refresh) {
        (Some(wanted), _) => seen.authorization.as_ref() == Some(wanted),
        (None, Some(wanted)) => refreshed(wanted),
        (None, None) => true,
    };
    if !allowed {
        return plain(StatusCode::UNAUTHORIZED, "incorrect username or password".to_owned());
    }
    tokens.given += 1;
    let name = if seen.method == "POST" { "access_token" } else { "token" };
    plain(StatusCode::OK, format!(r#"{{"{name}":"{TOKEN}-{}","expires_in":300}}"#, tokens.given))
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

fn truth(route: &Route, seen: &Seen, minds_if_range: bool) -> Response<Body> {
    let mut response = Response::builder().header(header::CONTENT_TYPE, "application/octet-stream");
    if let Some(etag) = &route.etag {
        response = response.header(header::ETAG, etag);
    }
    if let Some(date) = &route.modified {
        response = response.header(header::LAST_MODIFIED, date);
    }
    let total = route.body.len();
    let same = !minds_if_range || seen.if_range.is_none() || seen.if_range == route.etag;
    match start_of(seen.range.as_deref()).filter(|_| same) {
        Some(start) if start >= total => plain(StatusCode::RANGE_NOT_SATISFIABLE, String::new()),
        Some(start) => response
            .status(206)
            .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{total}", total - 1))
            .body(Body::from(route.body[start..].to_vec()))
            .unwrap(),
        None => response.body(Body::from(route.body.clone())).unwrap(),
    }
}

fn lie(fault: Fault, route: &mut Route, seen: &Seen) -> Response<Body> {
    let start = start_of(seen.range.as_deref()).unwrap_or(0);
    let part = |count: usize| Bytes::copy_from_slice(&route.body[start..(start + count).min(route.body.len())]);
    let response = || {
        let range = format!("bytes {start}-{}/{}", route.body.len() - 1, route.body.len());
        let response = match start {
            0 => Response::builder().status(200),
            _ => Response::builder().status(206).header(header::CONTENT_RANGE, range),
        };
        match &route.etag {
            Some(etag) => response.header(header::ETAG, etag),
            None => response,
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
        Fault::Refuse(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(Body::from(body)).unwrap()
        }
        // Taken off before they come here.
        Fault::ExpireToken | Fault::Silence => truth(route, seen, true),
        Fault::IgnoreIfRange => truth(route, seen, false),
        Fault::CutAndReplace(count, body) => {
            let cut = lie(Fault::Cut(count), route, seen);
            route.body = body.to_vec();
            route.etag = Some("\"replaced\"".to_owned());
            cut
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
        Fault::Endless => {
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            Response::builder().body(Body::from_stream(stream::repeat(Ok::<_, Infallible>(piece)))).unwrap()
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
