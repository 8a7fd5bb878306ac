//! Locking again: what is asked, what is kept, what is refused, and that the same intent gives the same bytes.

use std::{path::Path, process::Command};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use ztlab::{
    base::{Descriptor, Digest, Platform},
    resolve::AgeLimit,
    verb::lock::{self, Kind},
};

use crate::{
    bench::{Bench, CALICO, INTENT, MINIKUBE, code},
    origin::Fault,
};

const CHECKSUM: &str = "/github.com/minikube/v1.32.0/minikube-darwin-arm64.sha256";
const ISTIO: &str = "/github.com/istio/istio.tar.gz";
const OPERATOR: &str = "/raw.example/v3.27.0/operator.yaml";
const PAGE: &str = "/pypi.org/simple/flask/";
const PAUSE: &str = "/v2/registry.k8s.io/pause/manifests/3.9";

/// The lab with a checksum file for its tool, which says what is so.
async fn checked_bench() -> Bench {
    let bench = Bench::new().await;
    bench.write_intent(&with_checksum());
    bench.origin.serve(CHECKSUM, format!("{}\n", Digest::of(b"minikube program").hex()));
    bench
}

fn with_checksum() -> String {
    let url = "url = \"https://github.com/minikube/v{minikube}/minikube-{os}-{arch}\"\n";
    let checksum = "checksum = \"https://github.com/minikube/v{minikube}/minikube-{os}-{arch}.sha256\"\n";
    assert!(INTENT.contains(url));
    INTENT.replace(url, &format!("{url}{checksum}"))
}

fn upgrade(names: &[&str]) -> lock::Request {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    lock::Request { upgrade: Some(names), ..lock::Request::default() }
}

fn at_least(age: &str, allow_unknown: bool) -> lock::Request {
    let limit = AgeLimit { minimum: age.parse().unwrap(), allow_unknown, asked_by: format!("--min-age {age}") };
    lock::Request { age: Some(limit), ..lock::Request::default() }
}

fn asked(bench: &Bench) -> Vec<String> {
    let mut paths: Vec<String> = bench.origin.seen().into_iter().map(|seen| seen.path).collect();
    paths.sort();
    paths
}

fn http_date(age: SignedDuration) -> String {
    let then = Timestamp::now() - age;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then).unwrap()
}

#[tokio::test]
async fn an_upgrade_that_changes_nothing_asks_each_source_once_and_writes_nothing() {
    let bench = checked_bench().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let text = bench.text();
    fs_err::write(bench.context.lock_path(), &text).unwrap();
    let written_at = fs_err::metadata(bench.context.lock_path()).unwrap().modified().unwrap();
    bench.origin.forget();
    let outcome = lock::run(&bench.context, &upgrade(&[])).await.unwrap();
    // An image's tag, a file's checksum or else the file itself, a project's page: nothing twice, nothing below them.
    let mut sources = [CHECKSUM, ISTIO, OPERATOR, PAGE, CALICO, PAUSE];
    sources.sort_unstable();
    assert_eq!(asked(&bench), sources);
    assert_eq!((outcome.requests, outcome.changes.as_slice(), outcome.written), (sources.len() as u64, &[][..], false));
    assert_eq!(bench.text(), text);
    assert_eq!(fs_err::metadata(bench.context.lock_path()).unwrap().modified().unwrap(), written_at);

    // Neither does it need the bytes: an empty store is no reason to bring a tool that its checksum vouches for.
    let elsewhere = ztlab::verb::Context { store: bench.context.lab.join("empty"), ..bench.context.clone() };
    bench.origin.forget();
    lock::run(&elsewhere, &upgrade(&["tool.minikube", "image.calico"])).await.unwrap();
    assert_eq!(asked(&bench), [CHECKSUM, CALICO]);
}

#[tokio::test]
async fn two_entries_of_one_address_ask_it_once() {
    let bench = Bench::new().await;
    let tool = "url = \"https://github.com/kubectl\"\nchecksum = \"https://github.com/kubectl.sha256\"\n";
    bench.write_intent(&format!(
        "schema = 1\nname = \"two\"\nhost = [\"linux-amd64\"]\nnode = [\"linux-amd64\"]\n\
         [tool.kubectl]\n{tool}[tool.kubectl-node]\nplatform = \"node\"\n{tool}"
    ));
    bench.origin.serve("/github.com/kubectl", "kubectl");
    bench.origin.serve("/github.com/kubectl.sha256", format!("{}  bin/kubectl\n", Digest::of(b"kubectl").hex()));
    assert!(bench.lock().await.unwrap().pending.is_empty());
    assert_eq!(asked(&bench), ["/github.com/kubectl", "/github.com/kubectl.sha256"]);
    let text = bench.text();
    assert_eq!(text.matches("checked = \"https://github.com/kubectl.sha256\"").count(), 2, "{text}");
}

