//! A proxy that lets nothing through and keeps count: what an offline run gives to the programs that it starts.
//!
//! A port where nobody listens would stop them as well, but nobody would learn of it. This one listens on loopback while
//! the run lasts, reads where a program wants to go, answers 403 and forwards nothing.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// A request's head is a few hundred bytes; nothing after it is read.
const HEAD_LIMIT: usize = 8 << 10;
/// Who connects says at once where to.
const PATIENCE: Duration = Duration::from_secs(5);
/// Targets that are told apart. A program that goes through thousands of names must not fill the memory.
const TARGETS: usize = 256;
/// What cannot be read, and what is beyond [`TARGETS`].
const ELSEWHERE: &str = "elsewhere";

const ANSWER: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 60\r\n\
Connection: close\r\n\r\nztlab runs offline: this proxy lets nothing through to there";

type Attempts = Arc<Mutex<BTreeMap<String, u64>>>;

/// The proxy. It ends when this is dropped.
pub struct RefusingProxy {
    address: SocketAddr,
    attempts: Attempts,
    _task: AbortOnDropHandle<()>,
}

impl RefusingProxy {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// When the system gives no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let attempts = Attempts::default();
        let task = tokio::spawn(serve(listener, Arc::clone(&attempts)));
        Ok(Self { address, attempts, _task: AbortOnDropHandle::new(task) })
    }

    /// What a program's proxy variables are set to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often each target was asked for, by `host:port`.
    pub fn attempts(&self) -> BTreeMap<String, u64> {
        self.attempts.lock().map(|attempts| attempts.clone()).unwrap_or_default()
    }
}

async fn serve(listener: TcpListener, attempts: Attempts) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(refuse(stream, Arc::clone(&attempts)))),
            // No file descriptor is free, or the caller is gone already; the next one may be luckier.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn refuse(mut stream: TcpStream, attempts: Attempts) {
    let mut head = Vec::new();
    let read = async {
        let mut buffer = [0; 1024];
        while head.len() < HEAD_LIMIT && !head.windows(2).any(|two| two == b"\r\n") {
            match stream.read(&mut buffer).await {
                Ok(count @ 1..) => head.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
    };
    // One that says nothing has still come here.
    let _ = tokio::time::timeout(PATIENCE, read).await;
    let target = target_of(&head).unwrap_or_else(|| ELSEWHERE.to_owned());
    if let Ok(mut attempts) = attempts.lock() {
        let full = attempts.len() >= TARGETS && !attempts.contains_key(&target);
        *attempts.entry(if full { ELSEWHERE.to_owned() } else { target }).or_default() += 1;
    }
    let _ = stream.write_all(ANSWER).await;
    let _ = stream.shutdown().await;
}

/// `host:port` of the first line: `CONNECT host:port HTTP/1.1`, or `GET http://host/path HTTP/1.1`.
fn target_of(head: &[u8]) -> Option<String> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let (method, place) = (words.next()?, words.next()?);
    let url = if method == "CONNECT" { format!("https://{place}") } else { place.to_owned() };
    let url = Url::parse(&url).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(proxy: &RefusingProxy, head: &[u8]) -> String {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(head).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn every_attempt_is_refused_and_counted_by_its_target() {
        let proxy = RefusingProxy::start().await.unwrap();
        for _ in 0..2 {
            let answer = ask(&proxy, b"CONNECT storage.googleapis.com:443 HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
            assert!(answer.ends_with("to there"), "the announced length is not the body's: {answer}");
        }
        ask(&proxy, b"GET http://example.com/a?token=secret HTTP/1.1\r\n\r\n").await;
        ask(&proxy, b"\x05\x01\x00 socks\r\n").await;
        let expected = [("elsewhere", 1), ("example.com:80", 1), ("storage.googleapis.com:443", 2)];
        assert_eq!(proxy.attempts(), expected.map(|(target, times)| (target.to_owned(), times)).into());
    }

    #[tokio::test]
    async fn it_listens_on_loopback_and_only_as_long_as_it_lives() {
        let proxy = RefusingProxy::start().await.unwrap();
        let address = proxy.address;
        assert!(address.ip().is_loopback());
        drop(proxy);
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn a_target_has_its_port_and_nothing_else() {
        for (line, expected) in [
            ("CONNECT [2001:db8::1]:443 HTTP/1.1", Some("[2001:db8::1]:443")),
            ("CONNECT registry.k8s.io:443 HTTP/1.1", Some("registry.k8s.io:443")),
            ("HEAD http://user:password@host.example:8080/path HTTP/1.1", Some("host.example:8080")),
            ("GET /path HTTP/1.1", None),
            ("", None),
        ] {
            assert_eq!(target_of(format!("{line}\r\n").as_bytes()).as_deref(), expected, "{line}");
        }
    }
}
