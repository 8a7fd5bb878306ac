//! `--from`: places that have some of a lab, that have damaged bytes, or that are not there; and `--estimate`.

use std::{
    collections::BTreeMap, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration,
};

use ztlab::{
    base::{Descriptor, Digest, Event, report::Recording},
    fetch::Source,
    store::Store,
    verb::{Context, estimate, fetch},
};

use crate::{
    bench::{Bench, Builder, MINIKUBE},
    origin::{Fault, Origin},
};

const CALICO: &[u8] = b"layer of calico";
const PAUSE: &[u8] = b"layer of pause";

/// A lab that was locked, and a second machine that has nothing yet.
struct Room {
    bench: Bench,
    second: Context,
    reporter: Arc<Recording>,
}

impl Room {
    async fn new() -> Self {
        let bench = Bench::new().await;
        bench.lock().await.unwrap();
        bench.fetch().await.unwrap();
        bench.origin.forget();
        let reporter = Arc::new(Recording::default());
        let second = Context {
            store: bench.context.lab.join("second"),
            reporter: Arc::<Recording>::clone(&reporter) as _,
            ..bench.context.clone()
        };
        Self { bench, second, reporter }
    }

    /// Fetches into the second store, from these places first. Returns what upstream was asked for.
    async fn fetch_from(&self, sources: Vec<Source>) -> Vec<String> {
        self.outcome_of(sources).await.0
    }

    /// The same, and what the run says of itself.
    async fn outcome_of(&self, sources: Vec<Source>) -> (Vec<String>, fetch::Outcome) {
        let request = fetch::Request { from: sources, ..fetch::Request::default() };
        let outcome = fetch::run(&self.second, &request, Some(Arc::new(Builder("first")))).await.unwrap();
        (self.bench.origin.seen().into_iter().map(|seen| seen.path).collect(), outcome)
    }

    fn told(&self) -> String {
        let text = |event| match event {
            Event::Warning { text } | Event::Note { text } | Event::TransferFailed { error: text, .. } => Some(text),
            Event::SourceDropped { source, what, .. } => Some(format!("{source} is passed over: {what}")),
            _ => None,
        };
        self.reporter.events().into_iter().filter_map(text).collect::<Vec<_>>().join("\n")
    }
}

fn blob_path(name: &str, bytes: &[u8]) -> String {
    format!("/v2/{name}/blobs/{}", Digest::of(bytes))
}

