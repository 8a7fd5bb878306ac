//! One connection: heads in, answers out, one after the other. Every wait has an end.

use std::{io, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    admission::{Admitted, Limits},
    file,
    pace::Pace,
    request::{self, MAX_HEAD, Method, Refused, Request},
    response::{Body, Response, http_date},
    route::Service,
};

/// Longest body. A report with all its probes failed has 600 bytes; a laptop that shares names sets of blobs, and each of
/// a lab's few hundred blobs is a bit.
const MAX_BODY: usize = 8 * 1024;
/// First size of the buffer for heads; few are longer.
const HEAD: usize = 1024;
/// How long, and for how many bytes, a client that was refused is listened to, so that it can read why before the
/// connection is reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// Serves a connection until either side has enough. `closing` asks for the end after the answer that is under way.
pub(super) async fn run(mut stream: TcpStream, guest: Admitted, service: Arc<Service>, closing: CancellationToken) {
    let leave = guest.leave().clone();
    let served = async {
        let mut connection = Connection { stream: &mut stream, guest: &guest, service: &service, buffer: Vec::new() };
        connection.serve(&closing).await
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = leave.cancelled() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, address = %guest.address(), "a connection ended early");
    }
}

struct Connection<'a> {
    stream: &'a mut TcpStream,
    guest: &'a Admitted,
    service: &'a Arc<Service>,
    /// What came and was not used yet.
    buffer: Vec<u8>,
}

