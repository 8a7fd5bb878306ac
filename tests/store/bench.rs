//! A lab with its upstream, and stores to fetch it into: in this process, or by the real program.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use serde_json::json;
use ztlab::{
    base::{Descriptor, Digest, report::Recording},
    lockfile::{self, Lock},
    verb::{Context, fetch, lock},
};

use crate::origin::Origin;

/// The registries' and the file server's names, all of them served by the origin.
const MIRRORED: [&str; 3] = ["https://files.example", "docker.io", "registry.k8s.io"];

pub(crate) struct Bench {
    pub(crate) origin: Origin,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

/// Bytes that do not repeat: a wrong part of them is never right by chance.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn described(bytes: &[u8], media_type: &str) -> serde_json::Value {
    let Descriptor { digest, size } = Descriptor::of(bytes);
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size })
}

impl Bench {
    /// A lab of files of these lengths.
    pub(crate) fn with_files(lengths: &[usize]) -> Self {
        let bench = Self::start();
        let mut intent = "schema = 1\nname = \"files\"\nnode = [\"linux-arm64\"]\n".to_owned();
        for (number, length) in lengths.iter().enumerate() {
            bench.origin.serve(&format!("/files.example/{number}"), noise(number as u64 + 1, *length));
            intent.push_str(&format!("[manifest.m{number}]\nurl = \"https://files.example/{number}\"\n"));
        }
        bench.lock(&intent);
        bench
    }

