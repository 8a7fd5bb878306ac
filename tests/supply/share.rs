//! `fetch --share`: laptops of one room that take the lab from each other, beside one that lies, dies, is not there or is
//! something else altogether.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use ztlab::{
    base::{
        Descriptor, Digest, Event,
        report::{Recording, Silent},
    },
    fetch::Source,
    lockfile::CheckedLock,
    plan::Complete,
    serve::{Catalog, Limits, Server},
    store::Store,
    verb::{
        Context,
        fetch::{self, Outcome, Share, Sharing},
    },
};

use crate::{
    bench::{Bench, Builder, MINIKUBE, code},
    peers::{Act, Ask, Blobs, Manner, Peer, beginning, head, whole},
};

/// Large enough to go from laptop to laptop.
const LARGE: usize = 300_000;

/// A room: upstream, a server that has the whole lab, and laptops that have nothing.
struct Class {
    bench: Bench,
    server: SocketAddr,
    _end: oneshot::Sender<()>,
    _task: JoinHandle<()>,
}

fn filler(seed: usize) -> String {
    (0..LARGE).map(|at| char::from(b'a' + ((at * 31 + at / 251 + seed * 7) % 26) as u8)).collect()
}

impl Class {
    async fn new() -> Self {
        let bench = Bench::new().await;
        bench.origin.serve(MINIKUBE, filler(1));
        bench.origin.serve("/raw.example/v3.27.0/operator.yaml", filler(2));
        bench.publish_index(&filler(3));
        bench.lock().await.unwrap();
        bench.fetch().await.unwrap();
        bench.origin.forget();
        let catalog = Catalog::of(&complete(&bench.context), None).unwrap();
        let server =
            Server::bind("127.0.0.1:0".parse().unwrap(), catalog, Limits::default(), Arc::new(Silent)).await.unwrap();
        let address = server.address().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async move { _ = ended.await }));
        Self { bench, server: address, _end: end, _task: task }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.server)
    }

    /// Its lab's folder is the teacher's, its store its own.
    fn laptop(&self, name: &str) -> (Context, Arc<Recording>) {
        let reporter = Arc::new(Recording::default());
        let context = Context {
            store: self.bench.context.lab.join(name),
            reporter: Arc::<Recording>::clone(&reporter) as _,
            ..self.bench.context.clone()
        };
        (context, reporter)
    }

    async fn fetch(&self, context: &Context) -> miette::Result<(Outcome, Option<Sharing>)> {
        let request = fetch::Request {
            from: vec![Source::parse(&self.url(), Path::new("")).unwrap()],
            share: Some(Share { bind: None, port: 0, at_most: Duration::from_secs(60) }),
            ..fetch::Request::default()
        };
        fetch::run_sharing(context, &request, Some(Arc::new(Builder("first")))).await
    }

    /// Fetches on a laptop beside a peer that says that it has everything; its store is whole, upstream was left alone.
    async fn fetch_beside(&self, port: u16) -> (Outcome, Vec<Event>) {
        let (status, _) = self.announce(port).await;
        assert_eq!(status, 200);
        let (context, reporter) = self.laptop("beside");
        let (outcome, sharing) = self.fetch(&context).await.unwrap();
        drop(sharing);
        assert_eq!(complete(&context).verify(&Silent), []);
        assert_eq!(self.bench.origin.seen().len(), 0, "upstream is spared");
        (outcome, reporter.events())
    }

    /// As a laptop that has everything and serves it on this port, which nobody has looked at.
    async fn announce(&self, port: u16) -> (u16, String) {
        let hello = json!({
            "lab_id": self.bench.read().lab_id(), "port": port, "jobs": 8, "have": "ff".repeat(16), "want": "", "failed": [],
        });
        ask(self.server, "POST", "/peers", &hello.to_string()).await
    }

    /// Every blob of the lab.
    fn blobs(&self) -> Blobs {
        let store = Store::open(&self.bench.context.store).unwrap();
        let read = |digest: &Digest| (digest.hex(), fs_err::read(store.path_of(digest)).unwrap());
        Arc::new(store.present().unwrap().keys().map(read).collect::<BTreeMap<_, _>>())
    }
}

fn complete(context: &Context) -> Complete {
    let lock = ztlab::lockfile::read(&context.lock_path()).unwrap();
    Complete::open(CheckedLock::new(lock).unwrap(), Store::open(&context.store).unwrap()).unwrap()
}

