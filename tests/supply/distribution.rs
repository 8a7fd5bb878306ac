//! A registry that takes pushes, in memory and on loopback, as the distribution specification has it; and what real ones
//! do wrong.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, Response, StatusCode, header},
};
use serde_json::{Value, json};
use ztlab::base::Digest;

/// What to do instead of the truth, once each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mishap {
    /// Answer this status, with this `Retry-After`.
    Status(u16, Option<&'static str>),
    /// Do as asked, and then answer this status.
    After(u16),
    /// Say that something else is kept.
    OtherDigest,
    /// Say that it is there, and of another length.
    OtherLength,
    /// Never answer.
    Silence,
}

/// Whom the registry serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Door {
    #[default]
    Open,
    /// Name and password with every request.
    Password,
    /// A token with the right scope, from a service that wants name and password.
    Token,
}

/// How a registry mounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mounts {
    #[default]
    Yes,
    /// Opens an upload instead, as the specification allows.
    Never,
    /// Answers 404.
    Unknown,
}

/// Where bytes of an upload go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Uploads {
    /// Here, by a whole address.
    #[default]
    Here,
    /// Here, by a path and a query.
    Relative,
    /// To this server.
    At(String),
    /// Here; and from here to this server.
    Redirected(String),
}

#[derive(Debug, Default)]
struct Repository {
    blobs: BTreeSet<Digest>,
    manifests: BTreeMap<Digest, (String, Vec<u8>)>,
    tags: BTreeMap<String, Digest>,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) length: usize,
}

#[derive(Default)]
struct Inside {
    address: String,
    bytes: HashMap<Digest, Vec<u8>>,
    repositories: BTreeMap<String, Repository>,
    asked: Vec<Asked>,
    mishaps: Vec<(Method, String, VecDeque<Mishap>)>,
    door: Door,
    mounts: Mounts,
    uploads: Uploads,
    /// Digests that it says it has.
    claims: BTreeSet<Digest>,
    sessions: usize,
}

/// The registry; it stops with the test's runtime.
pub(crate) struct Distribution {
    inside: Arc<Mutex<Inside>>,
}

/// The user and password that the registry knows, and how a header writes them.
pub(crate) const LOGIN: (&str, &str) = ("teacher", "open-sesame");
const BASIC: &str = "Basic dGVhY2hlcjpvcGVuLXNlc2FtZQ==";

impl Distribution {
    pub(crate) async fn start() -> Self {
        let registry = Self { inside: Arc::default() };
        registry.listen().await;
        registry
    }

