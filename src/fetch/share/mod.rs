//! `fetch --share`: a laptop that takes the lab from others of its room while it gives them what it has. It tells the
//! room's server what it has and wants, and hears whom to ask for what; the bytes go from laptop to laptop.
//!
//! ```text
//! wire     question and answer
//! places   which addresses may be asked at all
//! here     the conversation with the server, for as long as it is worth something
//! ```
//!
//! Nothing of what the server says is believed: it names laptops to ask, and the lock decides about every byte. When it
//! says nothing any more, everybody who is known is asked for everything.

mod places;
mod wire;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, header::CONTENT_TYPE};
use tokio::sync::watch;
use url::Url;

use crate::{base::Digest, store::Store};

use super::{FetchError, Lanes, Network, blob::blocking, http::Http, source::shown};

pub use places::{PlaceError, address_towards};
pub use wire::{Answer, BlobOrder, BlobSet, Hello, PEERS, Part};

/// How often a laptop looks whether it has something new to say, and after how long it says something in any case.
const SOONEST: Duration = Duration::from_millis(400);
const LATEST: Duration = Duration::from_secs(2);
/// The same while it wants something: what it may have now it hears by asking.
const WANTING: Duration = Duration::from_millis(800);
/// Where nothing is new for so long, it looks less often.
const CALM: Duration = Duration::from_secs(10);
/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A server that has not answered for so long has nothing to say any more.
const DEAF: Duration = Duration::from_secs(10);
/// Whoever has got nothing from anybody for so long asks everybody for everything, whatever the server says.
const STARVED: Duration = Duration::from_secs(600);
/// Longest answer: some dozens of laptops with a set of blobs each.
const MOST_ANSWER: usize = 256 * 1024;

/// What is known of the room.
#[derive(Debug, Clone, Copy)]
pub struct RoomView {
    /// Other laptops that share and lack something.
    pub lacking: usize,
    /// When the server last said so.
    pub heard: Instant,
}

/// One laptop, as it presents itself to the server of its room.
pub struct Swarm {
    http: Http,
    server: Url,
    lab_id: Digest,
    order: BlobOrder,
    port: u16,
    jobs: u16,
    view: watch::Sender<RoomView>,
}

impl Swarm {
    /// `port`: where this laptop serves. `jobs`: transfers that it has room for.
    ///
    /// # Errors
    /// When a proxy has no usable address.
    pub fn new(
        network: &Network,
        server: Url,
        lab_id: Digest,
        order: BlobOrder,
        port: u16,
        jobs: usize,
    ) -> Result<Self, FetchError> {
        let (view, _) = watch::channel(RoomView { lacking: 0, heard: Instant::now() });
        let jobs = u16::try_from(jobs).unwrap_or(u16::MAX);
        // The server is whom the user named: it sends nobody elsewhere.
        Ok(Self { http: Http::new(network, false)?, server, lab_id, order, port, jobs, view })
    }

    /// What is known of the room, as it changes.
    pub fn view(&self) -> watch::Receiver<RoomView> {
        self.view.subscribe()
    }

    /// Presents this laptop: has these blobs, wants those. Then `lanes` follow what the server says.
    ///
    /// # Errors
    /// When the server does not answer, or knows nothing of laptops that share.
    pub async fn join(
        &self,
        lanes: &Lanes,
        have: impl IntoIterator<Item = Digest>,
        want: impl IntoIterator<Item = Digest>,
    ) -> Result<(), FetchError> {
        let hello = self.hello(self.order.set(have), self.order.set(want), Vec::new());
        let (answer, server) = self.ask(&hello).await?;
        lanes.follow(&self.server);
        self.take(lanes, &answer, server);
        Ok(())
    }