impl Connection<'_> {
    async fn serve(&mut self, closing: &CancellationToken) -> io::Result<()> {
        // A last small packet must not wait for the answer to the one before.
        self.stream.set_nodelay(true)?;
        let limits = self.service.admission.limits();
        let mut patience = limits.head;
        loop {
            let head = tokio::select! {
                head = self.head(patience, &limits) => head?,
                () = closing.cancelled(), if self.buffer.is_empty() => return Ok(()),
            };
            let request = match head {
                Head::Request(request) => request,
                Head::Closed => return Ok(()),
                Head::Refused(refused) => return self.refuse(&refused).await,
            };
            let body = match self.body(&request, &limits).await? {
                Ok(body) => body,
                Err(refused) => return self.refuse(&refused).await,
            };
            self.guest.set_waits(false);
            let close = request.close || closing.is_cancelled();
            let response = self.service.answer(&request, &body, self.guest.address(), self.stream.local_addr()?).await;
            self.send(response, request.method == Method::Head, close, &limits).await?;
            self.guest.set_waits(true);
            if close {
                return self.stream.shutdown().await;
            }
            patience = limits.idle;
        }
    }

    /// The next head. `patience` is for its first byte.
    async fn head(&mut self, patience: Duration, limits: &Limits) -> io::Result<Head> {
        let mut deadline = tokio::time::Instant::now() + patience;
        if !self.buffer.is_empty() {
            deadline = tokio::time::Instant::now() + limits.head;
        }
        loop {
            match request::parse(&self.buffer) {
                Ok(Some((request, length))) => {
                    self.buffer.drain(..length);
                    if self.buffer.is_empty() {
                        // While a blob leaves, or nothing comes, a connection holds no buffer.
                        self.buffer = Vec::new();
                    }
                    return Ok(Head::Request(request));
                }
                Ok(None) => {}
                Err(refused) => return Ok(Head::Refused(refused)),
            }
            let fresh = self.buffer.is_empty();
            if fresh {
                // No buffer for who only waits.
                match tokio::time::timeout_at(deadline, self.stream.readable()).await {
                    Ok(ready) => ready?,
                    Err(_) => return Ok(Head::Closed),
                }
                deadline = tokio::time::Instant::now() + limits.head;
                self.buffer.reserve(HEAD);
            }
            let room = MAX_HEAD.saturating_sub(self.buffer.len()).max(1) as u64;
            let mut limited = (&mut *self.stream).take(room);
            match tokio::time::timeout_at(deadline, limited.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return Ok(Head::Closed),
                Ok(count) => _ = count?,
                // Readiness may be a false alarm.
                Err(_) if self.buffer.is_empty() => return Ok(Head::Closed),
                Err(_) => {
                    let why = "the head of the request took too long";
                    return Ok(Head::Refused(Refused { status: StatusCode::REQUEST_TIMEOUT, why }));
                }
            }
        }
    }

    /// The body of a report or a question. Nobody else sends one; where it would end is not worth finding out.
    async fn body(&mut self, request: &Request, limits: &Limits) -> io::Result<Result<Vec<u8>, Refused>> {
        if request.body == 0 {
            return Ok(Ok(Vec::new()));
        }
        let length = usize::try_from(request.body).ok().filter(|length| *length <= MAX_BODY);
        let Some(length) = length.filter(|_| self.service.takes_body(request)) else {
            return Ok(Err(Refused { status: StatusCode::PAYLOAD_TOO_LARGE, why: "no such body is taken here" }));
        };
        if request.expects_continue && self.buffer.is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut body = std::mem::take(&mut self.buffer);
        if body.len() > length {
            self.buffer = body.split_off(length);
        }
        let rest = length - body.len();
        let mut limited = (&mut *self.stream).take(rest as u64);
        match timeout(limits.head, limited.read_to_end(&mut body)).await {
            Ok(read) if read.as_ref().is_ok_and(|read| *read == rest) => Ok(Ok(body)),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(_) => Ok(Err(Refused { status: StatusCode::REQUEST_TIMEOUT, why: "the body took too long" })),
        }
    }

    async fn send(&mut self, response: Response, only_head: bool, close: bool, limits: &Limits) -> io::Result<()> {
        let head = response.head(&http_date(), close);
        let mut pace = Pace::new(limits);
        match response.body {
            Body::Bytes(bytes) if !only_head => {
                let whole = [head.as_slice(), &bytes].concat();
                self.send_bytes(&whole, false, &mut pace).await
            }
            Body::Blob(blob, range) if !only_head => {
                self.send_bytes(&head, true, &mut pace).await?;
                let mut underway = self.service.room.begin(self.guest.address());
                let turn = self.service.admission.turn(self.guest.address(), file::PIECE);
                let mut at = range.start;
                while at < range.end {
                    let left = range.end - at;
                    // Who changed the file meanwhile must not have it taken for the blob: the last byte stays here.
                    if left <= turn && !blob.is_unchanged() {
                        return Err(io::Error::other("the blob changed while it was sent"));
                    }
                    let count = pace.next(self.guest, file::send(self.stream, blob.file(), at, left.min(turn))).await?;
                    at += count as u64;
                    underway.sent(count);
                    // A client on a fast line takes turns with the others.
                    tokio::task::consume_budget().await;
                }
                Ok(())
            }
            Body::Bytes(_) | Body::Blob(..) => self.send_bytes(&head, false, &mut pace).await,
        }
    }

    async fn send_bytes(&self, mut bytes: &[u8], more: bool, pace: &mut Pace) -> io::Result<()> {
        let stream = &*self.stream;
        while !bytes.is_empty() {
            let write = stream.async_io(tokio::io::Interest::WRITABLE, || file::send_bytes_now(stream, bytes, more));
            let count = pace.next(self.guest, write).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Says why, and closes.
    async fn refuse(&mut self, refused: &Refused) -> io::Result<()> {
        let limits = self.service.admission.limits();
        self.send(Response::text(refused.status, refused.why), false, true, &limits).await?;
        self.stream.shutdown().await?;
        let mut rest = (&mut *self.stream).take(LINGER_BYTES as u64);
        let mut sink = tokio::io::sink();
        let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut sink)).await;
        Ok(())
    }
}

/// What came of waiting for a head.
enum Head {
    Request(Request),
    /// Nothing, or half of one: the client went away.
    Closed,
    Refused(Refused),
}