    /// A lab of files, an archive with a member, an image behind an OCI index of two platforms (one of which the lab
    /// needs) and one that is a single Docker manifest.
    pub(crate) fn with_images() -> Self {
        let bench = Self::start();
        bench.origin.serve("/files.example/0", noise(1, 3000));
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(700);
        header.set_mode(0o755);
        archive.append_data(&mut header, "top/bin/tool", noise(9, 700).as_slice()).unwrap();
        bench.origin.serve("/files.example/a.tar.gz", archive.into_inner().unwrap().finish().unwrap());
        bench.publish_index();
        bench.publish_docker_manifest();
        bench.lock(
            r#"schema = 1
name = "images"
host = ["linux-arm64"]
node = ["linux-arm64"]
[manifest.m]
url = "https://files.example/0"
[file.a]
url = "https://files.example/a.tar.gz"
member = { tool = "bin/tool" }
[image.node]
ref = "docker.io/lab/node:v1"
[image.pause]
ref = "registry.k8s.io/pause:3.9"
"#,
        );
        bench
    }

    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let origin = runtime.block_on(Origin::start());
        let bench = Self { origin, runtime, folder: tempfile::tempdir().unwrap() };
        fs_err::create_dir_all(bench.path("lab/lock")).unwrap();
        bench
    }

    /// Locks with a store of its own: the stores under test have seen nothing.
    fn lock(&self, intent: &str) {
        fs_err::write(self.path("lab/lock/ztlab.toml"), intent).unwrap();
        let context = self.context("locking");
        let outcome = self.block_on(lock::run(&context, &lock::Request::default())).unwrap();
        assert!(outcome.pending.is_empty(), "{:?}", outcome.pending);
        self.origin.forget();
    }

    fn publish_index(&self) {
        let repository = "/v2/docker.io/lab/node";
        let layer = gzipped(&tarball(2, 9000));
        let config = json!({ "os": "linux", "architecture": "arm64", "config": {}, "rootfs": {
            "type": "layers", "diff_ids": [Digest::of(&tarball(2, 9000)).to_string()] } })
        .to_string();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described(config.as_bytes(), "application/vnd.oci.image.config.v1+json"),
            "layers": [described(&layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
        })
        .to_string();
        let entry = |architecture: &str, bytes: &str| {
            let mut entry = described(bytes.as_bytes(), "application/vnd.oci.image.manifest.v1+json");
            entry["platform"] = json!({ "os": "linux", "architecture": architecture });
            entry
        };
        // Odd spacing: a document that somebody parses and writes again would have another digest.
        let index = format!(
            "{{\n   \"schemaVersion\": 2,  \"mediaType\": \"application/vnd.oci.image.index.v1+json\",\n\"manifests\":{}}}\n",
            json!([entry("amd64", "of another machine"), entry("arm64", &manifest)])
        );
        for (kind, bytes) in [("blobs", config.as_bytes()), ("blobs", &layer), ("manifests", manifest.as_bytes())] {
            self.origin.serve(&format!("{repository}/{kind}/{}", Digest::of(bytes)), bytes);
        }
        self.origin.serve(&format!("{repository}/manifests/{}", Digest::of(index.as_bytes())), index.clone());
        self.origin.serve(&format!("{repository}/manifests/v1"), index);
    }

    fn publish_docker_manifest(&self) {
        let repository = "/v2/registry.k8s.io/pause";
        let layer = gzipped(&tarball(3, 5000));
        let config = json!({ "os": "linux", "architecture": "arm64", "config": {}, "rootfs": {
            "type": "layers", "diff_ids": [Digest::of(&tarball(3, 5000)).to_string()] } })
        .to_string();
        let manifest = format!(
            "{{ \"schemaVersion\" : 2, \"mediaType\": \"application/vnd.docker.distribution.manifest.v2+json\",\n \"config\": {},\n \"layers\": [{}] }}",
            described(config.as_bytes(), "application/vnd.docker.container.image.v1+json"),
            described(&layer, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        );
        for bytes in [config.as_bytes(), &layer] {
            self.origin.serve(&format!("{repository}/blobs/{}", Digest::of(bytes)), bytes);
        }
        self.origin.serve(&format!("{repository}/manifests/{}", Digest::of(manifest.as_bytes())), manifest.clone());
        self.origin.serve(&format!("{repository}/manifests/3.9"), manifest);
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mirrors(&self) -> Vec<(String, String)> {
        let host = |name: &str| name.trim_start_matches("https://").to_owned();
        MIRRORED.iter().map(|name| ((*name).to_owned(), self.origin.url(&format!("/{}", host(name))))).collect()
    }

    /// This lab with the store of that name.
    pub(crate) fn context(&self, store: &str) -> Context {
        Context {
            lab: self.path("lab"),
            store: self.path(store),
            journals: self.path("journals"),
            offline: false,
            mirrors: self.mirrors(),
            ca_files: Vec::new(),
            environment: BTreeMap::new(),
            retry: ztlab::fetch::RetryPolicy::default(),
            reporter: Arc::new(Recording::default()),
        }
    }

    pub(crate) fn fetch(&self, store: &str) -> miette::Result<fetch::Outcome> {
        self.block_on(fetch::run(&self.context(store), &fetch::Request::default(), None))
    }

    pub(crate) fn read_lock(&self) -> Lock {
        lockfile::read(&self.path("lab/lock/ztlab.lock")).unwrap()
    }

    /// Every blob of the lab.
    pub(crate) fn blobs(&self) -> Vec<Descriptor> {
        let artifacts = self.read_lock().artifacts().into_iter();
        let mut blobs: Vec<Descriptor> =
            artifacts.flat_map(|artifact| artifact.blobs.into_iter().map(|blob| blob.descriptor)).collect();
        blobs.sort();
        blobs.dedup();
        blobs
    }

    /// The real program in this lab, with the store at that path.
    pub(crate) fn command(&self, store: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztlab"));
        command.args(arguments).arg("--store").arg(store).arg("--lab").arg(self.path("lab"));
        for (from, to) in self.mirrors() {
            command.arg("--mirror").arg(format!("{from}={to}"));
        }
        command.env_clear().env("HOME", self.folder.path()).env("PATH", std::env::var_os("PATH").unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A layer with one file in it.
fn tarball(seed: u64, length: usize) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(length as u64);
    header.set_mode(0o644);
    layer.append_data(&mut header, "etc/noise", noise(seed, length).as_slice()).unwrap();
    layer.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// The files under final names, each read whole.
pub(crate) fn stored(store: &Path) -> BTreeMap<String, Digest> {
    let Ok(entries) = fs_err::read_dir(store.join("blobs/sha256")) else { return BTreeMap::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, Digest::of(&fs_err::read(&path).unwrap()))
        })
        .collect()
}

/// Nothing wrong and nothing half is under a final name.
pub(crate) fn assert_nothing_wrong(store: &Path) {
    for (name, digest) in stored(store) {
        assert_eq!(name, digest.hex(), "a file under a final name is not what its name says");
    }
}
