//! A machine with a whole small lab on it, and its upstream behind `--mirror`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use ztlab::{
    base::{Descriptor, Digest, Platform, report::Recording},
    lockfile::{self, ImagePin, Lock},
    store::Store,
    verb::{Context, fetch, lock},
};

use crate::{lies, origin::Origin};

pub(crate) const INTENT: &str = r#"
schema = 1
name = "small"
host = ["darwin-arm64"]
node = ["linux-arm64"]

[version]
minikube = "1.32.0"
calico = "3.27.0"

[tool.minikube]
url = "https://github.com/minikube/v{minikube}/minikube-{os}-{arch}"

[file.istio]
url = "https://github.com/istio/istio.tar.gz"
member = { istioctl = "bin/istioctl" }

[manifest.operator]
url = "https://raw.example/v{calico}/operator.yaml"

[image.calico]
ref = "docker.io/calico/node:v{calico}"

[image.pause]
ref = "registry.k8s.io/pause:3.9"

[wheel.flask]
version = "3.1.3"
python = "3.12"

[app.backend]
path = "app/backend"
base = "image.calico"
ref = "docker.io/library/simple-backend:v1"
wheels = ["flask"]
files = { "app.py" = "/app/app.py" }
command = ["python3", "app.py"]
"#;

pub(crate) const MINIKUBE: &str = "/github.com/minikube/v1.32.0/minikube-darwin-arm64";
pub(crate) const CALICO: &str = "/v2/docker.io/calico/node/manifests/v3.27.0";

/// Upstream, and a machine with a lab on it.
pub(crate) struct Bench {
    pub(crate) origin: Origin,
    pub(crate) context: Context,
    _folder: tempfile::TempDir,
}