    /// A server beside it that keeps what it gets for the same registry, and asks for nothing.
    pub(crate) async fn storage(&self) -> Self {
        let storage = Self { inside: Arc::default() };
        storage.listen().await;
        let (theirs, ours) = (Arc::clone(&self.inside), Arc::clone(&storage.inside));
        let router = Router::new().fallback(move |request: Request| {
            let (theirs, ours) = (Arc::clone(&theirs), Arc::clone(&ours));
            async move {
                let (asked, body) = read(request).await;
                ours.lock().unwrap().asked.push(asked.clone());
                theirs.lock().unwrap().keep(&asked, body)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        storage.inside.lock().unwrap().address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        storage
    }

    async fn listen(&self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.inside.lock().unwrap().address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&self.inside));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    pub(crate) fn address(&self) -> String {
        self.inside.lock().unwrap().address.clone()
    }

    pub(crate) fn host(&self) -> String {
        self.address().trim_start_matches("http://").to_owned()
    }

    /// The next requests of this method whose path has `part` in it.
    pub(crate) fn mishaps(&self, method: Method, part: &str, mishaps: &[Mishap]) {
        self.inside.lock().unwrap().mishaps.push((method, part.to_owned(), mishaps.iter().copied().collect()));
    }

    pub(crate) fn door(&self, door: Door) {
        self.inside.lock().unwrap().door = door;
    }

    pub(crate) fn mounts(&self, mounts: Mounts) {
        self.inside.lock().unwrap().mounts = mounts;
    }

    pub(crate) fn uploads(&self, uploads: Uploads) {
        self.inside.lock().unwrap().uploads = uploads;
    }

    /// Says from now on that every repository has this blob.
    pub(crate) fn claim(&self, digest: Digest) {
        self.inside.lock().unwrap().claims.insert(digest);
    }

    /// Serves other bytes under this digest from now on.
    pub(crate) fn spoil(&self, digest: Digest, bytes: &[u8]) {
        self.inside.lock().unwrap().bytes.insert(digest, bytes.to_vec());
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.inside.lock().unwrap().asked.clone()
    }

    /// Requests of this method whose path has `part` in it.
    pub(crate) fn count(&self, method: &Method, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.method == method && asked.path.contains(part)).count()
    }

    pub(crate) fn forget(&self) {
        self.inside.lock().unwrap().asked.clear();
    }

    /// Bytes that came with requests.
    pub(crate) fn received(&self) -> usize {
        self.asked().iter().filter(|asked| asked.method == Method::PUT).map(|asked| asked.length).sum()
    }

    /// `repository:tag` of everything that is tagged.
    pub(crate) fn tags(&self) -> BTreeSet<String> {
        let inside = self.inside.lock().unwrap();
        let tags = |(name, found): (&String, &Repository)| {
            found.tags.keys().map(|tag| format!("{name}:{tag}")).collect::<Vec<_>>()
        };
        inside.repositories.iter().flat_map(tags).collect()
    }

    /// What a tag or digest stands for: its media type and bytes.
    pub(crate) fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        self.inside.lock().unwrap().repositories.get(repository)?.manifest(name).map(|(_, found)| found)
    }

    pub(crate) fn has(&self, repository: &str, digest: Digest) -> bool {
        self.inside.lock().unwrap().repositories.get(repository).is_some_and(|found| found.blobs.contains(&digest))
    }
}

impl Repository {
    fn manifest(&self, name: &str) -> Option<(Digest, (String, Vec<u8>))> {
        let digest = name.parse().ok().or_else(|| self.tags.get(name).copied())?;
        Some((digest, self.manifests.get(&digest)?.clone()))
    }
}

async fn read(request: Request) -> (Asked, Result<Vec<u8>, axum::Error>) {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 30).await.map(|bytes| bytes.to_vec());
    let text = |name| head.headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap().to_owned());
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        authorization: text(header::AUTHORIZATION),
        length: body.as_ref().map_or(0, Vec::len),
    };
    let media_type = text(header::CONTENT_TYPE).unwrap_or_default();
    // Kept with the query, so that one value says everything.
    let asked = Asked { query: if asked.path.contains("/manifests/") { media_type } else { asked.query }, ..asked };
    (asked, body)
}