#[tokio::test]
async fn a_checksum_that_differs_is_an_integrity_error_with_both_digests() {
    let bench = checked_bench().await;
    let published = Digest::of(b"what upstream meant to publish");
    bench.origin.serve(CHECKSUM, format!("{published}").replace("sha256:", ""));
    let error = bench.lock().await.unwrap_err();
    assert_eq!(code(&error), "integrity::lock");
    let text = error.to_string();
    let found = Digest::of(b"minikube program");
    assert!(text.contains(&published.to_string()) && text.contains(&found.to_string()), "{text}");
    assert!(text.contains("tool.minikube darwin-arm64: https://github.com/minikube/v1.32.0/"), "{text}");
    let lock = bench.read();
    assert_eq!(lock.tool["minikube"].platforms[&Platform::DarwinArm64].digest, None, "nothing unproven is locked");
    assert!(lock.image["calico"].index.is_some(), "the others are locked");

    bench.origin.serve(CHECKSUM, "<h1>no such release</h1>");
    let error = bench.lock().await.unwrap_err();
    assert_eq!(code(&error), "lock::unresolved");
    assert!(error.to_string().contains("gives no SHA-256 for minikube-darwin-arm64"), "{error}");
}

#[tokio::test]
async fn a_checksum_asked_for_later_is_compared_without_the_bytes() {
    let bench = checked_bench().await;
    bench.write_intent(INTENT);
    bench.lock().await.unwrap();
    bench.write_intent(&with_checksum());
    assert_eq!(code(&lock::check(&bench.context).unwrap_err()), "lock::stale");
    bench.origin.forget();
    let outcome = bench.lock().await.unwrap();
    assert_eq!(asked(&bench), [CHECKSUM]);
    assert_eq!(outcome.changes[0].change, Kind::Changed);
    let pin = bench.read().tool["minikube"].platforms[&Platform::DarwinArm64].clone();
    assert_eq!(pin.checked.as_deref(), Some("https://github.com/minikube/v1.32.0/minikube-darwin-arm64.sha256"));

    // The lock may be the one that is wrong: then it says so, and keeps what it had.
    bench.write_intent(INTENT);
    bench.lock().await.unwrap();
    bench.origin.serve(CHECKSUM, Digest::of(b"another program").hex());
    bench.write_intent(&with_checksum());
    let error = bench.lock().await.unwrap_err();
    assert_eq!(code(&error), "integrity::lock");
    assert!(error.to_string().contains("and the lock has sha256:"), "{error}");
    assert_eq!(bench.read().tool["minikube"].platforms[&Platform::DarwinArm64].digest, pin.digest);
}

#[tokio::test]
async fn an_upgrade_that_fails_keeps_what_was_locked() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let text = bench.text();
    for path in [CALICO, ISTIO, PAGE] {
        bench.origin.faults(path, &[Fault::Status(404, None)]);
    }
    let error = lock::run(&bench.context, &upgrade(&[])).await.unwrap_err();
    assert_eq!(code(&error), "lock::unresolved");
    for name in ["image.calico", "file.istio", "wheel.flask"] {
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(bench.text(), text);
}

#[tokio::test]
async fn a_moved_tag_is_shown_by_a_dry_run_and_taken_by_the_next() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let text = bench.text();
    let moved = bench.publish_index("other layer of calico");
    let dry = lock::Request { dry_run: true, ..upgrade(&["calico"]) };
    let shown = lock::run(&bench.context, &dry).await.unwrap();
    assert_eq!((shown.changed, shown.written, bench.text() == text), (true, false, true));
    let rows = |outcome: &lock::Outcome| -> Vec<(String, Kind)> {
        outcome.changes.iter().map(|change| (change.artifact.clone(), change.change)).collect()
    };
    // The app stands on that image: it has to be made anew.
    let expected = [("image.calico".to_owned(), Kind::Moved), ("app.backend".to_owned(), Kind::Completed)];
    assert_eq!(rows(&shown), expected);
    let taken = lock::run(&bench.context, &upgrade(&["calico"])).await.unwrap();
    assert_eq!((rows(&taken), taken.lab_id, taken.written), (rows(&shown), shown.lab_id, true));
    assert_eq!(bench.read().image["calico"].index.unwrap().complete(), Some(moved));
}

#[tokio::test]
async fn an_app_that_is_named_is_made_anew() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    bench.fetch().await.unwrap();
    let outcome = lock::run(&bench.context, &upgrade(&["app.backend"])).await.unwrap();
    assert_eq!(outcome.pending[0].artifact, "app.backend");
    assert_eq!(outcome.requests, 0);
}