/// Makes an "image" of three documents: enough for the store, which runs nothing.
pub(crate) struct Builder(pub(crate) &'static str);

impl fetch::AppBuilder for Builder {
    fn build(&self, _: &Lock, app: &str, platform: Platform, store: &Store) -> miette::Result<ImagePin> {
        let put = |what: &str| {
            let bytes = format!("{what} of {app} for {platform}: {}", self.0);
            store.put(bytes.as_bytes(), &Recording::default()).map(|blob| blob.descriptor())
        };
        Ok(ImagePin { manifest: put("manifest")?, config: put("config")?, layers: vec![put("layer")?] })
    }
}

fn described(descriptor: Descriptor, media_type: &str) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": descriptor.digest.to_string(), "size": descriptor.size })
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let origin = Origin::start().await;
        let folder = tempfile::tempdir().unwrap();
        let mirror = |host: &str| (host.to_owned(), origin.url(&format!("/{}", host.trim_start_matches("https://"))));
        let hosts = ["https://github.com", "https://raw.example", "https://pypi.org", "https://files.pythonhosted.org"];
        let registries = ["docker.io", "registry.k8s.io"];
        let context = Context {
            lab: folder.path().join("lab"),
            store: folder.path().join("store"),
            journals: folder.path().join("journals"),
            offline: false,
            mirrors: hosts.iter().chain(&registries).map(|host| mirror(host)).collect(),
            ca_files: Vec::new(),
            retry: lies::network().retry,
            environment: BTreeMap::new(),
            reporter: Arc::new(Recording::default()),
        };
        let bench = Self { origin, context, _folder: folder };
        bench.write_intent(INTENT);
        fs_err::create_dir_all(bench.context.lab.join("app/backend")).unwrap();
        fs_err::write(bench.context.lab.join("app/backend/app.py"), "print('hello')").unwrap();
        bench.publish_files();
        bench.publish_index("layer of calico");
        bench.publish_single_manifest();
        bench
    }

    pub(crate) fn write_intent(&self, text: &str) {
        fs_err::create_dir_all(self.context.lab.join("lock")).unwrap();
        fs_err::write(self.context.intent_path(), text).unwrap();
    }

    fn publish_files(&self) {
        self.origin.serve(MINIKUBE, "minikube program");
        self.origin.serve("/raw.example/v3.27.0/operator.yaml", "kind: Namespace");
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(8);
        header.set_mode(0o755);
        archive.append_data(&mut header, "istio-1.20.0/bin/istioctl", "istioctl".as_bytes()).unwrap();
        self.origin.serve("/github.com/istio/istio.tar.gz", archive.into_inner().unwrap().finish().unwrap());
        let wheel = Descriptor::of(b"wheel");
        self.publish_page(json!({
            "filename": "flask-3.1.3-py3-none-any.whl",
            "url": "https://files.pythonhosted.org/packages/flask-3.1.3-py3-none-any.whl",
            "hashes": { "sha256": wheel.digest.hex() },
            "size": wheel.size,
        }));
        self.origin.serve("/files.pythonhosted.org/packages/flask-3.1.3-py3-none-any.whl", "wheel");
    }

    /// The package index' page with this one file.
    pub(crate) fn publish_page(&self, file: serde_json::Value) {
        let page = json!({ "meta": { "api-version": "1.1" }, "name": "flask", "files": [file] });
        self.origin.serve("/pypi.org/simple/flask/", page.to_string());
    }

    /// An OCI index with two platforms and an attestation, as buildkit publishes it. Returns the index.
    pub(crate) fn publish_index(&self, layer: &str) -> Descriptor {
        let repository = "/v2/docker.io/calico/node";
        let manifest = self.publish_manifest(
            repository,
            [
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ],
            layer,
        );
        let entry = |os: &str, architecture: &str, bytes: &str| {
            let mut entry = described(Descriptor::of(bytes.as_bytes()), "application/vnd.oci.image.manifest.v1+json");
            entry["platform"] = json!({ "os": os, "architecture": architecture });
            entry
        };
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                entry("linux", "amd64", "another machine's"),
                entry("linux", "arm64", &manifest),
                entry("unknown", "unknown", "attestation"),
            ],
        })
        .to_string();
        self.origin.serve(&format!("{repository}/manifests/{}", Digest::of(index.as_bytes())), index.clone());
        self.origin.serve(CALICO, index.clone());
        Descriptor::of(index.as_bytes())
    }

    /// A Docker manifest without an index: its config says the platform.
    fn publish_single_manifest(&self) {
        let repository = "/v2/registry.k8s.io/pause";
        let manifest = self.publish_manifest(
            repository,
            [
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ],
            "layer of pause",
        );
        self.origin.serve(&format!("{repository}/manifests/3.9"), manifest);
    }

    /// An image of one layer, by its digests. Media types: the manifest's, the config's, the layer's.
    fn publish_manifest(&self, repository: &str, types: [&str; 3], layer: &str) -> String {
        let config = br#"{"os":"linux","architecture":"arm64","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": types[0],
            "config": described(Descriptor::of(config), types[1]),
            "layers": [described(Descriptor::of(layer.as_bytes()), types[2])],
        })
        .to_string();
        for (kind, bytes) in
            [("blobs", config.as_slice()), ("blobs", layer.as_bytes()), ("manifests", manifest.as_bytes())]
        {
            self.origin.serve(&format!("{repository}/{kind}/{}", Digest::of(bytes)), bytes);
        }
        manifest
    }

    pub(crate) async fn lock(&self) -> miette::Result<lock::Outcome> {
        lock::run(&self.context, &lock::Request::default()).await
    }

    pub(crate) async fn fetch(&self) -> miette::Result<fetch::Outcome> {
        self.fetch_with(fetch::Request::default()).await
    }

    pub(crate) async fn fetch_with(&self, request: fetch::Request) -> miette::Result<fetch::Outcome> {
        fetch::run(&self.context, &request, Some(Arc::new(Builder("first")))).await
    }

    pub(crate) fn read(&self) -> Lock {
        lockfile::read(&self.context.lock_path()).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        fs_err::read_to_string(self.context.lock_path()).unwrap()
    }

    pub(crate) fn save(&self, lock: &Lock) {
        lockfile::save(&self.context.lock_path(), lock).unwrap();
    }
}

pub(crate) fn code(report: &miette::Report) -> String {
    report.code().map(|code| code.to_string()).unwrap_or_default()
}
