//! skopeo, oras and crane read the store where it lies. `rig/readers.sh` brings them and runs this with
//! `ZTLAB_READERS`; where a tool is absent, its test says that it was skipped.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ztlab::base::{Descriptor, Digest, Platform};

use crate::bench::Bench;

const NODE: &str = "docker.io/lab/node:v1";
const PAUSE: &str = "registry.k8s.io/pause:3.9";

/// The tool: in the folders of `ZTLAB_READERS` (all of them must then be there), or on the PATH.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let asked = std::env::var_os("ZTLAB_READERS");
    let folders = asked.clone().or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    assert!(found.is_some() || asked.is_none(), "ZTLAB_READERS names no folder with {name}");
    if found.is_none() {
        println!("skipped: {name} is not on this machine (rig/readers.sh brings it)");
    }
    found
}

/// Runs a tool, and returns what it wrote to stdout, byte for byte.
pub(crate) fn run(program: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A fetched store, and what upstream published: the index, and the single Docker manifest.
struct Fetched {
    bench: Bench,
    store: PathBuf,
    index: Vec<u8>,
    docker: Vec<u8>,
}

impl Fetched {
    fn new() -> Self {
        let bench = Bench::with_images();
        bench.fetch("store").unwrap();
        let published = |path: &str| bench.origin.body(path);
        let index = published("/v2/docker.io/lab/node/manifests/v1");
        let docker = published("/v2/registry.k8s.io/pause/manifests/3.9");
        Self { store: bench.path("store"), index, docker, bench }
    }

    /// The layer of the platform that the lab needs.
    fn layer(&self) -> Descriptor {
        self.bench.read_lock().image["node"].platforms[&Platform::LinuxArm64].layers[0]
    }

    /// The store's own blobs behind an `index.json` that names these of them, as the path of a layout.
    fn view(&self, manifests: &[Descriptor]) -> String {
        let names: Vec<String> = manifests.iter().map(|manifest| manifest.digest.short()).collect();
        let view = self.bench.path(&format!("view-{}", names.join("-")));
        fs_err::create_dir_all(&view).unwrap();
        fs_err::copy(self.store.join("oci-layout"), view.join("oci-layout")).unwrap();
        let entry = |manifest: &Descriptor| {
            let document: serde_json::Value = serde_json::from_slice(&self.blob(&manifest.digest)).unwrap();
            serde_json::json!({ "mediaType": document["mediaType"], "digest": manifest.digest, "size": manifest.size })
        };
        let entries: Vec<serde_json::Value> = manifests.iter().map(entry).collect();
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": entries });
        fs_err::write(view.join("index.json"), index.to_string()).unwrap();
        std::os::unix::fs::symlink(self.store.join("blobs"), view.join("blobs")).unwrap();
        view.display().to_string()
    }

    fn blob(&self, digest: &Digest) -> Vec<u8> {
        fs_err::read(self.store.join("blobs/sha256").join(digest.hex())).unwrap()
    }
}

#[test]
fn documents_are_kept_byte_for_byte_and_the_index_with_one_platform() {
    let fetched = Fetched::new();
    let lock = fetched.bench.read_lock();
    let index = lock.image["node"].index.unwrap().complete().unwrap();
    assert_eq!(fetched.blob(&index.digest), fetched.index);
    assert_eq!(fetched.blob(&lock.image["pause"].platforms[&Platform::LinuxArm64].manifest.digest), fetched.docker);
    let document: serde_json::Value = serde_json::from_slice(&fetched.index).unwrap();
    let there = |entry: &serde_json::Value| {
        let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
        fetched.store.join("blobs/sha256").join(digest.hex()).exists()
    };
    let manifests: Vec<bool> = document["manifests"].as_array().unwrap().iter().map(there).collect();
    assert_eq!(manifests, [false, true], "amd64 is named and not fetched, arm64 is here");
}

#[test]
fn skopeo_reads_the_store_in_place() {
    let Some(skopeo) = tool("skopeo") else { return };
    let fetched = Fetched::new();
    // Debian's skopeo (1.9) finds no Docker manifest by its name in any layout; alone in one it takes it.
    let pause = fetched.bench.read_lock().image["pause"].platforms[&Platform::LinuxArm64].manifest;
    let node = format!("oci:{}:{NODE}", fetched.store.display());
    for (image, document) in [(node, &fetched.index), (format!("oci:{}", fetched.view(&[pause])), &fetched.docker)] {
        assert_eq!(run(&skopeo, &["inspect", "--raw", &image]), *document, "{image}");
        let copied = fetched.bench.path("copied").join(Digest::of(document).short());
        fs_err::create_dir_all(&copied).unwrap();
        let to = format!("dir:{}", copied.display());
        let platform = ["--override-os", "linux", "--override-arch", "arm64", "--insecure-policy"];
        run(&skopeo, &[&platform[..], &["copy", "--quiet", &image, &to]].concat());
    }
    let layer = fetched.layer().digest;
    let copied = fetched.bench.path("copied").join(Digest::of(&fetched.index).short()).join(layer.hex());
    assert_eq!(fs_err::read(copied).unwrap(), fetched.blob(&layer));
}

#[test]
fn oras_reads_the_store_in_place() {
    let Some(oras) = tool("oras") else { return };
    let fetched = Fetched::new();
    let store = fetched.store.display().to_string();
    for (reference, document) in [(NODE, &fetched.index), (PAUSE, &fetched.docker)] {
        let read = run(&oras, &["manifest", "fetch", "--oci-layout-path", &store, reference]);
        assert_eq!(read, *document, "{reference}");
    }
    let named = String::from_utf8(run(&oras, &["repo", "tags", "--oci-layout", &store])).unwrap();
    assert_eq!(named.lines().collect::<Vec<_>>(), [NODE, PAUSE]);
    let from = format!("{store}@{}", Digest::of(&fetched.index));
    let to = fetched.bench.path("copied");
    let target = format!("{}:v1", to.display());
    let copy = ["copy", "--from-oci-layout", "--platform", "linux/arm64", "--to-oci-layout"];
    run(&oras, &[&copy[..], &[&from, &target]].concat());
    let layer = fetched.layer().digest;
    assert_eq!(fs_err::read(to.join("blobs/sha256").join(layer.hex())).unwrap(), fetched.blob(&layer));
}

/// A registry of crane's own, which dies with this value.
struct Registry {
    child: std::process::Child,
    address: String,
}

impl Registry {
    fn start(crane: &Path) -> Self {
        let mut command = Command::new(crane);
        command.args(["registry", "serve", "--address", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while !said.contains("serving on port") {
            said.clear();
            assert!(lines.read_line(&mut said).unwrap() > 0, "crane's registry ended");
        }
        // It goes on talking: somebody has to listen, or it stops.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let port = said.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, address: format!("127.0.0.1:{port}") }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// crane takes one image out of a layout only when the layout names no other.
#[test]
fn crane_reads_the_store_in_place() {
    let Some(crane) = tool("crane") else { return };
    let fetched = Fetched::new();
    let registry = Registry::start(&crane);
    let lock = fetched.bench.read_lock();
    for name in ["node", "pause"] {
        let pin = &lock.image[name].platforms[&Platform::LinuxArm64];
        let manifest = fetched.blob(&pin.manifest.digest);
        let to = format!("{}/lab/{name}:v1", registry.address);
        run(&crane, &["push", "--insecure", &fetched.view(&[pin.manifest]), &to]);
        assert_eq!(run(&crane, &["manifest", "--insecure", &to]), manifest, "{name}");
        let layer = format!("{}/lab/{name}@{}", registry.address, pin.layers[0].digest);
        assert_eq!(run(&crane, &["blob", "--insecure", &layer]), fetched.blob(&pin.layers[0].digest), "{name}");
    }
}

/// The whole store by one command: what crane makes of an index that names a platform that the lab does not need, and
/// the way round it that docs/decisions.md describes.
#[test]
fn crane_takes_the_whole_store_through_an_index_of_what_is_there() {
    let Some(crane) = tool("crane") else { return };
    let fetched = Fetched::new();
    let registry = Registry::start(&crane);
    let to = format!("{}/lab/all:v1", registry.address);
    let store = fetched.store.display().to_string();
    let refused = Command::new(&crane).args(["push", "--insecure", "--index", &store, &to]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("no such file"), "{said}");
    let lock = fetched.bench.read_lock();
    let manifests = ["node", "pause"].map(|name| lock.image[name].platforms[&Platform::LinuxArm64].manifest);
    run(&crane, &["push", "--insecure", "--index", &fetched.view(&manifests), &to]);
    for manifest in manifests {
        let one = format!("{}/lab/all@{}", registry.address, manifest.digest);
        assert_eq!(run(&crane, &["manifest", "--insecure", &one]), fetched.blob(&manifest.digest));
    }
}
