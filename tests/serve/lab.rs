//! A lab of three images in a store, a server in front of it, and a client that hides nothing.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use ztlab::{
    base::{
        Descriptor, Expected, Platform,
        report::{Recording, Silent},
    },
    lockfile::{CheckedLock, ImageEntry, ImagePin, Lock},
    plan::Complete,
    serve::{Catalog, Limits, Server},
    store::Store,
};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The lab and where its parts are.
pub(crate) struct Lab {
    _folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) lock: Lock,
    /// Three megabytes: more than a socket takes at once.
    pub(crate) layer: Descriptor,
    pub(crate) layer_bytes: Vec<u8>,
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) reporter: Arc<Recording>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let put = |bytes: &[u8]| store.put(bytes, &Silent).unwrap().descriptor();
        let layer_bytes: Vec<u8> = (0..786_432_u32).flat_map(u32::to_le_bytes).collect();
        let layer = put(&layer_bytes);
        let config = put(br#"{"architecture":"amd64","os":"linux"}"#);
        let mut lock = Lock { name: "room".to_owned(), node: vec![Platform::LinuxAmd64], ..Lock::default() };
        for (name, reference, media_type, with_index) in [
            ("node", "docker.io/calico/node:v3.27.0", Some(OCI_MANIFEST), true),
            ("nginx", "docker.io/library/nginx:1.25", Some(DOCKER_MANIFEST), false),
            ("operator", "quay.io/tigera/operator:v1.32.3", None, false),
        ] {
            let mut document = json!({
                "schemaVersion": 2, "annotations": { "for": name },
                "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest, "size": config.size },
                "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.digest, "size": layer.size }],
            });
            if let Some(media_type) = media_type {
                document["mediaType"] = json!(media_type);
            }
            let manifest = put(document.to_string().as_bytes());
            let index = with_index.then(|| {
                let list = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
                    { "mediaType": OCI_MANIFEST, "digest": manifest.digest, "size": manifest.size,
                      "platform": { "os": "linux", "architecture": "amd64" } }] });
                Expected::from(put(list.to_string().as_bytes()))
            });
            let pin = ImagePin { manifest, config, layers: vec![layer] };
            let entry = ImageEntry {
                want: reference.to_owned(),
                index,
                platforms: BTreeMap::from([(Platform::LinuxAmd64, pin)]),
                hints: BTreeMap::new(),
            };
            lock.image.insert(name.to_owned(), entry);
        }
        Self { _folder: folder, store, lock, layer, layer_bytes }
    }

    pub(crate) fn complete(&self) -> Complete {
        Complete::open(CheckedLock::new(self.lock.clone()).unwrap(), self.store.clone()).unwrap()
    }

    pub(crate) async fn serve(&self) -> Running {
        self.serve_with(Limits::default(), None).await
    }

    pub(crate) async fn serve_with(&self, limits: Limits, signature: Option<&[u8]>) -> Running {
        let catalog = Catalog::of(&self.complete(), signature.map(<[u8]>::to_vec)).unwrap();
        let reporter = Arc::new(Recording::default());
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), catalog, limits, reporter.clone()).await.unwrap();
        let address = server.address().unwrap();
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(server.run(async move { _ = ended.await }));
        Running { address, reporter, end, task }
    }

    /// The path of the layer as a plain blob.
    pub(crate) fn layer_path(&self) -> String {
        format!("/blobs/sha256/{}", self.layer.digest.hex())
    }

    pub(crate) fn manifest(&self, image: &str) -> Descriptor {
        self.lock.image[image].platforms[&Platform::LinuxAmd64].manifest
    }
}

impl Running {
    /// Asks for the end and waits for it.
    pub(crate) async fn stop(self) {
        self.end.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Asks for the end and does not wait.
    pub(crate) fn ask_to_stop(self) -> JoinHandle<()> {
        self.end.send(()).unwrap();
        self.task
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, headers: &[&str]) -> Answer {
        self.ask("GET", path, headers).await
    }

    /// A request with a body, on a connection of its own.
    pub(crate) async fn post(&self, path: &str, media_type: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: room\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = self.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that has refused already may not take all of it.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        parse(&bytes)
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: room\r\nConnection: close\r\n{lines}\r\n");
        let mut stream = self.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        parse(&bytes)
    }
}

/// Takes an answer apart; what follows the head is its body.
pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}
