//! The registry's answers. The tools themselves pull in `rig/serve.sh`.

use ztlab::base::Digest;

use crate::lab::{DOCKER_MANIFEST, Lab, OCI_INDEX, OCI_MANIFEST};

#[tokio::test]
async fn images_are_found_under_every_name_that_a_client_asks_for() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let ping = server.get("/v2/", &[]).await;
    assert_eq!((ping.status, ping.header("docker-distribution-api-version")), (200, "registry/2.0"));
    let index = lab.lock.image["node"].index.unwrap().digest.unwrap();
    let (node, nginx, operator) =
        (lab.manifest("node").digest, lab.manifest("nginx").digest, lab.manifest("operator").digest);
    for (path, digest, media_type) in [
        ("/v2/docker.io/calico/node/manifests/v3.27.0", index, OCI_INDEX),
        ("/v2/calico/node/manifests/v3.27.0", index, OCI_INDEX),
        ("/v2/calico/node/manifests/v3.27.0?ns=docker.io", index, OCI_INDEX),
        (&format!("/v2/calico/node/manifests/{node}"), node, OCI_MANIFEST),
        (&format!("/v2/calico/node/manifests/{index}"), index, OCI_INDEX),
        ("/v2/library/nginx/manifests/1.25", nginx, DOCKER_MANIFEST),
        ("/v2/docker.io/nginx/manifests/1.25", nginx, DOCKER_MANIFEST),
        ("/v2/nginx/manifests/1.25?ns=registry-1.docker.io", nginx, DOCKER_MANIFEST),
        ("/v2/tigera/operator/manifests/v1.32.3?ns=quay.io", operator, OCI_MANIFEST),
        ("/v2/tigera/operator/manifests/v1.32.3", operator, OCI_MANIFEST),
        ("/v2/quay.io/tigera/operator/manifests/v1.32.3", operator, OCI_MANIFEST),
    ] {
        let answer = server.get(path, &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{path}");
        assert_eq!(answer.header("docker-content-digest"), digest.to_string(), "{path}");
        assert_eq!(Digest::of(&answer.body), digest, "{path}");
        let head = server.ask("HEAD", path, &[]).await;
        assert_eq!((head.status, head.header("content-length")), (200, answer.body.len().to_string().as_str()));
    }
    let layer = format!("/v2/calico/node/blobs/{}", lab.layer.digest);
    let part = server.get(&layer, &["Range: bytes=10-"]).await;
    assert!(part.status == 206 && part.body == lab.layer_bytes[10..]);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_told_as_the_specification_says() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let absent = Digest::of(b"absent");
    for (path, status, code) in [
        ("/v2/calico/typha/manifests/v3.27.0".to_owned(), 404, "NAME_UNKNOWN"),
        // The name of one registry does not stand for another's.
        ("/v2/calico/node/manifests/v3.27.0?ns=quay.io".to_owned(), 404, "NAME_UNKNOWN"),
        ("/v2/calico/node/manifests/v3.28.0".to_owned(), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/calico/node/manifests/{absent}"), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/calico/node/manifests/{}", lab.layer.digest), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/calico/node/blobs/{absent}"), 404, "BLOB_UNKNOWN"),
        ("/v2/calico/node/blobs/sha256:0".to_owned(), 400, "DIGEST_INVALID"),
        ("/v2/calico/node/blobs/uploads/".to_owned(), 404, "UNSUPPORTED"),
    ] {
        let answer = server.get(&path, &[]).await;
        assert_eq!((answer.status, answer.json()["errors"][0]["code"].as_str()), (status, Some(code)), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn repositories_and_tags_are_listed() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let names = ["docker.io/calico/node", "docker.io/library/nginx", "quay.io/tigera/operator"];
    assert_eq!(server.get("/v2/_catalog", &[]).await.json()["repositories"], serde_json::json!(names));
    let first = server.get("/v2/_catalog?n=2", &[]).await;
    assert_eq!(first.json()["repositories"], serde_json::json!(names[..2]));
    let next = first.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(server.get(&next, &[]).await.json()["repositories"], serde_json::json!(names[2..]));
    let tags = server.get("/v2/calico/node/tags/list", &[]).await.json();
    assert_eq!((tags["name"].as_str(), &tags["tags"]), (Some("calico/node"), &serde_json::json!(["v3.27.0"])));
    let referrers = server.get(&format!("/v2/calico/node/referrers/{}", lab.layer.digest), &[]).await;
    assert_eq!((referrers.header("content-type"), &referrers.json()["manifests"]), (OCI_INDEX, &serde_json::json!([])));
    server.stop().await;
}
