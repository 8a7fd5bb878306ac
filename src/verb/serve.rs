//! `serve`: the lab's store for a room, until somebody ends it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Context, install};
use crate::{
    base::{Digest, Event},
    fetch::blocking,
    serve::{Catalog, Limits, Reach, RoomDocument, Server, reach},
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
    let (room, began) = (server.watch(), Instant::now());
    let served = server.run(end);
    tokio::pin!(served);
    let mut told = RoomDocument::default();
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = &mut served => break,
            _ = look.tick() => tell(context, &mut told, room()),
        }
    }
    let RoomDocument { machines, bytes, .. } = room();
    Ok(Outcome { lab_id: lab.lab_id, machines, bytes, seconds: began.elapsed().as_secs_f64() })
}

/// Everything that is served, listed.
async fn catalog(context: &Context) -> miette::Result<Catalog> {
    let context = context.clone();
    blocking(move || {
        let complete = install::complete(&context)?;
        let signature = match fs_err::read(context.lab.join("lock/ztlab.lock.minisig")) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(SignatureError(error).into()),
        };
        Ok(Catalog::of(&complete, signature)?)
    })
    .await
}

fn tell(context: &Context, told: &mut RoomDocument, now: RoomDocument) {
    if now != *told {
        *told = now;
        let RoomDocument { machines, transfers, bytes, rate } = now;
        context.reporter.report(Event::RoomChanged { machines, transfers, bytes, rate });
    }
}

/// The system does not say where it listens.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the system does not say on which address it listens")]
#[diagnostic(code(serve::socket))]
struct SocketError(#[source] io::Error);

/// There is a signature, and it cannot be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read the lock's signature")]
#[diagnostic(code(serve::signature), help("make it readable, or move it away to serve an unsigned lock"))]
struct SignatureError(#[source] io::Error);
