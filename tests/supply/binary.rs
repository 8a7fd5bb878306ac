//! The program as a user runs it, against servers that lie: exit codes, messages, and secrets that appear nowhere.

use std::{
    process::{Command, Stdio},
    sync::Arc,
};

use serde_json::{Value, json};
use ztlab::{
    base::{Descriptor, Digest},
    store::Store,
    verb::fetch,
};

use crate::{
    bench::{Bench, Builder, MINIKUBE, code},
    origin::{Fault, LOGIN, Origin, TOKEN},
};

/// What a run left behind.
struct Ran {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Bench {
    /// Runs the program with this lab, its upstream, and a home of its own.
    async fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztlab"));
        command.args(arguments).arg("--lab").arg(&self.context.lab).arg("--store").arg(&self.context.store);
        for (from, to) in &self.context.mirrors {
            command.arg("--mirror").arg(format!("{from}={to}"));
        }
        command.env_clear().env("HOME", self.home()).env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { exit: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn home(&self) -> std::path::PathBuf {
        self.context.lab.join("home")
    }

    /// The registry's name, as credentials are kept under.
    fn host(&self) -> String {
        self.origin.address().trim_start_matches("http://").to_owned()
    }
}

const CALICO: &str = "/v2/docker.io/calico/node";
const OPERATOR: &str = "/raw.example/v3.27.0/operator.yaml";
const WHEEL: &str = "/files.pythonhosted.org/packages/flask-3.1.3-py3-none-any.whl";

fn calico_layer() -> String {
    format!("{CALICO}/blobs/{}", Digest::of(b"layer of calico"))
}

/// The registry replaces the image by one for another machine.
fn publish_for_another_platform(origin: &Origin) {
    let config = br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let described = |bytes: &[u8], kind: &str| {
        let found = Descriptor::of(bytes);
        json!({ "mediaType": kind, "digest": found.digest.to_string(), "size": found.size })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": described(config, "application/vnd.docker.container.image.v1+json"),
        "layers": [],
    })
    .to_string();
    origin.serve(&format!("/v2/registry.k8s.io/pause/blobs/{}", Digest::of(config)), config.as_slice());
    origin.serve("/v2/registry.k8s.io/pause/manifests/3.9", manifest);
}

#[tokio::test]
async fn r4_five_faults_have_five_messages_and_the_rest_is_fetched() {
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    let mut lock = bench.read();
    lock.image.get_mut("pause").unwrap().platforms.clear();
    bench.save(&lock);
    // What `lock` has brought already would not be asked for again.
    fs_err::remove_dir_all(&bench.context.store).unwrap();
    publish_for_another_platform(&bench.origin);
    bench.origin.serve(MINIKUBE, "minikube program, and then some");
    bench.origin.faults(OPERATOR, &[Fault::LoginPage]);
    bench.origin.serve(&calico_layer(), "LAYER of calico");
    bench.origin.faults(WHEEL, &vec![Fault::EndEarly(0); 50]);
    let request = fetch::Request::default();
    let error = fetch::run(&bench.context, &request, Some(Arc::new(Builder("first")))).await.unwrap_err();
    assert_eq!(code(&error), "integrity::fetch");
    let text = error.to_string();
    for (artifact, message) in [
        ("tool.minikube", "has more than the locked 16 bytes"),
        ("manifest.operator", "sent an HTML page where"),
        ("image.calico", "has other bytes than the locked ones: expected"),
        ("wheel.flask", "ended after 0 of 5 bytes"),
        ("image.pause", "has no image for linux-arm64; it has linux/amd64"),
    ] {
        let line = text.lines().find(|line| line.contains(message)).unwrap_or_else(|| panic!("no `{message}`: {text}"));
        assert!(line.trim_start().starts_with(artifact), "{line}");
    }
    let store = Store::open(&bench.context.store).unwrap();
    let archive = bench.read().file["istio"].expected().complete().unwrap();
    assert!(store.blob(archive).is_some() && store.blob(Descriptor::of(b"istioctl")).is_some(), "the rest goes on");
}

#[tokio::test]
async fn r4_missing_bytes_end_with_20_and_wrong_ones_with_21() {
    for (fault, exit, code) in [
        (Fault::Status(404, None), 20, "fetch::incomplete"),
        (Fault::LoginPage, 20, "fetch::incomplete"),
        (Fault::Instead(b"minikube PROGRAM"), 21, "integrity::fetch"),
        (Fault::Instead(b"minikube program, and then some"), 21, "integrity::fetch"),
    ] {
        let bench = Bench::new().await;
        bench.lock().await.unwrap();
        fs_err::remove_dir_all(&bench.context.store).unwrap();
        bench.origin.faults(MINIKUBE, std::slice::from_ref(&fault));
        let ran = bench.run(&["--json", "fetch", "--only", "minikube", "istio"], &[]).await;
        let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
        assert_eq!((ran.exit, last["code"].as_str().unwrap()), (exit, code), "{fault:?}: {last}");
        assert!(last["message"].as_str().unwrap().starts_with("1 artifact could not be had"), "{last}");
        let present = Store::open(&bench.context.store).unwrap().present().unwrap();
        assert!(present.contains_key(&Digest::of(b"istioctl")), "{fault:?} stopped the others");
    }
}

#[tokio::test]
async fn a_quota_that_stays_used_up_ends_with_22_and_names_the_ways_out() {
    const USED_UP: Fault = Fault::Refuse(
        429,
        &[("retry-after", "0")],
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your unauthenticated pull rate limit."}]}"#,
    );
    let bench = Bench::new().await;
    bench.lock().await.unwrap();
    fs_err::remove_dir_all(&bench.context.store).unwrap();
    let lock = bench.read();
    let manifest = lock.image["calico"].platforms.values().next().unwrap().manifest.digest;
    bench.origin.faults(&format!("{CALICO}/manifests/{manifest}"), &vec![USED_UP; 20]);
    let ran = bench.run(&["fetch", "--only", "calico"], &[]).await;
    assert_eq!(ran.exit, 22, "{}", ran.stderr);
    let next = ran.stderr.lines().find(|line| line.trim_start().starts_with("next:")).unwrap();
    for way in ["--mirror", "--from", "docker login"] {
        assert!(next.contains(way), "{next}");
    }
    assert!(ran.stderr.contains("ztlab explain fetch::quota"), "{}", ran.stderr);
}

#[tokio::test]
async fn secrets_reach_neither_the_log_nor_the_events_nor_other_hosts() {
    const REFRESH: &str = "refresh-token-of-the-teacher";
    const PROXY: &str = "password-of-the-proxy";
    const LINK: &str = "signature-of-the-link";
    for (identity, arguments, variables) in [
        (false, &["-vv", "fetch"][..], &[("ZTLAB_LOG", "trace")][..]),
        (true, &["-vv", "--json", "fetch"], &[("ZTLAB_LOG", "trace")]),
    ] {
        let bench = Bench::new().await;
        bench.lock().await.unwrap();
        fs_err::remove_dir_all(&bench.context.store).unwrap();
        let login = if identity {
            bench.origin.want_refresh_token(REFRESH);
            json!({ "identitytoken": REFRESH })
        } else {
            bench.origin.want_login();
            json!({ "username": LOGIN.0, "password": LOGIN.1 })
        };
        fs_err::create_dir_all(bench.home().join(".docker")).unwrap();
        let config = json!({ "auths": { bench.host(): login } }).to_string();
        fs_err::write(bench.home().join(".docker/config.json"), config).unwrap();
        let cdn = Origin::start().await;
        cdn.serve("/cdn", "layer of calico");
        cdn.faults("/cdn", &[Fault::Cut(4), Fault::Status(503, None)]);
        bench.origin.want_token(&calico_layer());
        bench.origin.redirect(&calico_layer(), cdn.url(&format!("/cdn?X-Signature={LINK}")));
        // A second blob fails for good, so that its link would have to be told.
        let pause = format!("/v2/registry.k8s.io/pause/blobs/{}", Digest::of(b"layer of pause"));
        bench.origin.want_token(&pause);
        bench.origin.redirect(&pause, cdn.url(&format!("/gone?X-Signature={LINK}")));
        let proxy = format!("http://teacher:{PROXY}@127.0.0.1:9");
        let variables = [variables, &[("HTTPS_PROXY", proxy.as_str())]].concat();
        let ran = bench.run(arguments, &variables).await;
        assert_eq!(ran.exit, 20, "{}", ran.stderr);
        assert!(bench.origin.asked("/token").len() >= 2, "no credentials were used");
        assert!(ran.stderr.contains("TRACE"), "the log is not as talkative as it can be");
        assert!(ran.stdout.contains("/gone") || ran.stderr.contains("/gone"), "the link that failed is named");
        for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
            for secret in [LOGIN.1, "b3Blbi1zZXNhbWU", REFRESH, TOKEN, PROXY, LINK] {
                if let Some(line) = text.lines().find(|line| line.contains(secret)) {
                    panic!("{secret} is on {stream}: {line}");
                }
            }
        }
        assert!(cdn.seen().iter().all(|seen| seen.authorization.is_none()));
    }
}
