//! A whole small lab, from intent to verified store, against an upstream behind `--mirror`.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf, sync::Arc};

use ztlab::{
    base::{Descriptor, Digest, Platform, report::Recording},
    lockfile::{self, CheckedLock},
    plan::Complete,
    store::Store,
    verb::{Context, fetch, lock, store},
};

use crate::{
    bench::{Bench, Builder, INTENT, MINIKUBE, code},
    origin::Fault,
};

#[tokio::test]
async fn from_intent_to_a_complete_store_and_then_silence() {
    let bench = Bench::new().await;
    let locked = bench.lock().await.unwrap();
    assert!(locked.written);
    assert_eq!(locked.pending.iter().map(|pending| pending.artifact.as_str()).collect::<Vec<_>>(), ["app.backend"]);
    let lock = bench.read();
    assert_eq!(lock.member("istio", "istioctl"), Some(Descriptor::of(b"istioctl")));
    assert_eq!(lock.image["pause"].index, None);
    assert_eq!(lock.image["calico"].platforms[&Platform::LinuxArm64].layers, [Descriptor::of(b"layer of calico")]);
    assert_eq!(
        lock.wheel["flask"].platforms[&Platform::LinuxArm64].url.as_deref(),
        Some("https://files.pythonhosted.org/packages/flask-3.1.3-py3-none-any.whl")
    );
    assert_eq!(code(&lock::check(&bench.context).unwrap_err()), "lock::incomplete");

    let fetched = bench.fetch().await.unwrap();
    assert_eq!((fetched.completed.as_slice(), fetched.built.len()), (["app.backend".to_owned()].as_slice(), 1));
    lock::check(&bench.context).unwrap();
    assert_eq!(bench.origin.asked(MINIKUBE).len(), 1, "what lock read is not downloaded again");

    bench.origin.forget();
    let again = bench.fetch().await.unwrap();
    assert_eq!((again.requests, again.fetched_blobs, bench.origin.seen().len()), (0, 0, 0));
    assert!(again.built.is_empty());
    let offline = Context { offline: true, ..bench.context.clone() };
    let locked = fetch::Request { locked: true, ..fetch::Request::default() };
    fetch::run(&offline, &locked, None).await.unwrap();

    let store = Store::open(&bench.context.store).unwrap();
    let complete = Complete::open(CheckedLock::new(bench.read()).unwrap(), store).unwrap();
    assert_eq!(complete.verify(&Recording::default()), []);
    let index = fs_err::read_to_string(bench.context.store.join("index.json")).unwrap();
    for name in ["docker.io/calico/node:v3.27.0", "registry.k8s.io/pause:3.9", "docker.io/library/simple-backend:v1"] {
        assert!(index.contains(name), "{name} is not in index.json");
    }
}

#[tokio::test]
async fn locking_again_asks_nothing_and_writes_nothing() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let text = bench.text();
    bench.origin.forget();
    let again = bench.lock().await.unwrap();
    assert_eq!((again.changed, again.written, again.requests), (false, false, 0));
    assert_eq!(bench.text(), text);

    // The same requests in another order are the same lab.
    let mut blocks: Vec<&str> = INTENT.split("\n\n").collect();
    let head = blocks.remove(0);
    blocks.reverse();
    bench.write_intent(&format!("{head}\n{}\n", blocks.join("\n\n")));
    assert!(!bench.lock().await.unwrap().changed);

    // An upgrade to the same bytes is no change either, the app's image included.
    let request = lock::Request { upgrade: Some(Vec::new()), ..lock::Request::default() };
    let upgraded = lock::run(&bench.context, &request).await.unwrap();
    assert!(upgraded.requests > 0 && !upgraded.changed, "{upgraded:?}");
}

#[tokio::test]
async fn an_app_is_locked_anew_by_its_name() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let request = lock::Request { upgrade: Some(vec!["app.backend".to_owned()]), ..lock::Request::default() };
    let upgraded = lock::run(&bench.context, &request).await.unwrap();
    assert_eq!(upgraded.pending.iter().map(|one| one.artifact.as_str()).collect::<Vec<_>>(), ["app.backend"]);
    assert_eq!(bench.fetch().await.unwrap().built, ["app.backend"]);
}

