//! One request. Everything that must hold for every request to the outside is here, below everybody.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use oci_spec::distribution::Reference;
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::base::{Reporter, reference::split_reference};

use super::{
    FetchError, Network, Proxies,
    http::Http,
    registry::Parcel,
    source::{Location, Part},
    throttle::Throttle,
    token::{Pass, Refusal, Tokens},
};

/// How long connecting to a laptop of the room may take: it is near, or it cannot be reached.
const PEER_PATIENCE: Duration = Duration::from_secs(3);

/// Told to every server.
pub(super) const USER_AGENT: &str = concat!("ztlab/", env!("CARGO_PKG_VERSION"));

/// The way out. One per run, shared by everything that asks the network.
pub struct Client {
    http: Http,
    /// Follows no redirect: what changes something is sent where we decide.
    changes: Http,
    /// For laptops of the room.
    peers: Http,
    network: Network,
    tokens: Tokens,
    throttle: Option<Arc<Throttle>>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    reporter: Arc<dyn Reporter>,
    requests: AtomicU64,
    refused: AtomicU64,
    received: AtomicU64,
}

/// One request as it is to be sent.
pub(super) struct Demand<'a> {
    pub(super) method: Method,
    pub(super) location: &'a Location,
    pub(super) headers: &'a HeaderMap,
    /// What goes along; such a request follows no redirect.
    pub(super) parcel: Option<&'a Parcel>,
}

/// A successful answer whose body is still to come. Holds its place among the host's requests.
pub(super) struct Answer {
    pub(super) response: reqwest::Response,
    _place: OwnedSemaphorePermit,
}

