//! `fetch --share`: while blobs come, those that are here are served to the room, and after that for a while longer.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::{super::serve as serving, DEFAULT_JOBS, Run};
use crate::{
    base::{Digest, Event},
    fetch::{
        self, FetchError, Lanes, Source,
        share::{BlobOrder, PlaceError, RoomView, Swarm, address_towards, keep},
    },
    lockfile::CheckedLock,
    plan::PlannedBlob,
    serve::{Catalog, Limits, Reach, RoomDocument, SeatDocument, Server, reach},
    verb::Context,
};

/// The room has to lack nothing for so long before a laptop leaves it: the next student may be on the way.
const QUIET: Duration = Duration::from_secs(60);
/// A server that says nothing for so long has gone home.
const GONE: Duration = Duration::from_secs(60);
/// How often the room is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What others may take of a laptop: enough for a room that takes turns.
const LIMITS: Limits = Limits {
    connections: 64,
    per_address: 16,
    head: Duration::from_secs(10),
    idle: Duration::from_secs(60),
    span: Duration::from_secs(30),
    progress: 32 * 1024,
    closing: Duration::from_secs(2),
};

/// How to share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Where to listen; `None` is the address of this machine that faces the room's server.
    pub bind: Option<IpAddr>,
    /// On which port; 0 takes any that is free.
    pub port: u16,
    /// How long at most after everything is here.
    pub at_most: Duration,
}

/// What was given and taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// Where it could be had.
    pub address: String,
    /// Bytes of blobs that were given to others.
    pub given: u64,
    /// To how many addresses.
    pub machines: usize,
    /// Bytes that came from the room's server.
    pub from_server: u64,
    /// Bytes that came from other laptops.
    pub from_laptops: u64,
    /// From how many laptops.
    pub laptops: usize,
}

/// `--share` without a room.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum ShareError {
    #[error("--share needs the server of a room")]
    #[diagnostic(
        code(usage::share),
        help("name it: `ztlab fetch --from lan --share`, or `--from http://ADDRESS:8642/ --share`")
    )]
    NoServer,
    #[error(transparent)]
    #[diagnostic(transparent)]
    Place(#[from] PlaceError),
}

/// A laptop that serves others. Dropping it ends that at once.
pub struct Sharing {
    address: String,
    server: Url,
    beyond_this_machine: bool,
    at_most: Duration,
    lanes: Lanes,
    view: watch::Receiver<RoomView>,
    watch: Box<dyn Fn() -> (RoomDocument, Vec<SeatDocument>) + Send + Sync>,
    end: oneshot::Sender<()>,
    serves: AbortOnDropHandle<()>,
    _talks: AbortOnDropHandle<()>,
}

/// Listens, says so, and presents this laptop to the room's server. `None`, with a warning, when none of the sources is
/// such a server: the blobs come without it.
pub(super) async fn begin(
    run: &Run<'_>,
    share: &Share,
    lanes: &Lanes,
    missing: &[PlannedBlob],
) -> miette::Result<Option<Sharing>> {
    let servers: Vec<&Url> = run.request.from.iter().filter_map(server).collect();
    let first = *servers.first().ok_or(ShareError::NoServer)?;
    let network = run.context.network(None)?;
    if network.offline {
        return Err(FetchError::Offline { url: first.to_string() }.into());
    }
    let bind = match share.bind {
        Some(address) => address,
        None => address_towards(first).await.map_err(ShareError::from)?,
    };
    let lock = CheckedLock::new(run.lock.clone())?;
    let catalog = Catalog::so_far(&lock, &run.store);
    let reporter = Arc::clone(&run.context.reporter);
    let listener = Server::bind(SocketAddr::new(bind, share.port), catalog, LIMITS, reporter).await?;
    let bound = listener.address().map_err(serving::SocketError)?;
    let watch = Box::new(listener.watch());
    // From here on others are answered: the server may name this laptop as soon as it knows it.
    let (end, ended) = oneshot::channel::<()>();
    let serves = AbortOnDropHandle::new(tokio::spawn(listener.run(async move { _ = ended.await })));

    let have: Vec<Digest> = run.store.present()?.into_keys().collect();
    let order = BlobOrder::of(&run.lock);
    let jobs = run.request.jobs.unwrap_or(DEFAULT_JOBS);
    let mut refused = String::new();
    for server in servers {
        let swarm = Swarm::new(&network, server.clone(), run.lock.lab_id(), order.clone(), bound.port(), jobs)?;
        let want = missing.iter().filter(|blob| fetch::is_download(blob)).map(|blob| blob.descriptor.digest);
        match swarm.join(lanes, have.iter().copied(), want).await {
            Ok(()) => {
                let Reach { addresses, beyond_this_machine } = reach(bound);
                let shown = addresses.first().map_or(bound, |(_, address)| *address);
                let view = swarm.view();
                let talks = keep(Arc::new(swarm), lanes.shared(), run.store.clone());
                let sharing = Sharing {
                    address: format!("http://{shown}/"),
                    server: server.clone(),
                    beyond_this_machine,
                    at_most: share.at_most,
                    lanes: lanes.shared(),
                    view,
                    watch,
                    end,
                    serves,
                    _talks: talks,
                };
                sharing.tell(run.context, false);
                return Ok(Some(sharing));
            }
            Err(error) => refused = error.to_string(),
        }
    }
    let text = format!(
        "nothing is shared: no source is a `ztlab serve` of this lab that laptops could share with ({refused})"
    );
    run.context.reporter.report(Event::Warning { text });
    Ok(None)
}

/// The server that a source may be.
fn server(source: &Source) -> Option<&Url> {
    match source {
        Source::Store(url) => Some(url),
        _ => None,
    }
}

impl Sharing {
    fn tell(&self, context: &Context, complete: bool) {
        context.reporter.report(Event::Sharing {
            address: self.address.clone(),
            server: self.server.to_string(),
            beyond_this_machine: self.beyond_this_machine,
            complete,
        });
    }

    /// What was given and taken until now.
    pub fn so_far(&self) -> Shared {
        let RoomDocument { machines, bytes, .. } = (self.watch)().0;
        let (from_server, from_laptops, laptops) = self.lanes.shares();
        Shared { address: self.address.clone(), given: bytes, machines, from_server, from_laptops, laptops }
    }

    /// Everything is here: goes on serving others until nobody of the room lacks anything any more, the server has gone,
    /// the time that was given is over, or `end`. What is under way then may come to its end for two seconds.
    pub async fn stay(self, context: &Context, end: impl Future<Output = ()>) -> Shared {
        self.tell(context, true);
        let began = Instant::now();
        let (mut busy, mut told) = (Instant::now(), RoomDocument::default());
        let mut look = tokio::time::interval(LOOK);
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                _ = look.tick() => {}
            }
            let room = (self.watch)().0;
            serving::tell(context, &mut told, room);
            let view = *self.view.borrow();
            if view.lacking > 0 || room.transfers > 0 {
                busy = Instant::now();
            }
            let is_over = began.elapsed() >= self.at_most || busy.elapsed() >= QUIET || view.heard.elapsed() >= GONE;
            if is_over && room.transfers == 0 || began.elapsed() >= self.at_most {
                break;
            }
        }
        let Self { end, serves, watch, lanes, address, .. } = self;
        // The other end is gone only when the server is.
        let _ = end.send(());
        let _ = serves.await;
        let RoomDocument { machines, bytes, .. } = watch().0;
        let (from_server, from_laptops, laptops) = lanes.shares();
        Shared { address, given: bytes, machines, from_server, from_laptops, laptops }
    }
}
