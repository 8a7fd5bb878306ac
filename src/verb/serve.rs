//! `serve`: the lab's store for a room, until somebody ends it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Context, install};
use crate::{
    base::{Digest, Event, file},
    fetch::blocking,
    serve::{Announcement, Catalog, Limits, Reach, RoomDocument, SeatDocument, Server, csv_of, reach},
};

/// How often the room is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to listen.
    pub bind: IpAddr,
    /// On which port; 0 takes any that is free.
    pub port: u16,
    /// What clients may take.
    pub limits: Limits,
    /// Announce the server in the network, even if only this machine reaches it.
    pub announce: bool,
    /// Where the roster goes at the end.
    pub roster: Option<PathBuf>,
}

/// What was served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// SHA-256 of the lock.
    pub lab_id: Digest,
    /// Addresses that took at least one blob.
    pub machines: usize,
    /// Bytes of blobs that left.
    pub bytes: u64,
    /// The roster, as it was at the end.
    pub seats: Vec<SeatDocument>,
    /// For how long.
    pub seconds: f64,
}

/// Serves the lab until `end`. Reports first where it can be reached and by whom, then how far the room is.
///
/// # Errors
/// When the lab is not complete in the store, or nobody can listen on the address.
pub async fn run(context: &Context, request: &Request, end: impl Future<Output = ()>) -> miette::Result<Outcome> {
    let catalog = catalog(context).await?;
    let lab = catalog.lab().clone();
    let address = SocketAddr::new(request.bind, request.port);
    let server = Server::bind(address, catalog, request.limits, context.reporter.clone()).await?;
    let Reach { addresses, beyond_this_machine } = reach(server.address().map_err(SocketError)?);
    context.reporter.report(Event::Serving {
        lab: lab.name,
        lab_id: lab.lab_id.to_string(),
        blobs: lab.blobs,
        bytes: lab.bytes,
        addresses: addresses.iter().map(|(_, address)| format!("http://{address}/")).collect(),
        beyond_this_machine,
    });
    let bound = server.address().map_err(SocketError)?;
    // Taken back when it is dropped, at the end of this function.
    let _announcement = announced(context, request.announce || beyond_this_machine, bound, &lab.lab_id);
    let (watch, began) = (server.watch(), Instant::now());
    let served = server.run(end);
    tokio::pin!(served);
    let mut told = RoomDocument::default();
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = &mut served => break,
            _ = look.tick() => tell(context, &mut told, watch().0),
        }
    }
    let (RoomDocument { machines, bytes, .. }, seats) = watch();
    if let Some(path) = &request.roster {
        write_roster(path, &seats)?;
    }
    Ok(Outcome { lab_id: lab.lab_id, machines, bytes, seats, seconds: began.elapsed().as_secs_f64() })
}

/// The announcement, where one is wanted and can be had: without it everything works by address.
fn announced(context: &Context, wanted: bool, bound: SocketAddr, lab_id: &Digest) -> Option<Announcement> {
    if !wanted {
        return None;
    }
    match Announcement::new(bound, lab_id) {
        Ok(announcement) => {
            let text = "announced in the network: `ztlab fetch --from lan` finds it".to_owned();
            context.reporter.report(Event::Note { text });
            Some(announcement)
        }
        Err(error) => {
            let text = format!("{}: `ztlab fetch --from lan` will not find it, its address works", chain(&error));
            context.reporter.report(Event::Warning { text });
            None
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text} ({cause})"))
}

fn write_roster(path: &Path, seats: &[SeatDocument]) -> miette::Result<()> {
    let text = csv_of(seats).map_err(io::Error::from).map_err(RosterError)?;
    Ok(file::write_atomically(path, &text).map_err(RosterError)?)
}

/// Everything that is served, listed.
async fn catalog(context: &Context) -> miette::Result<Catalog> {
    let context = context.clone();
    blocking(move || {
        let complete = install::whole(&context)?;
        let signature = match fs_err::read(context.lab.join("lock/ztlab.lock.minisig")) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(SignatureError(error).into()),
        };
        Ok(Catalog::of(&complete, signature)?)
    })
    .await
}

/// Says how far the room is, when that is something new.
pub(super) fn tell(context: &Context, told: &mut RoomDocument, now: RoomDocument) {
    if now != *told {
        *told = now;
        let RoomDocument { machines, transfers, bytes, rate, sharing } = now;
        context.reporter.report(Event::RoomChanged { machines, transfers, bytes, rate, sharing });
    }
}

/// The table of seats has no place.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write the roster")]
#[diagnostic(code(serve::roster), help("name a file in a folder that you may write to: --roster FILE.csv"))]
struct RosterError(#[source] io::Error);

/// The system does not say where it listens.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the system does not say on which address it listens")]
#[diagnostic(code(serve::socket))]
pub(super) struct SocketError(#[source] pub(super) io::Error);

/// There is a signature, and it cannot be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read the lock's signature")]
#[diagnostic(code(serve::signature), help("make it readable, or move it away to serve an unsigned lock"))]
struct SignatureError(#[source] io::Error);