#[tokio::test]
async fn a_changed_intent_is_stale_and_only_its_entry_is_resolved() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let intent = INTENT.replace("minikube = \"1.32.0\"", "minikube = \"1.33.0\"");
    bench.write_intent(&intent);
    let stale = lock::check(&bench.context).unwrap_err();
    assert_eq!(code(&stale), "lock::stale");
    assert!(stale.to_string().contains("tool.minikube: locked https://github.com/minikube/v1.32.0/"), "{stale}");
    let locked = fetch::Request { locked: true, ..fetch::Request::default() };
    assert_eq!(code(&bench.fetch_with(locked).await.unwrap_err()), "lock::stale");

    bench.origin.serve("/github.com/minikube/v1.33.0/minikube-darwin-arm64", "newer program");
    bench.origin.forget();
    let outcome = bench.lock().await.unwrap();
    assert_eq!(outcome.changes.iter().map(|change| &change.artifact).collect::<Vec<_>>(), ["tool.minikube"]);
    assert_eq!(bench.origin.seen().len(), 1);

    fs_err::write(bench.context.lab.join("app/backend/app.py"), "print('changed')").unwrap();
    let stale = lock::check(&bench.context).unwrap_err();
    assert!(stale.to_string().contains("app.backend: its source files changed"), "{stale}");
}

#[tokio::test]
async fn a_known_index_is_resolved_by_its_digest_though_the_tag_moved() {
    let bench = Bench::new().await;
    let published = bench.publish_index("layer of calico");
    bench.publish_index("layer of an attacker");
    bench.lock().await.unwrap();
    let mut lock = bench.read();
    let entry = lock.image.get_mut("calico").unwrap();
    entry.platforms.clear();
    entry.index = Some(ztlab::base::Expected { digest: Some(published.digest), size: None });
    bench.save(&lock);
    assert!(bench.text().contains(r#"pending = ["index size", "linux-arm64 manifest"]"#), "{}", bench.text());
    bench.fetch().await.unwrap();
    let entry = &bench.read().image["calico"];
    assert_eq!(entry.index.unwrap().complete(), Some(published));
    assert_eq!(entry.platforms[&Platform::LinuxArm64].layers, [Descriptor::of(b"layer of calico")]);
}

#[tokio::test]
async fn a_digest_without_a_size_is_an_expectation() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    let mut lock = bench.read();
    let pin = lock.tool.get_mut("minikube").unwrap().platforms.get_mut(&Platform::DarwinArm64).unwrap();
    (pin.digest, pin.size) = (Some(Digest::of(b"what upstream published")), None);
    bench.save(&lock);
    let error = bench.fetch().await.unwrap_err();
    assert_eq!(code(&error), "integrity::fetch");
    assert!(error.to_string().contains("tool.minikube") && !error.to_string().contains("image."), "{error}");
    let kept = bench.read().tool["minikube"].platforms[&Platform::DarwinArm64].digest;
    assert_eq!(kept, Some(Digest::of(b"what upstream published")), "an expectation was overwritten");

    bench.origin.serve(MINIKUBE, "what upstream published");
    assert_eq!(bench.fetch().await.unwrap().completed, ["tool.minikube"]);
}

#[tokio::test]
async fn one_failure_does_not_stop_the_others_and_is_named() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    let layer = format!("/v2/registry.k8s.io/pause/blobs/{}", Digest::of(b"layer of pause"));
    bench.origin.faults(&layer, &[Fault::Status(404, None)]);
    let error = bench.fetch().await.unwrap_err();
    assert_eq!(code(&error), "fetch::incomplete");
    let text = error.to_string();
    assert!(text.contains("image.pause") && text.contains("404") && !text.contains("image.calico"), "{text}");
    let store = Store::open(&bench.context.store).unwrap();
    assert!(store.blob(Descriptor::of(b"layer of calico")).is_some());
    assert_eq!(bench.fetch().await.unwrap().fetched_blobs, 1);
}

