//! Blobs, ranges, the lock, the page; and what is not served.

use std::{collections::BTreeMap, sync::Arc};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ztlab::{
    base::{Descriptor, Digest, Event, report::Silent},
    fetch::{Client, Lanes, Network, Source, fetch_all},
    lockfile::{self, Lock},
    plan::Plan,
    store::Store,
};

use crate::lab::{Lab, parse};

#[tokio::test]
async fn a_blob_comes_whole_or_in_the_range_asked_for() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let (path, bytes, length) = (lab.layer_path(), &lab.layer_bytes, lab.layer_bytes.len());
    let whole = server.get(&path, &[]).await;
    assert_eq!((whole.status, whole.header("accept-ranges")), (200, "bytes"));
    assert_eq!(whole.header("etag"), format!("\"{}\"", lab.layer.digest));
    assert!(whole.body == *bytes, "the bytes of the blob");
    for (range, first, last) in [
        ("0-0", 0, 0),
        ("5-1048580", 5, 1_048_580),
        ("3000000-", 3_000_000, length - 1),
        ("-7", length - 7, length - 1),
    ] {
        let part = server.get(&path, &[&format!("Range: bytes={range}")]).await;
        assert_eq!(
            (part.status, part.header("content-range")),
            (206, format!("bytes {first}-{last}/{length}").as_str())
        );
        assert!(part.body == bytes[first..=last], "{range}");
    }
    let outside = server.get(&path, &[&format!("Range: bytes={length}-")]).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, format!("bytes */{length}").as_str()));
    let head = server.ask("HEAD", &path, &["Range: bytes=0-1"]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, length.to_string().as_str(), 0));
    server.stop().await;
}

#[tokio::test]
async fn a_range_is_only_for_who_has_the_rest_of_the_same() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let tag = format!("\"{}\"", lab.layer.digest);
    let status = |condition: String| {
        let (server, path) = (&server, lab.layer_path());
        async move { server.get(&path, &["Range: bytes=0-9", &condition]).await.status }
    };
    assert_eq!(status(format!("If-Range: {tag}")).await, 206);
    assert_eq!(status(format!("If-Range: W/{tag}")).await, 200, "a weak tag names no bytes");
    assert_eq!(status("If-Range: \"sha256:0\"".to_owned()).await, 200);
    assert_eq!(status("If-Range: Sat, 28 Nov 2026 00:00:00 GMT".to_owned()).await, 200);
    assert_eq!(status(format!("If-None-Match: \"x\", {tag}")).await, 304);
    server.stop().await;
}

