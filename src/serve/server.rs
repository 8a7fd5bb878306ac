//! The listener, and the end.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::base::Reporter;

use super::{
    admission::{Admission, Limits},
    catalog::Catalog,
    connection,
    room::RoomDocument,
    roster::SeatDocument,
    route::Service,
};

/// File descriptors that the program needs beside two for each connection (socket and blob).
const OWN_FILES: u64 = 64;
/// Pause after an `accept` that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For who comes when no place is free.
const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 41\r\n\r\nall places are taken; try again in a bit\n";

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot listen on {address}")]
#[diagnostic(
    code(serve::listen),
    help(
        "another program may have the port: choose one with `--port PORT`; `--bind` takes an address of this machine"
    )
)]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// A listener with a lab behind it.
pub struct Server {
    listener: TcpListener,
    service: Arc<Service>,
}

impl Server {
    /// Listens. Nobody is answered before [`Server::run`].
    ///
    /// # Errors
    /// When the port is taken or the address is not this machine's.
    pub async fn bind(
        address: SocketAddr,
        catalog: Catalog,
        limits: Limits,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Self, ListenError> {
        let limits = Limits { connections: limits.connections.min(files_allow(limits.connections)), ..limits };
        let listener = TcpListener::bind(address).await.map_err(|source| ListenError { address, source })?;
        let service = Service::new(catalog, Arc::new(Admission::new(limits)), reporter);
        Ok(Self { listener, service: Arc::new(service) })
    }

    /// The address with its real port.
    ///
    /// # Errors
    /// The socket's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A view of what happens, for as long as anybody wants to look: the room in numbers, and its roster.
    pub fn watch(&self) -> impl Fn() -> (RoomDocument, Vec<SeatDocument>) + Send + Sync + use<> {
        let service = Arc::clone(&self.service);
        move || service.now()
    }

    /// Serves until `end`. Then takes nobody new, lets what is under way come to its end for a few seconds, and returns.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let (tracker, closing) = (TaskTracker::new(), CancellationToken::new());
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer.ip(), &tracker, &closing),
                    Err(error) => {
                        tracing::debug!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        let patience = self.service.admission.limits().closing;
        drop(self.listener);
        closing.cancel();
        tracker.close();
        if tokio::time::timeout(patience, tracker.wait()).await.is_err() {
            self.service.admission.dismiss();
            tracker.wait().await;
        }
    }

    fn take(&self, stream: TcpStream, address: IpAddr, tracker: &TaskTracker, closing: &CancellationToken) {
        match self.service.admission.admit(address.to_canonical()) {
            Some(guest) => {
                let service = Arc::clone(&self.service);
                tracker.spawn(connection::run(stream, guest, service, closing.clone()));
            }
            // Into the empty buffer of a new socket: nothing to wait for.
            None => _ = stream.try_write(REFUSED),
        }
    }
}

/// How many connections the limit of open files has room for, after raising it as far as that needs and may.
fn files_allow(connections: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = OWN_FILES + 2 * connections as u64;
    let limit = getrlimit(Resource::Nofile);
    let mut current = limit.current.unwrap_or(u64::MAX);
    if current < wanted {
        let raised = wanted.min(limit.maximum.unwrap_or(u64::MAX));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok() {
            current = raised;
        }
    }
    usize::try_from(current.saturating_sub(OWN_FILES) / 2).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_refusal_says_its_own_length() {
        let text = std::str::from_utf8(super::REFUSED).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }

    #[test]
    fn there_are_files_for_some_connections() {
        assert!(super::files_allow(4) >= 4);
    }
}