#[tokio::test]
async fn a_missing_platform_lists_those_there_are() {
    let bench = Bench::new().await;
    bench.write_intent(&INTENT.replace("node = [\"linux-arm64\"]", "node = [\"linux-amd64\"]"));
    let error = bench.lock().await.unwrap_err().to_string();
    assert!(error.contains("registry.k8s.io/pause:3.9 has no image for linux-amd64; it has linux/arm64"), "{error}");
}

#[tokio::test]
async fn another_machines_store_is_a_source_and_its_damage_is_not_copied() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let theirs = Store::open(&bench.context.store).unwrap();
    let layer = theirs.blob(Descriptor::of(b"layer of calico")).unwrap();
    fs_err::write(layer.path(), b"layer of cAlico").unwrap();

    let empty = Context { store: bench.context.lab.join("second"), ..bench.context.clone() };
    let request = fetch::Request { from: vec![bench.context.store.clone().into()], ..fetch::Request::default() };
    bench.origin.forget();
    fetch::run(&empty, &request, None).await.unwrap();
    let asked: Vec<String> = bench.origin.seen().into_iter().map(|seen| seen.path).collect();
    let damaged = format!("/v2/docker.io/calico/node/blobs/{}", Digest::of(b"layer of calico"));
    assert_eq!(asked, [damaged], "only the damaged blob comes from upstream");
    store::verify(&empty).await.unwrap();
}

#[tokio::test]
async fn a_flipped_byte_is_found_named_and_mended() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let whole = Store::open(&bench.context.store).unwrap();
    let layer = whole.blob(Descriptor::of(b"layer of pause")).unwrap();
    fs_err::write(layer.path(), b"layer of pausE").unwrap();
    let error = store::verify(&bench.context).await.unwrap_err();
    assert_eq!(code(&error), "integrity::store");
    assert!(error.to_string().contains("image.pause"), "{error}");
    bench.origin.forget();
    let mended = store::repair(&bench.context, &fetch::Request::default(), None).await.unwrap();
    assert_eq!(mended.repaired, [Digest::of(b"layer of pause")]);
    assert_eq!(bench.origin.seen().len(), 1);
    store::verify(&bench.context).await.unwrap();
}

#[tokio::test]
async fn an_app_that_comes_out_different_is_an_integrity_error() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let elsewhere = Context { store: bench.context.lab.join("second"), ..bench.context.clone() };
    let builder = Arc::new(Builder("another version"));
    let error = fetch::run(&elsewhere, &fetch::Request::default(), Some(builder)).await.unwrap_err();
    assert_eq!(code(&error), "integrity::fetch");
    assert!(error.to_string().contains("app.backend for linux-arm64 came out different"), "{error}");
}

#[tokio::test]
async fn only_brings_what_is_named_and_refuses_unknown_names() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.origin.forget();
    let only = |name: &str| fetch::Request { only: vec![name.to_owned()], ..fetch::Request::default() };
    bench.fetch_with(only("pause")).await.unwrap();
    assert!(bench.origin.seen().iter().all(|seen| seen.path.contains("/pause/")));
    assert_eq!(code(&bench.fetch_with(only("paws")).await.unwrap_err()), "usage::name");
}

#[tokio::test]
async fn a_profile_brings_what_it_needs_and_the_rest_comes_later() {
    let bench = Bench::new().await;
    bench.write_intent(&format!("{INTENT}\n[profile.small]\nwithout = [\"image.pause\"]\n"));
    bench.lock().await.unwrap();
    bench.origin.forget();
    let profile = |name: &str| fetch::Request { profile: Some(name.to_owned()), ..fetch::Request::default() };
    let fetched = bench.fetch_with(profile("small")).await.unwrap();
    assert_eq!((fetched.profile.as_str(), fetched.built.len()), ("small", 1));
    assert!(bench.origin.seen().iter().all(|seen| !seen.path.contains("/pause/")), "it leaves that out");
    let store = || Store::open(&bench.context.store).unwrap();
    let lock = bench.read();
    let open = |name: &str| Complete::open_as(&lock, lock.profile(name).unwrap(), store());
    let small = open("small").unwrap();
    assert_eq!((small.lab_id(), small.lock().image.contains_key("pause")), (lock.lab_id(), false));
    let missing = open("full").unwrap_err();
    assert!(missing.to_string().contains("image.pause"), "{missing}");
    let help = miette::Diagnostic::help(&missing).unwrap().to_string();
    assert!(help.contains("`ztlab fetch`"), "{help}");
    bench.origin.forget();
    let again = bench.fetch_with(profile("small")).await.unwrap();
    assert_eq!((again.requests, again.fetched_blobs), (0, 0));
    assert_eq!(bench.fetch().await.unwrap().profile, "full");
    assert!(bench.origin.seen().iter().all(|seen| seen.path.contains("/pause/")), "only what was left out");
    open("full").unwrap();
    assert_eq!(code(&bench.fetch_with(profile("tiny")).await.unwrap_err()), "usage::profile");
}