/// A tar with these members.
fn tar(members: &[(String, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn write(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

/// Serves the first machine's store as any web server would.
async fn web_server(room: &Room) -> Origin {
    let store = Store::open(&room.bench.context.store).unwrap();
    let server = Origin::start().await;
    for digest in store.present().unwrap().keys() {
        server.serve(&format!("/lab/blobs/sha256/{}", digest.hex()), fs_err::read(store.path_of(digest)).unwrap());
    }
    server
}

fn at(bytes: &[u8]) -> String {
    format!("/lab/blobs/sha256/{}", Digest::of(bytes).hex())
}

#[tokio::test]
async fn a_store_behind_a_web_server_is_a_source_and_upstream_is_asked_for_what_it_lacks() {
    let room = Room::new().await;
    let server = web_server(&room).await;
    server.remove(&at(PAUSE));
    let (asked, outcome) = room.outcome_of(vec![Source::parse(&server.url("/lab/"), Path::new("")).unwrap()]).await;
    assert_eq!(asked, [blob_path("registry.k8s.io/pause", PAUSE)]);
    let told: Vec<_> = outcome.sources.iter().map(|from| (from.source.as_str(), from.blobs, from.bytes)).collect();
    assert_eq!(told[1], ("upstream", 1, PAUSE.len() as u64));
    assert_eq!((told[0].0, told.len()), (server.url("/lab/").as_str(), 2));
    assert!(told[0].1 > 5 && outcome.sources.iter().all(|from| from.dropped.is_none()), "{told:?}");
}

#[tokio::test]
async fn a_store_behind_a_web_server_is_not_believed_and_is_named() {
    let room = Room::new().await;
    let server = web_server(&room).await;
    server.serve(&at(CALICO), "layer of cAlico");
    let (asked, outcome) = room.outcome_of(vec![Source::parse(&server.url("/lab/"), Path::new("")).unwrap()]).await;
    assert!(asked.contains(&blob_path("docker.io/calico/node", CALICO)), "{asked:?}");
    let dropped = outcome.sources[0].dropped.as_ref().unwrap();
    assert!(
        dropped.lied && dropped.what.contains(&format!("{} has other bytes", server.url(&at(CALICO)))),
        "{dropped:?}"
    );
    let told = room.told();
    assert_eq!(
        told.matches(&format!("{} is passed over: image.calico linux-arm64 layer 1: ", server.url("/lab/"))).count(),
        1,
        "{told}"
    );
}

#[tokio::test]
async fn a_source_that_is_switched_off_is_passed_over_once() {
    let room = Room::new().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = room.fetch_from(vec![Source::parse(&format!("http://{unused}"), Path::new("")).unwrap()]).await;
    assert!(asked.len() > 5);
    let told = room.told();
    assert_eq!(told.matches("is passed over: cannot reach").count(), 1, "{told}");
    assert!(told.contains("refused") && !told.contains("missing blobs"), "{told}");
}

#[tokio::test]
async fn minikubes_cache_is_a_source_for_programs_and_layers() {
    let room = Room::new().await;
    let home = room.second.lab.join(".minikube");
    let lock = room.bench.read();
    let config = lock.image["pause"].platforms.values().next().unwrap().config.digest;
    let config_bytes = fs_err::read(room.bench.context.store.join("blobs/sha256").join(config.hex())).unwrap();
    // As go-containerregistry writes it: the layer compressed, the registry's own manifest nowhere.
    let image = tar(&[
        (config.to_string(), &config_bytes),
        (format!("{}.tar.gz", Digest::of(PAUSE).hex()), PAUSE),
        ("manifest.json".to_owned(), b"[]"),
    ]);
    write(&home.join("cache/images/arm64/registry.k8s.io/pause_3.9"), &image);
    write(&home.join("cache/darwin/arm64/v1.32.0/minikube"), b"minikube program");
    write(&home.join("cache/darwin/arm64/v1.32.0/same-length"), b"minikube PROGRAM");
    let asked = room.fetch_from(vec![Source::parse("minikube", &home).unwrap()]).await;
    for absent in [MINIKUBE.to_owned(), blob_path("registry.k8s.io/pause", PAUSE)] {
        assert!(!asked.contains(&absent), "{asked:?}");
    }
    let manifests = asked.iter().filter(|path| path.starts_with("/v2/registry.k8s.io/pause/")).count();
    assert_eq!(manifests, 1, "only the manifest has to come from the registry: {asked:?}");
}

#[tokio::test]
async fn a_saved_archive_is_a_source_gzipped_or_not_and_its_damage_is_named() {
    for gzip in [false, true] {
        let room = Room::new().await;
        let member = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
        let mut bytes =
            tar(&[(member(PAUSE), PAUSE), (member(CALICO), b"layer of cAlico"), (member(b"else"), b"else")]);
        if gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let path = room.second.lab.join("images.tar");
        write(&path, &bytes);
        let asked = room.fetch_from(vec![Source::parse(path.to_str().unwrap(), Path::new("")).unwrap()]).await;
        assert!(!asked.contains(&blob_path("registry.k8s.io/pause", PAUSE)), "{asked:?}");
        assert!(asked.contains(&blob_path("docker.io/calico/node", CALICO)), "{asked:?}");
        let told = room.told();
        assert!(told.contains(&format!("{} has it damaged", path.display())), "{told}");
        assert!(told.contains(&format!("{} had 1 of ", path.display())), "{told}");
    }
}

#[tokio::test]
async fn an_archive_that_breaks_off_gives_what_it_has() {
    let room = Room::new().await;
    let member = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let whole = tar(&[(member(PAUSE), PAUSE), (member(CALICO), CALICO)]);
    let path = room.second.lab.join("images.tar");
    write(&path, &whole[..1024 + 512 + 5]);
    let asked = room.fetch_from(vec![Source::Archive(path)]).await;
    assert!(!asked.contains(&blob_path("registry.k8s.io/pause", PAUSE)), "{asked:?}");
    assert!(asked.contains(&blob_path("docker.io/calico/node", CALICO)), "{asked:?}");
}

/// A `docker` that answers from files.
fn docker(folder: &Path, driver: &str) -> BTreeMap<String, String> {
    let script = format!(
        r#"#!/bin/sh
echo "$*" >> {0}/asked
case "$1 $2" in
  "info --format") echo '{driver}' ;;
  "image inspect") [ "$5" = docker.io/calico/node:v3.27.0 ] && echo sha256:1 ;;
  "save "*) cat {0}/saved.tar ;;
esac
"#,
        folder.display()
    );
    write(&folder.join("docker"), script.as_bytes());
    fs_err::set_permissions(folder.join("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
    BTreeMap::from([("PATH".to_owned(), format!("{}:/usr/bin:/bin", folder.display()))])
}

#[tokio::test]
async fn docker_with_the_containerd_store_is_a_source() {
    let mut room = Room::new().await;
    let folder = tempfile::tempdir().unwrap();
    room.second.environment = docker(folder.path(), r#"[["driver-type","io.containerd.snapshotter.v1"]]"#);
    let member = format!("blobs/sha256/{}", Digest::of(CALICO).hex());
    write(&folder.path().join("saved.tar"), &tar(&[(member, CALICO)]));
    let asked = room.fetch_from(vec![Source::Docker]).await;
    assert!(!asked.contains(&blob_path("docker.io/calico/node", CALICO)), "{asked:?}");
    let commands = fs_err::read_to_string(folder.path().join("asked")).unwrap();
    let saves: Vec<&str> = commands.lines().filter(|line| line.starts_with("save")).collect();
    assert_eq!(saves, ["save docker.io/calico/node:v3.27.0"], "only what Docker has is saved");
}

#[tokio::test]
async fn docker_with_the_classic_store_is_passed_over_and_says_why() {
    let mut room = Room::new().await;
    let folder = tempfile::tempdir().unwrap();
    room.second.environment = docker(folder.path(), r#"[["Backing Filesystem","extfs"]]"#);
    assert!(room.fetch_from(vec![Source::Docker]).await.len() > 5);
    assert!(room.told().contains("its classic image store keeps unpacked layers"), "{}", room.told());
    assert!(!fs_err::read_to_string(folder.path().join("asked")).unwrap().contains("save"));
}

#[tokio::test]
async fn without_docker_its_source_is_passed_over() {
    let mut room = Room::new().await;
    room.second.environment = BTreeMap::from([("PATH".to_owned(), "/nonexistent".to_owned())]);
    assert!(room.fetch_from(vec![Source::Docker]).await.len() > 5);
    assert!(room.told().contains("Docker is passed over: `docker` cannot be run"), "{}", room.told());
}

#[tokio::test]
async fn a_folder_that_has_everything_needs_no_network() {
    let room = Room::new().await;
    let offline = Context { offline: true, ..room.second.clone() };
    let from = vec![Source::Folder(room.bench.context.store.clone())];
    let request = fetch::Request { from, ..fetch::Request::default() };
    let outcome = fetch::run(&offline, &request, None).await.unwrap();
    assert_eq!((outcome.requests, room.bench.origin.seen().len()), (0, 0));
    let planned = room.reporter.events().into_iter().find_map(|event| match event {
        Event::TransfersPlanned { transfers, bytes } => Some((transfers, bytes)),
        _ => None,
    });
    let started = room.reporter.events().iter().filter(|event| matches!(event, Event::TransferStarted { .. })).count();
    assert!(planned.is_some_and(|(transfers, bytes)| transfers <= started && bytes > 100), "{planned:?} {started}");
}

#[tokio::test]
async fn an_estimate_counts_bytes_and_pulls_and_asks_nobody_when_offline() {
    let room = Room::new().await;
    let direct = Context {
        offline: true,
        mirrors: room.second.mirrors.iter().filter(|(from, _)| from != "docker.io").cloned().collect(),
        ..room.second.clone()
    };
    let request = fetch::Request { max_rate: Some(10), ..fetch::Request::default() };
    let estimate = estimate::run(&direct, &request, estimate::SAMPLE).await.unwrap();
    assert_eq!(estimate.docker_hub_pulls, 2, "calico's index and its manifest; layers and other registries are free");
    let lock = room.bench.read();
    let app =
        |digest: &Digest| lock.app["backend"].platforms.values().any(|pin| pin.blobs().any(|b| b.digest == *digest));
    let store = Store::open(&room.bench.context.store).unwrap();
    let downloads = store
        .present()
        .unwrap()
        .into_iter()
        .filter(|(digest, _)| !app(digest) && *digest != Descriptor::of(b"istioctl").digest);
    let bytes: u64 = downloads.map(|(_, size)| size).sum();
    assert_eq!((estimate.bytes, estimate.seconds), (bytes, Some(bytes.div_ceil(10))));
    assert!(!estimate.measured);
    assert_eq!(room.bench.origin.seen().len(), 0);
    let mirrored =
        estimate::run(&Context { offline: true, ..room.second.clone() }, &request, estimate::SAMPLE).await.unwrap();
    assert_eq!(mirrored.docker_hub_pulls, 0, "a mirror's pulls are not Docker Hub's");
}

#[tokio::test]
async fn an_estimate_measures_the_line_with_layers_only() {
    let room = Room::new().await;
    // All of it comes before such a time is over, however slow the machine.
    let sample = Duration::from_secs(600);
    let estimate = estimate::run(&room.second, &fetch::Request::default(), sample).await.unwrap();
    assert!(estimate.measured && estimate.bytes_per_second.is_some_and(|rate| rate > 0), "{estimate:?}");
    let asked = room.bench.origin.seen();
    assert!(!asked.is_empty() && asked.iter().all(|seen| !seen.path.contains("/manifests/")), "{asked:?}");
}

#[tokio::test]
async fn an_estimate_names_what_has_no_size_yet() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    let mut lock = bench.read();
    let calico = lock.image.get_mut("calico").unwrap();
    (calico.index, calico.platforms) = (None, BTreeMap::new());
    bench.save(&lock);
    let mirrors = bench.context.mirrors.iter().filter(|(from, _)| from != "docker.io").cloned().collect();
    let context = Context { offline: true, mirrors, ..bench.context.clone() };
    let estimate = estimate::run(&context, &fetch::Request::default(), estimate::SAMPLE).await.unwrap();
    assert_eq!(estimate.pending, ["image.calico", "app.backend"]);
    assert_eq!(estimate.docker_hub_pulls, 2, "the tag's document, and the one of the platform");
    assert_eq!((estimate.bytes_per_second, estimate.seconds), (None, None));
}

#[tokio::test]
async fn a_source_in_the_middle_of_trouble_does_not_stop_the_fetch() {
    let room = Room::new().await;
    let server = Origin::start().await;
    let at = format!("/blobs/sha256/{}", Digest::of(CALICO).hex());
    server.serve(&at, CALICO);
    server.faults(&at, &[Fault::Status(200, None), Fault::Cut(3), Fault::Status(404, None)]);
    let asked = room.fetch_from(vec![Source::parse(&server.url(""), Path::new("")).unwrap()]).await;
    assert!(asked.contains(&blob_path("docker.io/calico/node", CALICO)), "{asked:?}");
}