/// One request on a connection of its own: status and body.
async fn ask(server: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Who has refused already may not take it.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn port_of(url: &str) -> u16 {
    url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
}

async fn peer(blobs: &Blobs, manner: impl Fn(&Ask) -> Vec<Act> + Send + Sync + 'static) -> Peer {
    Peer::start(Arc::clone(blobs), Arc::new(manner) as Manner).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_that_has_finished_gives_to_the_next_one() {
    let class = Class::new().await;
    let (first, _) = class.laptop("one");
    let (outcome, sharing) = class.fetch(&first).await.unwrap();
    let shared = outcome.shared.unwrap();
    assert_eq!((shared.from_laptops, shared.given), (0, 0));
    assert!(shared.from_server > 3 * LARGE as u64 && shared.address.starts_with("http://127.0.0.1:"), "{shared:?}");

    let (second, reporter) = class.laptop("two");
    let (outcome, others) = class.fetch(&second).await.unwrap();
    let taken = outcome.shared.clone().unwrap();
    assert_eq!((taken.from_laptops, taken.laptops), (3 * LARGE as u64, 1), "{:?}", outcome.sources);
    assert!(taken.from_server < 100_000, "{taken:?}");
    assert_eq!(complete(&second).verify(&Silent), []);
    let named = outcome.sources.iter().find(|source| source.source == shared.address).unwrap();
    assert_eq!((named.blobs, named.dropped.as_ref()), (3, None));
    assert_eq!(class.bench.origin.seen().len(), 0);
    let told = reporter.events().into_iter().filter_map(|event| match event {
        Event::Sharing { complete, beyond_this_machine, .. } => Some((complete, beyond_this_machine)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(false, false)]);
    let room = ask(class.server, "GET", "/room.json", "").await.1;
    assert!(room.contains("\"sharing\":2"), "{room}");
    assert!(ask(class.server, "GET", "/", "").await.1.contains("<strong>2</strong> laptops serve others"));

    drop(others);
    let gave = sharing.unwrap().stay(&first, async {}).await;
    assert_eq!((gave.given, gave.machines), (3 * LARGE as u64, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn laptops_that_begin_together_share_what_leaves_the_server() {
    let class = Arc::new(Class::new().await);
    let all = (0..6).map(|number| {
        let class = Arc::clone(&class);
        tokio::spawn(async move {
            let (context, _) = class.laptop(&format!("seat{number}"));
            let (outcome, sharing) = class.fetch(&context).await.unwrap();
            // Whoever is done first still gives.
            (outcome, sharing, complete(&context).verify(&Silent).len())
        })
    });
    let ran: Vec<_> = futures::future::join_all(all).await.into_iter().map(Result::unwrap).collect();
    let shared: Vec<_> = ran.iter().map(|(outcome, ..)| outcome.shared.clone().unwrap()).collect();
    let lab = ran[0].0.bytes;
    let from_server: u64 = shared.iter().map(|shared| shared.from_server).sum();
    let from_laptops: u64 = shared.iter().map(|shared| shared.from_laptops).sum();
    assert!(ran.iter().all(|(.., damaged)| *damaged == 0));
    assert!(from_server <= 4 * lab, "{from_server} of labs of {lab}: {shared:?}");
    assert!(from_laptops > 0 && from_server + from_laptops >= 6 * 3 * LARGE as u64, "{shared:?}");
    assert_eq!(class.bench.origin.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_that_lies_is_dropped_and_named() {
    let class = Class::new().await;
    let liar = peer(&class.blobs(), |ask| whole(&vec![0; ask.bytes.len()], ask.from)).await;
    let (outcome, events) = class.fetch_beside(port_of(&liar.url())).await;
    let named = outcome.sources.iter().find(|source| source.source == liar.url()).unwrap();
    assert!(named.dropped.as_ref().is_some_and(|dropped| dropped.lied), "{named:?}");
    assert_eq!((named.blobs, liar.asked().len()), (0, 1), "and asked nothing more");
    let told =
        |event: &Event| matches!(event, Event::SourceDropped { source, lied: true, .. } if *source == liar.url());
    assert_eq!(events.iter().filter(|event| told(event)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_that_lies_gets_no_second_chance_under_another_port() {
    let class = Class::new().await;
    let lies = |ask: &Ask| whole(&vec![0; ask.bytes.len()], ask.from);
    let liars = [peer(&class.blobs(), lies).await, peer(&class.blobs(), lies).await, peer(&class.blobs(), lies).await];
    for liar in &liars[1..] {
        assert_eq!(class.announce(port_of(&liar.url())).await.0, 200);
    }
    let (outcome, _) = class.fetch_beside(port_of(&liars[0].url())).await;
    let named = |source: &&ztlab::fetch::SourceReport| source.dropped.as_ref().is_some_and(|dropped| dropped.lied);
    let named = outcome.sources.iter().filter(named).count();
    let asked: usize = liars.iter().map(|liar| liar.asked().len()).sum();
    // Those that were asked in the same moment have lied already.
    assert!((1..=3).contains(&named) && asked == named, "{named} of {asked}: {:?}", outcome.sources);
}

/// A server of a room that says once that this peer has this blob, and is then switched off.
async fn dying_server(peer: SocketAddr, place: usize) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = crate::raw::read_request(&mut stream).await;
        assert!(request.starts_with("POST /peers "), "{request}");
        let length =
            request.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        stream.read_exact(&mut vec![0; length.unwrap()]).await.unwrap();
        let blobs = format!("{}{:02x}", "00".repeat(place / 8), 1 << (place % 8));
        let answer = json!({ "take": [{ "from": peer.to_string(), "blobs": blobs }], "lacking": 0 }).to_string();
        let _ = stream.write_all(&head(200, answer.len(), "")).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_server_is_switched_off_those_who_are_known_are_asked_for_everything() {
    let class = Class::new().await;
    let blobs = class.blobs();
    let other = Peer::honest(&blobs).await;
    let server = dying_server(SocketAddr::from(([127, 0, 0, 1], port_of(&other.url()))), 0).await;
    let (context, _) = class.laptop("left");
    let request = fetch::Request {
        from: vec![Source::parse(&format!("http://{server}/"), Path::new("")).unwrap()],
        share: Some(Share { bind: None, port: 0, at_most: Duration::from_secs(60) }),
        ..fetch::Request::default()
    };
    let (outcome, _) = fetch::run_sharing(&context, &request, Some(Arc::new(Builder("first")))).await.unwrap();
    assert_eq!(complete(&context).verify(&Silent), []);
    let shared = outcome.shared.unwrap();
    assert_eq!((shared.from_server, shared.laptops), (0, 1));
    assert!(shared.from_laptops > 3 * LARGE as u64, "{:?}", outcome.sources);
    assert_eq!(class.bench.origin.seen().len(), 0, "upstream is spared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_that_dies_in_the_middle_is_gone_on_without_and_is_no_liar() {
    let class = Class::new().await;
    let dying = peer(&class.blobs(), |ask| [beginning(&ask.bytes, ask.from, 100_000), vec![Act::Reset]].concat()).await;
    let (outcome, events) = class.fetch_beside(port_of(&dying.url())).await;
    assert!(!dying.asked().is_empty());
    let lied = outcome.sources.iter().filter_map(|source| source.dropped.as_ref()).any(|dropped| dropped.lied);
    assert!(!lied, "{:?}", outcome.sources);
    assert!(!events.iter().any(|event| matches!(event, Event::SourceDropped { .. })), "a laptop that goes is no news");
    // What it sent was right, and is not sent again.
    let received: u64 = outcome.sources.iter().map(|source| source.bytes).sum();
    assert!(received < outcome.bytes + 100_000, "{received} of {}: {:?}", outcome.bytes, outcome.sources);
}

#[tokio::test(flavor = "multi_thread")]
async fn laptops_that_are_not_there_or_are_something_else_are_passed_over() {
    let class = Class::new().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(class.announce(unused.port()).await.0, 200);
    let empty = peer(&class.blobs(), |_| vec![Act::Send(head(404, 0, ""))]).await;
    let elsewhere =
        peer(&class.blobs(), |_| vec![Act::Send(head(302, 0, "Location: http://127.0.0.1:9/elsewhere\r\n"))]).await;
    assert_eq!(class.announce(port_of(&empty.url())).await.0, 200);
    let (outcome, _) = class.fetch_beside(port_of(&elsewhere.url())).await;
    assert_eq!(outcome.shared.unwrap().from_laptops, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_gives_verified_blobs_of_the_lab_and_nothing_else() {
    let class = Class::new().await;
    let (context, _) = class.laptop("one");
    let store = Store::open(&context.store).unwrap();
    let foreign = store.put(b"of another lab", &Silent).unwrap().descriptor();
    let (outcome, sharing) = class.fetch(&context).await.unwrap();
    let address: SocketAddr =
        outcome.shared.unwrap().address.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let blob = |bytes: &[u8]| format!("/blobs/sha256/{}", Digest::of(bytes).hex());
    let minikube = filler(1);
    let (status, body) = ask(address, "GET", &blob(minikube.as_bytes()), "").await;
    assert_eq!((status, body), (200, minikube.clone()));
    for (method, path, expected) in [
        ("GET", "/", 404),
        ("GET", "/lab.json", 404),
        ("GET", "/ztlab.lock", 404),
        ("GET", "/room.json", 404),
        ("GET", "/v2/", 404),
        ("GET", "/peers", 404),
        ("GET", "/blobs/sha256/../../etc/passwd", 404),
        ("GET", &format!("/blobs/sha256/{}", foreign.digest.hex()), 404),
        ("POST", "/roster", 405),
        ("POST", "/peers", 405),
        ("PUT", &blob(minikube.as_bytes()), 405),
        ("DELETE", &blob(minikube.as_bytes()), 405),
    ] {
        assert_eq!(ask(address, method, path, "").await.0, expected, "{method} {path}");
    }
    assert_eq!(ask(address, "POST", "/peers", "{}").await.0, 413, "no body is taken");
    // What is not itself any more is not given.
    let path = store.path_of(&Descriptor::of(minikube.as_bytes()).digest);
    fs_err::write(&path, minikube.to_uppercase()).unwrap();
    assert_eq!(ask(address, "GET", &blob(minikube.as_bytes()), "").await.0, 404);
    drop(sharing);
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it still listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_laptops_is_a_source_all_the_same() {
    let class = Class::new().await;
    let plain = Peer::honest(&class.blobs()).await;
    let (context, reporter) = class.laptop("one");
    let request = |from: Vec<Source>| fetch::Request {
        from,
        share: Some(Share { bind: None, port: 0, at_most: Duration::from_secs(1) }),
        ..fetch::Request::default()
    };
    let from = vec![Source::parse(&plain.url(), Path::new("")).unwrap()];
    let (outcome, sharing) =
        fetch::run_sharing(&context, &request(from), Some(Arc::new(Builder("first")))).await.unwrap();
    assert!(sharing.is_none() && outcome.shared.is_none());
    let warned = |event: &Event| matches!(event, Event::Warning { text } if text.starts_with("nothing is shared"));
    assert_eq!(reporter.events().iter().filter(|event| warned(event)).count(), 1);
    let nobody = fetch::run_sharing(&context, &request(Vec::new()), None).await.map(|_| ()).unwrap_err();
    assert_eq!(code(&nobody), "usage::share");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_stays_no_longer_than_it_was_told() {
    let class = Class::new().await;
    let (context, reporter) = class.laptop("one");
    let request = fetch::Request {
        from: vec![Source::parse(&class.url(), Path::new("")).unwrap()],
        share: Some(Share { bind: None, port: 0, at_most: Duration::from_secs(1) }),
        ..fetch::Request::default()
    };
    let (_, sharing) = fetch::run_sharing(&context, &request, Some(Arc::new(Builder("first")))).await.unwrap();
    // Somebody who lacks everything keeps the others in the room.
    let hello = json!({
        "lab_id": class.bench.read().lab_id(), "port": 9, "jobs": 8, "have": "", "want": "ff", "failed": [],
    });
    assert_eq!(ask(class.server, "POST", "/peers", &hello.to_string()).await.0, 200);
    let begun = Instant::now();
    sharing.unwrap().stay(&context, std::future::pending()).await;
    assert!((Duration::from_millis(900)..Duration::from_secs(20)).contains(&begun.elapsed()));
    let complete = |event: &Event| matches!(event, Event::Sharing { complete: true, .. });
    assert_eq!(reporter.events().iter().filter(|event| complete(event)).count(), 1);
}