/// Serves the small lab with dates: every source says when it was published.
async fn dated_bench(age: SignedDuration) -> Bench {
    let bench = Bench::new().await;
    let published = (Timestamp::now() - age).to_string();
    for path in [MINIKUBE, ISTIO, OPERATOR] {
        bench.origin.modified(path, &http_date(age));
    }
    let wheel = Descriptor::of(b"wheel");
    bench.publish_page(json!({
        "filename": "flask-3.1.3-py3-none-any.whl",
        "url": "https://files.pythonhosted.org/packages/flask-3.1.3-py3-none-any.whl",
        "hashes": { "sha256": wheel.digest.hex() },
        "size": wheel.size,
        "upload-time": published,
    }));
    for (repository, tag) in [("docker.io/calico/node", "v3.27.0"), ("registry.k8s.io/pause", "3.9")] {
        let config = json!({
            "created": published, "os": "linux", "architecture": "arm64",
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let config = config.to_string();
        let described = Descriptor::of(config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": described.digest.to_string(),
                "size": described.size,
            },
            "layers": [],
        });
        bench.origin.serve(&format!("/v2/{repository}/blobs/{}", described.digest), config);
        bench.origin.serve(&format!("/v2/{repository}/manifests/{tag}"), manifest.to_string());
    }
    bench
}

#[tokio::test]
async fn what_is_old_enough_is_locked_and_what_is_not_stops_the_whole() {
    let bench = dated_bench(SignedDuration::from_hours(10 * 24)).await;
    let outcome = lock::run(&bench.context, &at_least("7d", false)).await.unwrap();
    assert_eq!(outcome.changes.len(), 7);
    let text = bench.text();

    let young = dated_bench(SignedDuration::from_hours(50)).await;
    let error = lock::run(&young.context, &at_least("7d", false)).await.unwrap_err();
    assert_eq!(code(&error), "lock::age");
    let told = error.to_string();
    for name in
        ["tool.minikube darwin-arm64", "file.istio", "manifest.operator", "image.calico linux-arm64", "wheel.flask"]
    {
        assert!(told.contains(&format!("{name} ")), "{name}: {told}");
    }
    assert!(told.contains("is 2 days old (published ") && told.contains("--min-age 7d asks for more"), "{told}");
    assert!(!young.context.lock_path().exists(), "a pending entry would be completed by the next fetch");
    lock::run(&young.context, &at_least("48h", false)).await.unwrap();

    // What is locked already is not judged again, however young upstream says that it is.
    bench.origin.modified(OPERATOR, &http_date(SignedDuration::from_hours(1)));
    let request = lock::Request { upgrade: Some(Vec::new()), ..at_least("7d", false) };
    assert!(!lock::run(&bench.context, &request).await.unwrap().changed);
    assert_eq!(bench.text(), text);
}

#[tokio::test]
async fn an_unknown_age_is_refused_unless_it_is_allowed() {
    let bench = Bench::new().await;
    let error = lock::run(&bench.context, &at_least("7d", false)).await.unwrap_err();
    assert_eq!(code(&error), "lock::age");
    for name in ["tool.minikube darwin-arm64", "image.pause linux-arm64", "wheel.flask (flask-3.1.3-py3-none-any.whl)"]
    {
        let told = format!("{name}: its age is unknown, and --min-age 7d asks for one");
        assert!(error.to_string().contains(&told), "{told}\n{error}");
    }
    assert!(!bench.context.lock_path().exists());
    lock::run(&bench.context, &at_least("7d", true)).await.unwrap();
}

/// The program itself, on a copy of the tree: other path, other store, other time zone, other language.
fn lock_by_program(bench: &Bench, lab: &Path, environment: [(&str, &str); 2]) -> (String, serde_json::Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ztlab"));
    command.env_clear().envs(environment).env("HOME", lab).args(["--json", "--lab"]).arg(lab);
    command.arg("--store").arg(lab.join("store"));
    for (from, to) in &bench.context.mirrors {
        command.args(["--mirror", &format!("{from}={to}")]);
    }
    let output = command.arg("lock").output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let outcome = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    (fs_err::read_to_string(lab.join("lock/ztlab.lock")).unwrap(), outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_and_a_copy_elsewhere_give_the_same_bytes() {
    let bench = checked_bench().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let lab = folder.path().join(name);
        for file in ["lock/ztlab.toml", "app/backend/app.py"] {
            fs_err::create_dir_all(lab.join(file).parent().unwrap()).unwrap();
            fs_err::copy(bench.context.lab.join(file), lab.join(file)).unwrap();
        }
        lab
    };
    let here = copy("here");
    let there = copy("a much longer path/with blanks/ünd Ümläuten");
    tokio::task::block_in_place(|| {
        let (first, outcome) = lock_by_program(&bench, &here, [("TZ", "UTC"), ("LC_ALL", "C")]);
        assert_eq!(outcome["outcome"]["written"], true);
        let (second, outcome) = lock_by_program(&bench, &here, [("TZ", "UTC"), ("LC_ALL", "C")]);
        assert_eq!(
            (&second, &outcome["outcome"]["requests"], &outcome["outcome"]["written"]),
            (&first, &json!(0), &json!(false))
        );
        let (other, _) = lock_by_program(&bench, &there, [("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8")]);
        assert_eq!(other, first);
    });
    assert_eq!(bench.origin.asked(CHECKSUM).len(), 2, "once for each tree");
}