#[tokio::test]
async fn an_archive_without_its_member_is_refused_at_lock_time() {
    let bench = Bench::new().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar::Builder::new(Vec::new()).into_inner().unwrap()).unwrap();
    bench.origin.serve("/github.com/istio/istio.tar.gz", gzip.finish().unwrap());
    let error = bench.lock().await.unwrap_err().to_string();
    assert!(error.contains("file.istio") && error.contains("has no file `bin/istioctl`"), "{error}");
}

/// The one test that asks the internet: `cargo test -- --ignored real_package_index`.
#[tokio::test]
#[ignore = "asks the real package index"]
async fn the_real_package_index_has_the_labs_wheels() {
    let bench = Bench::new().await;
    let wheels = [
        ("blinker", "1.9.0"),
        ("click", "8.5.1"),
        ("flask", "3.1.3"),
        ("gunicorn", "27.0.1"),
        ("itsdangerous", "2.2.0"),
        ("jinja2", "3.1.6"),
        ("markupsafe", "3.0.4"),
        ("werkzeug", "3.1.9"),
    ];
    let mut intent = "schema = 1\nname = \"wheels\"\nnode = [\"linux-amd64\", \"linux-arm64\"]\n".to_owned();
    for (name, version) in wheels {
        intent.push_str(&format!("[wheel.{name}]\nversion = \"{version}\"\npython = \"3.12\"\n"));
    }
    bench.write_intent(&intent);
    let context = Context { mirrors: Vec::new(), ..bench.context.clone() };
    lock::run(&context, &lock::Request::default()).await.unwrap();
    let markupsafe = bench.read().wheel["markupsafe"].platforms[&Platform::LinuxArm64].expected().complete().unwrap();
    assert_eq!(markupsafe.size, 24363);
    let fetched = fetch::run(&context, &fetch::Request::default(), None).await.unwrap();
    assert_eq!(fetched.artifacts, wheels.len());
}

/// Paths in messages are the reader's own.
#[tokio::test]
async fn without_a_lock_the_next_command_is_named() {
    let bench = Bench::new().await;
    let context = Context { lab: PathBuf::from("/nonexistent"), ..bench.context.clone() };
    let error = fetch::run(&context, &fetch::Request::default(), None).await.unwrap_err();
    assert_eq!(code(&error), "lock::absent");
    assert!(error.help().unwrap().to_string().contains("ztlab lock"));
}

/// The labs that this project ships: their intents make sense, and a lock beside one is fresh.
#[test]
fn the_shipped_intents_are_valid_and_their_locks_fresh() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for folder in ["lock", "rig/lab"] {
        let intent = ztlab::intent::Intent::read(&root.join(folder).join("ztlab.toml")).unwrap();
        let wanted = lockfile::request(&intent).unwrap();
        assert!(wanted.artifacts().len() > 30, "{folder}");
        assert_eq!(lockfile::parse(&lockfile::write(&wanted)).unwrap(), wanted);
        match lockfile::read(&root.join(folder).join("ztlab.lock")) {
            Ok(lock) => assert_eq!(lockfile::check(&intent, &lock, &BTreeMap::new()).unwrap(), [], "{folder}"),
            Err(error) => assert!(matches!(error, lockfile::ReadError::Absent { .. }), "{folder}: {error}"),
        }
    }
}
