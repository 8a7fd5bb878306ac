//! Other laptops: servers of blobs that say byte by byte what their manner tells them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use ztlab::{
    base::{Descriptor, Digest},
    lockfile::Origin,
    plan::PlannedBlob,
};

use crate::raw::read_request;

/// Blobs by the digits of their digest.
pub(crate) type Blobs = Arc<BTreeMap<String, Vec<u8>>>;

/// A request for a blob.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The blob's right bytes.
    pub(crate) bytes: Vec<u8>,
    /// First byte of the range, when one was asked for.
    pub(crate) from: Option<usize>,
    /// How many requests this peer had before.
    pub(crate) before: usize,
}

/// One thing to do on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    Pause(Duration),
    /// Say nothing more, and keep the connection.
    Hang,
    Reset,
}

/// How a peer answers.
pub(crate) type Manner = Arc<dyn Fn(&Ask) -> Vec<Act> + Send + Sync>;

/// One peer on loopback; it stops with the test's runtime.
pub(crate) struct Peer {
    address: String,
    asked: Arc<Mutex<Vec<Option<usize>>>>,
}

impl Peer {
    pub(crate) async fn start(blobs: Blobs, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else { return };
                tokio::spawn(answer(connection, Arc::clone(&blobs), Arc::clone(&manner), Arc::clone(&seen)));
            }
        });
        Self { address, asked }
    }

    pub(crate) async fn honest(blobs: &Blobs) -> Self {
        Self::start(Arc::clone(blobs), Arc::new(|ask: &Ask| whole(&ask.bytes, ask.from))).await
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/", self.address)
    }

    /// The first byte that each request asked for.
    pub(crate) fn asked(&self) -> Vec<Option<usize>> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(mut connection: TcpStream, blobs: Blobs, manner: Manner, asked: Arc<Mutex<Vec<Option<usize>>>>) {
    let request = read_request(&mut connection).await;
    let mut lines = request.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let hex = path.rsplit('/').next().unwrap_or_default().trim_start_matches("sha256:");
    let range = lines.find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let from = range.and_then(|range| range.split('-').next()?.parse().ok());
    let acts = match blobs.get(hex) {
        Some(bytes) => {
            let before = {
                let mut asked = asked.lock().unwrap();
                asked.push(from);
                asked.len() - 1
            };
            manner(&Ask { bytes: bytes.clone(), from, before })
        }
        None => vec![Act::Send(head(404, 0, ""))],
    };
    for act in acts {
        // The other side may have gone: that is its right.
        match act {
            Act::Send(bytes) => _ = connection.write_all(&bytes).await,
            Act::Pause(pause) => tokio::time::sleep(pause).await,
            Act::Hang => std::future::pending().await,
            Act::Reset => {
                let _ = connection.flush().await;
                // What was sent before shall arrive before the reset does.
                tokio::time::sleep(Duration::from_millis(5)).await;
                let _ = connection.set_zero_linger();
                return;
            }
        }
    }
    let _ = connection.shutdown().await;
}

/// A head of an answer that ends with the connection.
pub(crate) fn head(status: u16, length: usize, more: &str) -> Vec<u8> {
    let text = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
    text.into_bytes()
}

/// What an honest server says before the body.
pub(crate) fn right_head(total: usize, from: Option<usize>) -> Vec<u8> {
    match from {
        Some(from) => head(206, total - from, &format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1)),
        None => head(200, total, ""),
    }
}

/// An honest answer with these bytes as the blob.
pub(crate) fn whole(bytes: &[u8], from: Option<usize>) -> Vec<Act> {
    vec![Act::Send(right_head(bytes.len(), from)), Act::Send(bytes[from.unwrap_or(0)..].to_vec())]
}

/// The beginning of an honest answer: so many bytes of what was asked for.
pub(crate) fn beginning(bytes: &[u8], from: Option<usize>, count: usize) -> Vec<Act> {
    let start = from.unwrap_or(0);
    let end = (start + count).min(bytes.len());
    vec![Act::Send(right_head(bytes.len(), from)), Act::Send(bytes[start..end].to_vec())]
}

pub(crate) fn blobs(contents: &[Vec<u8>]) -> Blobs {
    Arc::new(contents.iter().map(|bytes| (Digest::of(bytes).hex(), bytes.clone())).collect())
}

/// Blobs of a lab whose upstream is at this address.
pub(crate) fn planned(contents: &[Vec<u8>], upstream: &str) -> Vec<PlannedBlob> {
    let blob = |(index, bytes): (usize, &Vec<u8>)| {
        let descriptor = Descriptor::of(bytes);
        PlannedBlob {
            descriptor,
            origins: vec![Origin::Url(format!("{upstream}{}", descriptor.digest.hex()))],
            needed_by: [format!("file.{index}")].into(),
            label: format!("file.{index}"),
        }
    };
    contents.iter().enumerate().map(blob).collect()
}