#[tokio::test]
async fn only_the_blobs_of_this_lab_are_served() {
    let lab = Lab::new();
    let other = lab.store.put(b"a blob of another lab in the same store", &Silent).unwrap().descriptor();
    let server = lab.serve().await;
    for path in [
        format!("/blobs/sha256/{}", other.digest.hex()),
        format!("/v2/calico/node/blobs/{}", other.digest),
        format!("/blobs/sha256/{}", lab.layer.digest.hex().to_uppercase()),
        "/blobs/sha256/../../oci-layout".to_owned(),
        "/blobs/sha256/%2e%2e/index.json".to_owned(),
        "/index.json".to_owned(),
        "/ztlab/verified".to_owned(),
        "/ztlab.lock.minisig".to_owned(),
        "//".to_owned(),
    ] {
        assert_eq!(server.get(&path, &[]).await.status, 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn bytes_that_changed_are_not_served_and_that_is_said_once() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let path = lab.store.path_of(&lab.layer.digest);
    // Touched, and still itself.
    fs_err::write(&path, &lab.layer_bytes).unwrap();
    assert_eq!(server.get(&lab.layer_path(), &[]).await.status, 200);
    let mut wrong = lab.layer_bytes.clone();
    wrong[2_000_000] ^= 1;
    fs_err::write(&path, &wrong).unwrap();
    for _ in 0..2 {
        assert_eq!(server.get(&lab.layer_path(), &[]).await.status, 404);
    }
    let warnings: Vec<String> = server
        .reporter
        .events()
        .into_iter()
        .filter_map(|event| if let Event::Warning { text } = event { Some(text) } else { None })
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(&lab.layer.digest.to_string()) && warnings[0].contains("image.n"), "{warnings:?}");
    fs_err::remove_file(&path).unwrap();
    assert_eq!(server.get(&lab.layer_path(), &[]).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn the_lock_comes_byte_for_byte_and_the_lab_says_what_it_is() {
    let lab = Lab::new();
    let server = lab.serve_with(Default::default(), Some(b"untrusted comment: x\n")).await;
    let text = lockfile::write(&lab.lock);
    assert_eq!(server.get("/ztlab.lock", &[]).await.text(), text);
    assert_eq!(Digest::of(text.as_bytes()), lab.lock.lab_id());
    assert_eq!(server.get("/ztlab.lock.minisig", &[]).await.text(), "untrusted comment: x\n");
    let document = server.get("/lab.json", &[]).await.json();
    assert_eq!(
        (document["name"].as_str(), document["lab_id"].as_str()),
        (Some("room"), Some(lab.lock.lab_id().to_string().as_str()))
    );
    let sizes: BTreeMap<Digest, u64> = lab.complete().descriptors().map(|blob| (blob.digest, blob.size)).collect();
    assert_eq!(
        (document["blobs"].as_u64(), document["bytes"].as_u64()),
        (Some(sizes.len() as u64), Some(sizes.values().sum()))
    );
    let names: Vec<&str> =
        document["artifacts"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["image.nginx", "image.node", "image.operator"]);
    server.stop().await;
}

#[tokio::test]
async fn the_page_says_what_to_type_and_loads_nothing_from_elsewhere() {
    let mut lab = Lab::new();
    lab.lock.name = "<script>alert(1)</script>".to_owned();
    let server = lab.serve().await;
    let page = server.get("/", &[]).await;
    let text = page.text();
    assert!(text.contains(&format!("ztlab fetch --from http://{}/", server.address)), "{text}");
    assert!(text.contains(&lab.lock.lab_id().hex()));
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !text.contains("<script>alert"), "{text}");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for attribute in text
        .split(['"', '\'', ' ', '('])
        .filter(|part| part.starts_with("http:") || part.starts_with("https:") || part.starts_with("//"))
    {
        assert!(attribute.starts_with(&format!("http://{}", server.address)), "{attribute} is elsewhere");
    }
    server.get(&lab.layer_path(), &[]).await;
    let room = server.get("/room", &[]).await.text();
    assert!(room.contains("<strong>1</strong> machine took") && room.contains("3.1 MB"), "{room}");
    server.stop().await;
}

#[tokio::test]
async fn requests_may_follow_each_other_on_one_connection() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let mut stream = server.connect().await;
    let manifest = lab.manifest("nginx");
    let get =
        |digest: Digest, last: &str| format!("GET /blobs/sha256/{} HTTP/1.1\r\nHost: a\r\n{last}\r\n", digest.hex());
    // Both at once; the second answer follows the first.
    let both = format!("{}{}", get(lab.layer.digest, ""), get(manifest.digest, "Connection: close\r\n"));
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let first = parse(&bytes);
    assert!(first.body[..lab.layer_bytes.len()] == lab.layer_bytes);
    let second = parse(&first.body[lab.layer_bytes.len()..]);
    assert_eq!(Descriptor::of(&second.body), manifest);
    server.stop().await;
}

#[tokio::test]
async fn another_store_fetches_everything_from_it() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let source = Source::parse(&format!("http://{}/", server.address), folder.path()).unwrap();
    let client = Arc::new(Client::new(Network::default(), Arc::new(Silent)).unwrap());
    let missing = Plan::new(&lab.lock, &store.present().unwrap(), &[]).missing;
    let lanes = Lanes::new(&client, &[source], &Lock::default());
    let failures = fetch_all(&client, &store, missing, 4, &lanes).await;
    assert!(failures.is_empty(), "{:?}", failures.iter().map(|one| one.error.to_string()).collect::<Vec<_>>());
    assert_eq!(Plan::new(&lab.lock, &store.present().unwrap(), &[]).missing, []);
    server.stop().await;
}
