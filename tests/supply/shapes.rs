//! The shapes in which registries publish an image: OCI's and Docker's documents, one platform or a list of them.

use serde_json::{Value, json};
use ztlab::base::{Descriptor, Platform};

use crate::bench::{Bench, CALICO};

const REPOSITORY: &str = "/v2/docker.io/calico/node";

/// Media types of one family: list, manifest, config, layer (OCI image-spec v1.1, media-types.md; Docker's image manifest
/// version 2, schema 2).
type Family = [&'static str; 4];

const OCI: Family = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
];
const DOCKER: Family = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

fn described(bytes: &[u8], media_type: &str) -> Value {
    let Descriptor { digest, size } = Descriptor::of(bytes);
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// Serves bytes under their digest.
fn serve(bench: &Bench, kind: &str, bytes: &[u8]) {
    bench.origin.serve(&format!("{REPOSITORY}/{kind}/{}", Descriptor::of(bytes).digest), bytes);
}

/// Publishes an image for linux/arm64 under Calico's tag, alone or in a list, and returns its manifest and the list.
fn publish(bench: &Bench, family: Family, listed: Option<Value>) -> (Descriptor, Option<Descriptor>) {
    let [list_type, manifest_type, config_type, layer_type] = family;
    let config = br#"{"os":"linux","architecture":"arm64","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let layer = b"a layer of its own";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": described(config, config_type),
        "layers": [described(layer, layer_type)],
    })
    .to_string();
    serve(bench, "blobs", config);
    serve(bench, "blobs", layer);
    serve(bench, "manifests", manifest.as_bytes());
    let pinned = Descriptor::of(manifest.as_bytes());
    let Some(platform) = listed else {
        bench.origin.serve(CALICO, manifest);
        return (pinned, None);
    };
    let mut entry = described(manifest.as_bytes(), manifest_type);
    entry["platform"] = platform;
    let list = json!({ "schemaVersion": 2, "mediaType": list_type, "manifests": [entry] }).to_string();
    serve(bench, "manifests", list.as_bytes());
    bench.origin.serve(CALICO, list.clone());
    (pinned, Some(Descriptor::of(list.as_bytes())))
}

#[tokio::test]
async fn every_shape_is_pinned_down_to_its_config() {
    let arm64 = || json!({ "os": "linux", "architecture": "arm64" });
    let arm64_v8 = || json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    for family in [OCI, DOCKER] {
        for listed in [None, Some(arm64()), Some(arm64_v8())] {
            let bench = Bench::new().await;
            let (manifest, list) = publish(&bench, family, listed);
            bench.lock().await.unwrap();
            let entry = bench.read().image["calico"].clone();
            let pin = &entry.platforms[&Platform::LinuxArm64];
            assert_eq!((pin.manifest, entry.index), (manifest, list.map(Into::into)));
            assert_eq!(pin.layers, [Descriptor::of(b"a layer of its own")]);
        }
    }
}

#[tokio::test]
async fn another_platforms_list_is_refused_with_what_it_has() {
    let bench = Bench::new().await;
    publish(&bench, DOCKER, Some(json!({ "os": "linux", "architecture": "s390x" })));
    let error = format!("{:?}", bench.lock().await.unwrap_err());
    // The message is wrapped to the width of a page.
    assert!(error.contains("it has linux/s390x"), "{error}");
}