    /// Keeps the server informed and `lanes` up to date, for as long as it is not dropped.
    pub async fn run(&self, lanes: &Lanes, store: &Store) {
        let mut said: Option<(Hello, Instant)> = None;
        let (mut heard, mut fed) = (Instant::now(), (0, Instant::now()));
        let (mut alone, mut changed) = (false, Instant::now());
        loop {
            // Who has everything and only gives needs not look often.
            let is_calm = changed.elapsed() >= CALM && lanes.is_idle();
            tokio::time::sleep(if is_calm { LATEST } else { SOONEST }).await;
            let reading = store.clone();
            // A store that cannot be read is told by whoever fetches into it.
            let Ok(present) = blocking(move || reading.present()).await else { continue };
            let standing = lanes.standing();
            if standing.received != fed.0 || standing.waiting.is_empty() {
                fed = (standing.received, Instant::now());
            }
            let failed = standing.failed.into_iter().take(MOST_FAILED);
            let failed = failed.map(|(from, blobs)| Part { from, blobs: self.order.set(blobs) }).collect();
            let hello = self.hello(self.order.set(present.into_keys()), self.order.set(standing.waiting), failed);
            let patience = if hello.want.is_empty() { LATEST } else { WANTING };
            match &said {
                Some((before, at)) if *before == hello && at.elapsed() < patience => continue,
                Some((before, _)) if *before == hello => {}
                _ => changed = Instant::now(),
            }
            match self.ask(&hello).await {
                Ok((answer, server)) if fed.1.elapsed() < STARVED => {
                    self.take(lanes, &answer, server);
                    (heard, alone) = (Instant::now(), false);
                }
                Ok(_) => heard = Instant::now(),
                Err(error) => tracing::debug!(%error, "the room's server says nothing"),
            }
            if !alone && (heard.elapsed() >= DEAF || fed.1.elapsed() >= STARVED) {
                lanes.offer_everything();
                alone = true;
            }
            said = Some((hello, Instant::now()));
        }
    }

    fn hello(&self, have: BlobSet, want: BlobSet, failed: Vec<Part>) -> Hello {
        Hello { lab_id: self.lab_id, port: self.port, jobs: self.jobs, have, want, failed }
    }

    /// Hands on what the server said, as far as it makes sense.
    fn take(&self, lanes: &Lanes, answer: &Answer, server: Option<IpAddr>) {
        let mut offers: BTreeMap<Option<SocketAddr>, std::collections::BTreeSet<Digest>> = BTreeMap::new();
        for part in &answer.take {
            if part.from.is_none_or(|peer| places::may_be_asked(peer, server)) {
                offers.entry(part.from).or_default().extend(self.order.digests(&part.blobs));
            }
        }
        lanes.offer(offers);
        self.view.send_replace(RoomView { lacking: answer.lacking, heard: Instant::now() });
    }

    /// Asks once. Returns the answer and who gave it.
    async fn ask(&self, hello: &Hello) -> Result<(Answer, Option<IpAddr>), FetchError> {
        let mut address = self.server.clone();
        address.set_path(PEERS);
        address.set_query(None);
        let url = shown(&address);
        let problem = |text: String| FetchError::Address { text: url.clone(), problem: text };
        let body = serde_json::to_vec(hello).map_err(|error| problem(error.to_string()))?;
        let request =
            self.http.get()?.request(Method::POST, address).header(CONTENT_TYPE, "application/json").body(body);
        let asked = async {
            let unreachable =
                |source: reqwest::Error| FetchError::Connect { url: url.clone(), source: source.without_url() };
            let mut response = request.send().await.map_err(unreachable)?;
            if !response.status().is_success() {
                return Err(FetchError::Status { url: url.clone(), status: response.status(), retry_after: None });
            }
            let server = response.remote_addr().map(|address| address.ip());
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > MOST_ANSWER {
                    return Err(FetchError::TooLong { url: url.clone(), limit: MOST_ANSWER as u64 });
                }
            }
            let answer = serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
            Ok((answer, server))
        };
        let stalled = || FetchError::Stalled { url: url.clone(), seconds: PATIENCE.as_secs(), received: 0 };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(stalled()))
    }
}

/// Sources whose failures are told at once; the others follow when these are settled.
const MOST_FAILED: usize = 24;

/// A conversation that goes on by itself until it is dropped.
pub fn keep(swarm: Arc<Swarm>, lanes: Lanes, store: Store) -> tokio_util::task::AbortOnDropHandle<()> {
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move { swarm.run(&lanes, &store).await }))
}