async fn answer(State(inside): State<Arc<Mutex<Inside>>>, request: Request) -> Response<Body> {
    let (asked, body) = read(request).await;
    let answer = decide(&mut inside.lock().unwrap(), &asked, body);
    match answer {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}

/// What to answer; nothing for silence.
fn decide(inside: &mut Inside, asked: &Asked, body: Result<Vec<u8>, axum::Error>) -> Option<Response<Body>> {
    inside.asked.push(asked.clone());
    if asked.path == "/token" {
        return Some(inside.give_token(asked));
    }
    if let Some(refused) = inside.refuse(asked) {
        return Some(refused);
    }
    let found = |(method, part, mishaps): &&mut (Method, String, VecDeque<Mishap>)| {
        *method == asked.method && asked.path.contains(part.as_str()) && !mishaps.is_empty()
    };
    let mishap = inside.mishaps.iter_mut().find(found).and_then(|(_, _, mishaps)| mishaps.pop_front());
    Some(match mishap {
        None => inside.obey(asked, body),
        Some(Mishap::Silence) => return None,
        Some(Mishap::Status(status, after)) => {
            let answer = Response::builder().status(status);
            let answer = if let Some(after) = after { answer.header(header::RETRY_AFTER, after) } else { answer };
            answer.body(Body::from(r#"{"errors":[{"code":"DENIED","message":"not today"}]}"#)).unwrap()
        }
        Some(Mishap::After(status)) => {
            inside.obey(asked, body);
            plain(status)
        }
        // The server leaves the body of an answer to HEAD away, and its length is told.
        Some(Mishap::OtherLength) => Response::new(Body::from("cut")),
        Some(Mishap::OtherDigest) => {
            let mut answer = inside.obey(asked, body);
            let other = Digest::of(b"something else").to_string().parse().unwrap();
            answer.headers_mut().insert("docker-content-digest", other);
            answer
        }
    })
}

fn plain(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

/// Name, kind and the rest of a path below `/v2/`.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let rest = path.strip_prefix("/v2/")?;
    for kind in ["/blobs/uploads/", "/blobs/", "/manifests/"] {
        if let Some((name, rest)) = rest.rsplit_once(kind) {
            return Some((name, kind.trim_matches('/'), rest));
        }
    }
    None
}

fn parameter(query: &str, wanted: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

impl Inside {
    fn give_token(&self, asked: &Asked) -> Response<Body> {
        if asked.authorization.as_deref() != Some(BASIC) {
            return plain(401);
        }
        let scopes: Vec<String> = url::form_urlencoded::parse(asked.query.as_bytes())
            .filter(|(name, _)| name == "scope")
            .map(|(_, value)| value.into_owned())
            .collect();
        Response::new(Body::from(json!({ "token": format!("for {}", scopes.join(" ")) }).to_string()))
    }

    /// What somebody gets who may not do that.
    fn refuse(&self, asked: &Asked) -> Option<Response<Body>> {
        let challenge = |text: String| {
            Response::builder().status(401).header(header::WWW_AUTHENTICATE, text).body(Body::empty()).unwrap()
        };
        match self.door {
            Door::Open => None,
            Door::Password if asked.authorization.as_deref() == Some(BASIC) => None,
            Door::Password => Some(challenge(r#"Basic realm="lab""#.to_owned())),
            Door::Token => {
                let (name, ..) = split(&asked.path)?;
                let mut wanted = match asked.method {
                    Method::GET | Method::HEAD => vec![format!("repository:{name}:pull")],
                    _ => vec![format!("repository:{name}:pull,push")],
                };
                wanted.extend(parameter(&asked.query, "from").map(|from| format!("repository:{from}:pull")));
                let given = asked.authorization.as_deref().and_then(|text| text.strip_prefix("Bearer for "));
                let given: Vec<&str> = given.unwrap_or_default().split(' ').collect();
                let reads = |scope: &str| scope.replace(":pull,push", ":pull");
                let allowed = |scope: &String| given.iter().any(|one| *one == scope || reads(one) == *scope);
                if wanted.iter().all(allowed) {
                    return None;
                }
                let address = &self.address;
                let scope = wanted.join(" ");
                Some(challenge(format!(r#"Bearer realm="{address}/token",service="lab",scope="{scope}""#)))
            }
        }
    }

    fn obey(&mut self, asked: &Asked, body: Result<Vec<u8>, axum::Error>) -> Response<Body> {
        let Some((name, kind, rest)) = split(&asked.path) else { return plain(404) };
        match (asked.method.as_str(), kind) {
            ("HEAD" | "GET", "blobs") => self.blob(name, rest, asked.method == Method::HEAD),
            ("HEAD" | "GET", "manifests") => self.manifest(name, rest),
            ("POST", "blobs/uploads") => self.begin(name, &asked.query),
            ("PUT", "blobs/uploads") => match &self.uploads {
                Uploads::Redirected(to) => {
                    let to = format!("{to}{}?{}", asked.path, asked.query);
                    Response::builder().status(307).header(header::LOCATION, to).body(Body::empty()).unwrap()
                }
                _ => self.keep(asked, body),
            },
            ("PUT", "manifests") => self.name(name, rest, &asked.query, body.unwrap()),
            _ => plain(405),
        }
    }

    fn blob(&self, name: &str, digest: &str, only_head: bool) -> Response<Body> {
        let Ok(digest) = digest.parse::<Digest>() else { return plain(400) };
        let here = self.repositories.get(name).is_some_and(|repository| repository.blobs.contains(&digest));
        match self.bytes.get(&digest).filter(|_| here) {
            Some(bytes) => Response::new(Body::from(bytes.clone())),
            None if only_head && self.claims.contains(&digest) => plain(200),
            None => plain(404),
        }
    }

    fn manifest(&self, name: &str, reference: &str) -> Response<Body> {
        let found = self.repositories.get(name).and_then(|repository| repository.manifest(reference));
        let Some((digest, (media_type, bytes))) = found else { return plain(404) };
        Response::builder()
            .header(header::CONTENT_TYPE, media_type)
            .header("docker-content-digest", digest.to_string())
            .body(Body::from(bytes))
            .unwrap()
    }

    fn begin(&mut self, name: &str, query: &str) -> Response<Body> {
        if let (Some(digest), Some(from)) = (parameter(query, "mount"), parameter(query, "from")) {
            let digest: Digest = digest.parse().unwrap();
            let there = self.repositories.get(&from).is_some_and(|from| from.blobs.contains(&digest));
            match self.mounts {
                Mounts::Yes if there || self.claims.contains(&digest) => {
                    self.repositories.entry(name.to_owned()).or_default().blobs.insert(digest);
                    return plain(201);
                }
                Mounts::Unknown => return plain(404),
                Mounts::Yes | Mounts::Never => {}
            }
        }
        self.sessions += 1;
        let path = format!("/v2/{name}/blobs/uploads/{}?_state=a%2Fb", self.sessions);
        let location = match &self.uploads {
            Uploads::Relative => path,
            Uploads::At(address) => format!("{address}{path}"),
            Uploads::Here | Uploads::Redirected(_) => format!("{}{path}", self.address),
        };
        Response::builder().status(202).header(header::LOCATION, location).body(Body::empty()).unwrap()
    }

    fn keep(&mut self, asked: &Asked, body: Result<Vec<u8>, axum::Error>) -> Response<Body> {
        let (Some((name, _, _)), Some(digest), Some(state), Ok(body)) =
            (split(&asked.path), parameter(&asked.query, "digest"), parameter(&asked.query, "_state"), body)
        else {
            return plain(400);
        };
        let found = Digest::of(&body);
        if digest != found.to_string() || state != "a/b" {
            return plain(400);
        }
        self.bytes.insert(found, body);
        self.repositories.entry(name.to_owned()).or_default().blobs.insert(found);
        Response::builder().status(201).header("docker-content-digest", digest).body(Body::empty()).unwrap()
    }

    /// Takes a manifest when everything that it names is in the repository.
    fn name(&mut self, name: &str, reference: &str, media_type: &str, bytes: Vec<u8>) -> Response<Body> {
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let claims = self.claims.clone();
        let repository = self.repositories.entry(name.to_owned()).or_default();
        let listed = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        let digest = |entry: &Value| entry["digest"].as_str().unwrap().parse::<Digest>().unwrap();
        let blobs = listed("layers").into_iter().chain([document["config"].clone()]).filter(Value::is_object);
        let lacking: Vec<Digest> = blobs
            .map(|entry| digest(&entry))
            .filter(|digest| !repository.blobs.contains(digest) && !claims.contains(digest))
            .chain(listed("manifests").iter().map(digest).filter(|digest| !repository.manifests.contains_key(digest)))
            .collect();
        if !lacking.is_empty() {
            let errors = json!({ "errors": [{ "code": "MANIFEST_BLOB_UNKNOWN", "message": format!("{lacking:?}") }] });
            return Response::builder().status(StatusCode::BAD_REQUEST).body(Body::from(errors.to_string())).unwrap();
        }
        assert_eq!(document["mediaType"], media_type);
        let found = Digest::of(&bytes);
        repository.manifests.insert(found, (media_type.to_owned(), bytes));
        if reference.parse::<Digest>().is_err() {
            repository.tags.insert(reference.to_owned(), found);
        }
        Response::builder().status(201).header("docker-content-digest", found.to_string()).body(Body::empty()).unwrap()
    }
}
