//! A machine with a lab of two Deployments and a dashboard, every blob of it in the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use ztlab::{
    base::{Descriptor, Platform, report::Recording},
    fetch::RetryPolicy,
    intent::Intent,
    lockfile::{self, ImagePin, Lock},
    step::{Options, Step, Target},
    store::Store,
    verb::{self, Context},
};

use crate::cluster::Cluster;

const INTENT: &str = r#"
schema = 1
name = "two"
host = ["PLATFORM"]
node = ["NODE"]

[version]
istio = "1.20.0"

[file.istio]
url = "https://upstream.invalid/istio.tar.gz"
member = { istioctl = "bin/istioctl", grafana = "samples/addons/grafana.yaml" }

[image.backend]
ref = "docker.io/library/backend:1"

[image.curl]
ref = "docker.io/curlimages/curl:8.5.0"

[image.grafana]
ref = "docker.io/grafana/grafana:9.5.5"

[image.pilot]
ref = "docker.io/istio/pilot:1.20.0"

[image.proxy]
ref = "docker.io/istio/proxyv2:1.20.0"

[profile.small]
memory = 3072
without = ["deployment.webapp.loadtest", "file.istio.grafana", "image.grafana"]
"#;

fn deployment(namespace: &str, name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{template: {{spec: {{containers: [{{name: c, image: '{image}', imagePullPolicy: IfNotPresent}}]}}}}}}\n"
    )
}

/// A machine with the lab on it, and a cluster in which all of it runs.
pub(crate) struct Machine {
    pub(crate) context: Context,
    pub(crate) cluster: Cluster,
    pub(crate) folder: tempfile::TempDir,
}

impl Machine {
    pub(crate) async fn new(installed: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let context = Context {
            lab: folder.path().join("lab"),
            store: folder.path().join("store"),
            journals: folder.path().join("journals"),
            offline: false,
            mirrors: Vec::new(),
            ca_files: Vec::new(),
            retry: RetryPolicy::default(),
            environment: BTreeMap::from([("KUBECONFIG".to_owned(), kubeconfig.display().to_string())]),
            reporter: Arc::new(Recording::default()),
        };
        let cluster = Cluster::default();
        cluster.serve(&kubeconfig).await;
        for (namespace, name, ours) in [
            ("webapp", "backend", true),
            ("webapp", "loadtest", true),
            ("istio-system", "grafana", true),
            ("somebody", "elses", false),
        ] {
            cluster.put("Deployment", namespace, name, ours, json!({}));
        }
        let machine = Self { context, cluster, folder };
        machine.write_lab();
        let lab_id = machine.lock().lab_id();
        let receipt = json!({"lab": "two", "lab_id": lab_id, "profile": installed, "version": {}, "images": {}});
        let data = json!({"data": {"receipt.json": receipt.to_string()}});
        machine.cluster.put("ConfigMap", "kube-system", "ztlab-receipt", true, data);
        machine
    }

    pub(crate) fn lock(&self) -> Lock {
        lockfile::read(&self.context.lock_path()).unwrap()
    }

    /// The lab with every blob of it in the store.
    fn write_lab(&self) {
        let (host, node) = match Platform::current().unwrap() {
            Platform::DarwinArm64 => ("darwin-arm64", "linux-arm64"),
            Platform::LinuxArm64 => ("linux-arm64", "linux-arm64"),
            Platform::LinuxAmd64 => ("linux-amd64", "linux-amd64"),
        };
        let lab = &self.context.lab;
        fs_err::create_dir_all(lab.join("lock")).unwrap();
        fs_err::create_dir_all(lab.join("manifests")).unwrap();
        fs_err::write(
            lab.join("manifests/backend.yaml"),
            deployment("webapp", "backend", "docker.io/library/backend:1"),
        )
        .unwrap();
        let loadtest = deployment("webapp", "loadtest", "docker.io/curlimages/curl:8.5.0");
        fs_err::write(lab.join("manifests/loadtest.yaml"), loadtest).unwrap();
        let store = Store::open(&self.context.store).unwrap();
        let put = |bytes: &str| store.put(bytes.as_bytes(), &Recording::default()).unwrap().descriptor();
        let intent = INTENT.replace("PLATFORM", host).replace("NODE", node);
        let mut lock = lockfile::request(&Intent::parse(&intent).unwrap()).unwrap();
        let known = |descriptor: Descriptor| (Some(descriptor.digest), Some(descriptor.size));
        let istio = lock.file.get_mut("istio").unwrap();
        (istio.digest, istio.size) = known(put("archive"));
        let grafana = deployment("istio-system", "grafana", "docker.io/grafana/grafana:9.5.5");
        for (name, text) in [("istioctl", "program"), ("grafana", grafana.as_str())] {
            let member = istio.member.get_mut(name).unwrap();
            (member.digest, member.size) = known(put(text));
        }
        for (name, entry) in &mut lock.image {
            let part = |what: &str| put(&format!("{what} of {name}"));
            let pin = ImagePin { manifest: part("manifest"), config: part("config"), layers: vec![part("layer")] };
            entry.platforms.insert(node.parse().unwrap(), pin);
        }
        lockfile::save(&self.context.lock_path(), &lock).unwrap();
    }

    pub(crate) fn target() -> Target {
        Target::Existing { context: "lab".to_owned(), node: "docker:node".parse().unwrap() }
    }

    pub(crate) fn options(profile: Option<&str>) -> Options {
        Options {
            timeout: Duration::from_secs(10),
            force_conflicts: false,
            offline: false,
            profile: profile.map(str::to_owned),
            from: Some(Step::Prune),
            until: Some(Step::Prune),
        }
    }

    /// The step `prune` of an install; which profile it was of.
    pub(crate) async fn pruned(&self, profile: Option<&str>) -> miette::Result<String> {
        let report = verb::install::run(&self.context, Self::target(), Self::options(profile), None).await?;
        Ok(report.profile)
    }
}