impl Client {
    /// Makes a client; opens no connection.
    ///
    /// # Errors
    /// When a proxy has no usable address.
    pub fn new(network: Network, reporter: Arc<dyn Reporter>) -> Result<Self, FetchError> {
        let http = Http::new(&network, true)?;
        let changes = Http::new(&network, false)?;
        // A pool of its own: a token request goes to another host than the blobs, and follows no redirect.
        let tokens = Http::new(&network, false)?;
        let connect_timeout = network.connect_timeout.min(PEER_PATIENCE);
        let nearby = Network { connect_timeout, proxies: Proxies::Direct, ..network.clone() };
        let peers = Http::new(&nearby, false)?;
        Ok(Self {
            http,
            changes,
            peers,
            tokens: Tokens::new(tokens, network.credentials.clone(), network.idle_timeout),
            throttle: network.max_rate.map(|rate| Arc::new(Throttle::new(rate))),
            network,
            hosts: Mutex::default(),
            reporter,
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            received: AtomicU64::new(0),
        })
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many requests the offline switch refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many bytes of bodies came.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Who hears what happens here.
    pub fn reporter(&self) -> &dyn Reporter {
        self.reporter.as_ref()
    }

    /// The same, for a blocking task that outlives the borrow.
    pub fn shared_reporter(&self) -> Arc<dyn Reporter> {
        Arc::clone(&self.reporter)
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Whether a request may leave for this address: https, or plain HTTP that stays here or was named.
    pub(super) fn allows(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.network.mirrors.allows_plain_http(url)
    }

    pub(super) fn throttle(&self) -> Option<Arc<Throttle>> {
        self.throttle.clone()
    }

    /// Where a file is, mirrors applied.
    ///
    /// # Errors
    /// When the text is no address.
    pub fn file_locations(&self, url: &str) -> Result<Vec<Location>, FetchError> {
        self.network.mirrors.file(url)
    }

    /// Where a manifest or index is, mirrors applied. `name` is a tag or a digest.
    ///
    /// # Errors
    /// When the text is no image reference.
    pub fn manifest_locations(&self, reference: &str, name: &str) -> Result<Vec<Location>, FetchError> {
        self.network.mirrors.registry(&parse_reference(reference)?, Part::Manifest(name))
    }

    /// Where a config or layer is, mirrors applied.
    ///
    /// # Errors
    /// When the text is no image reference.
    pub fn blob_locations(&self, reference: &str, digest: &str) -> Result<Vec<Location>, FetchError> {
        self.network.mirrors.registry(&parse_reference(reference)?, Part::Blob(digest))
    }

    /// Sends a GET and returns a 2xx answer.
    pub(super) async fn send(&self, location: &Location, headers: &HeaderMap) -> Result<Answer, FetchError> {
        self.ask(Method::GET, location, headers).await
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        location: &Location,
        headers: &HeaderMap,
    ) -> Result<Answer, FetchError> {
        let (response, place) = self.exchange(&Demand { method, location, headers, parcel: None }).await?;
        if !response.status().is_success() {
            return Err(self.refusal(location, response).await);
        }
        Ok(Answer { response, _place: place })
    }

    /// Sends a request, with what the registry wants to see, and returns whatever the answer is.
    pub(super) async fn exchange(
        &self,
        demand: &Demand<'_>,
    ) -> Result<(reqwest::Response, OwnedSemaphorePermit), FetchError> {
        let location = demand.location;
        let url = location.shown();
        if self.network.offline {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(FetchError::Offline { url });
        }
        if !location.is_peer && !self.allows(&location.url) {
            return Err(FetchError::PlainHttp { url });
        }
        let place = self.place(&location.url).await;
        let access = &location.access;
        let pass = match &location.scope {
            Some(scope) => self.tokens.get(scope, access).await,
            None => None,
        };
        let mut response = self.send_once(demand, pass.as_ref()).await?;
        if let (StatusCode::UNAUTHORIZED, Some(scope)) = (response.status(), &location.scope)
            // Whoever a registry redirects to has no say in where its credentials go.
            && response.url().origin() == location.url.origin()
        {
            let refusal = Refusal { scope, access, url: &location.url, headers: response.headers(), shown: pass };
            let asked = || _ = self.requests.fetch_add(1, Ordering::Relaxed);
            if let Some(pass) = self.tokens.renew(&refusal, self.reporter(), &asked).await? {
                response = self.send_once(demand, Some(&pass)).await?;
            }
        }
        Ok((response, place))
    }

    /// The next piece of a body; silence is an error.
    pub(super) async fn chunk(
        &self,
        answer: &mut Answer,
        location: &Location,
        received: u64,
    ) -> Result<Option<bytes::Bytes>, FetchError> {
        let limit = self.network.idle_timeout;
        match tokio::time::timeout(limit, answer.response.chunk()).await {
            Ok(Ok(chunk)) => {
                let length = chunk.as_ref().map_or(0, bytes::Bytes::len);
                self.received.fetch_add(length as u64, Ordering::Relaxed);
                if let Some(throttle) = &self.throttle {
                    throttle.take(length).await;
                }
                Ok(chunk)
            }
            Ok(Err(source)) => {
                Err(FetchError::Interrupted { url: location.shown(), received, source: source.without_url() })
            }
            Err(_) => Err(FetchError::Stalled { url: location.shown(), seconds: limit.as_secs(), received }),
        }
    }

    async fn send_once(&self, demand: &Demand<'_>, pass: Option<&Pass>) -> Result<reqwest::Response, FetchError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let location = demand.location;
        let changes = !matches!(demand.method, Method::GET | Method::HEAD);
        let http = match location.is_peer {
            true => &self.peers,
            false if changes => &self.changes,
            false => &self.http,
        };
        let mut request = http.get()?.request(demand.method.clone(), location.url.clone());
        request = request.headers(demand.headers.clone());
        if let Some(accept) = location.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(pass) = pass {
            request = pass.put_on(request);
        }
        let (limit, url) = (self.network.idle_timeout, location.shown());
        let Some(parcel) = demand.parcel else {
            return match tokio::time::timeout(limit, request.send()).await {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(source)) => Err(FetchError::Connect { url, source: source.without_url() }),
                Err(_) => Err(FetchError::Stalled { url, seconds: limit.as_secs(), received: 0 }),
            };
        };
        parcel.send(request, url, limit).await
    }

    /// A place among the requests to this host.
    async fn place(&self, url: &Url) -> OwnedSemaphorePermit {
        let host =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let semaphore = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let places = self.network.per_host.max(1);
            Arc::clone(hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(places))))
        };
        // The semaphore is never closed, so this loop runs once.
        loop {
            if let Ok(place) = Arc::clone(&semaphore).acquire_owned().await {
                return place;
            }
        }
    }
}

/// The media type without its parameters.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn parse_reference(text: &str) -> Result<Reference, FetchError> {
    let address = |problem: &str| FetchError::Address { text: text.to_owned(), problem: problem.to_owned() };
    let (registry, repository) = split_reference(text).map_err(address)?;
    // What is asked of the repository is said beside it; a tag takes no part in that.
    Ok(Reference::with_tag(registry, repository, "latest".to_owned()))
}
