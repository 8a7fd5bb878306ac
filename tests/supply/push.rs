//! A lab into a registry and out of it again: layout, mounts, nothing twice, and registries that fail, lie or ask who is
//! there.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use axum::http::Method;
use serde_json::{Value, json};
use ztlab::{
    base::{Descriptor, Digest, Event, Platform, report::Recording},
    fetch::{RegistryLayout, Source},
    lockfile::{CheckedLock, ImagePin, Lock},
    plan::Complete,
    store::Store,
    verb::{Context, fetch, pull, push},
};

use crate::{
    bench::{Bench, code},
    distribution::{Distribution, Door, LOGIN, Mishap, Mounts},
};

/// Makes an image that a registry takes.
struct Images;

impl fetch::AppBuilder for Images {
    fn build(&self, _: &Lock, app: &str, platform: Platform, store: &Store) -> miette::Result<ImagePin> {
        let put = |bytes: &[u8]| store.put(bytes, &Recording::default()).map(|blob| blob.descriptor());
        let config = put(format!("{{\"architecture\":\"{}\"}}", platform.architecture()).as_bytes())?;
        let layer = put(format!("layer of {app}").as_bytes())?;
        let described =
            |kind: &str, blob: Descriptor| json!({ "mediaType": kind, "digest": blob.digest, "size": blob.size });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("application/vnd.oci.image.config.v1+json", config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
        });
        Ok(ImagePin { manifest: put(manifest.to_string().as_bytes())?, config, layers: vec![layer] })
    }
}

/// A fetched lab, and an empty registry.
pub(crate) struct School {
    pub(crate) bench: Bench,
    pub(crate) registry: Distribution,
}

pub(crate) const PAUSE: &str = "lab/registry.k8s.io/pause";
pub(crate) const CALICO: &str = "lab/docker.io/calico/node";
pub(crate) const BACKEND: &str = "lab/docker.io/library/simple-backend";
/// The same in two images.
pub(crate) const CONFIG: &[u8] = br#"{"os":"linux","architecture":"arm64","rootfs":{"type":"layers","diff_ids":[]}}"#;

impl School {
    pub(crate) async fn new() -> Self {
        let (bench, registry) = (Bench::new().await, Distribution::start().await);
        fs_err::create_dir_all(bench.context.lab.join("manifests")).unwrap();
        fs_err::write(bench.context.lab.join("manifests/01-namespace.yaml"), "kind: Namespace\n").unwrap();
        bench.lock().await.unwrap();
        fetch::run(&bench.context, &fetch::Request::default(), Some(Arc::new(Images))).await.unwrap();
        Self { bench, registry }
    }

    pub(crate) fn destination(&self) -> String {
        format!("oci://{}/lab:v1", self.registry.host())
    }

    pub(crate) async fn push(&self) -> miette::Result<push::Outcome> {
        self.push_as(&self.bench.context).await
    }

    pub(crate) async fn push_as(&self, context: &Context) -> miette::Result<push::Outcome> {
        let request = push::Request {
            destination: self.destination().parse().unwrap(),
            jobs: 4,
            max_rate: None,
            programs: Vec::new(),
        };
        push::run(context, request).await
    }

    /// A machine whose user has signed in.
    pub(crate) fn signed_in(&self, password: &str) -> Context {
        let folder = self.bench.context.lab.join("home");
        fs_err::create_dir_all(&folder).unwrap();
        let host = self.registry.host();
        let config = json!({ "auths": { host: { "username": LOGIN.0, "password": password } } });
        fs_err::write(folder.join("config.json"), config.to_string()).unwrap();
        let environment = [("DOCKER_CONFIG".to_owned(), folder.display().to_string())].into();
        Context { environment, ..self.bench.context.clone() }
    }

    /// A student's machine: no store, and the folder of nobody.
    pub(crate) fn laptop(&self, name: &str) -> Context {
        let folder = self.bench.context.lab.join(name);
        fs_err::create_dir_all(&folder).unwrap();
        let reporter = Arc::new(Recording::default());
        Context { lab: folder.join("lab"), store: folder.join("store"), reporter, ..self.bench.context.clone() }
    }

    pub(crate) async fn pull(
        &self,
        context: &Context,
        source: &str,
        expected: Option<Digest>,
    ) -> miette::Result<pull::Outcome> {
        let request = pull::Request {
            source: source.parse().unwrap(),
            expected,
            into: Some(context.lab.clone()),
            here: context.lab.clone(),
            replace: false,
            jobs: 4,
        };
        pull::run(context, request, Some(Arc::new(Images))).await
    }

    pub(crate) fn complete(&self, context: &Context) -> Complete {
        let store = Store::open(&context.store).unwrap();
        let complete = Complete::open(CheckedLock::new(self.bench.read()).unwrap(), store).unwrap();
        assert_eq!(complete.verify(&Recording::default()), []);
        complete
    }
}

fn files_below(folder: &Path, names: &[&str]) -> BTreeSet<(String, Vec<u8>)> {
    names.iter().map(|name| ((*name).to_owned(), fs_err::read(folder.join(name)).unwrap())).collect()
}

#[tokio::test]
async fn a_lab_is_there_once_and_a_second_push_sends_nothing() {
    let school = School::new().await;
    let registry = &school.registry;
    let pushed = school.push().await.unwrap();
    let tags: Vec<String> = registry.tags().into_iter().collect();
    let expected = [
        "lab/docker.io/calico/node:v3.27.0",
        "lab/docker.io/library/simple-backend:v1",
        "lab/registry.k8s.io/pause:3.9",
        "lab:v1",
    ];
    assert_eq!(tags, expected);
    let lock = school.bench.read();
    assert_eq!((&pushed.lab.name, pushed.lab.id), (&lock.name, lock.lab_id()));
    let (media_type, manifest) = registry.manifest("lab", "v1").unwrap();
    assert_eq!(media_type, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(pushed.digest, Digest::of(&manifest));
    assert_eq!(pushed.reference, format!("{}@{}", school.destination(), pushed.digest));

    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.ztlab.lab.v1");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    let title = |layer: &Value| layer["annotations"]["org.opencontainers.image.title"].as_str().unwrap().to_owned();
    let titles: Vec<String> = manifest["layers"].as_array().unwrap().iter().map(title).collect();
    assert_eq!(
        titles,
        [
            "app/backend/app.py",
            "lock/ztlab.lock",
            "lock/ztlab.toml",
            "manifests/01-namespace.yaml",
            "blobs/tool.minikube/minikube-darwin-arm64",
            "blobs/file.istio/istio.tar.gz",
            "blobs/manifest.operator/operator.yaml",
            "blobs/image.calico/index.json",
            "blobs/wheel.flask/flask-3.1.3-py3-none-any.whl",
        ]
    );
    assert_eq!(manifest["layers"][1]["mediaType"], "application/vnd.ztlab.lock.v1+toml");

    // Byte for byte what upstream published, for the platform that the lab has.
    let pin = &lock.image["calico"].platforms[&Platform::LinuxArm64];
    let stored = school.complete(&school.bench.context).blob(&pin.manifest.digest).unwrap().read().unwrap();
    assert_eq!(registry.manifest(CALICO, "v3.27.0").unwrap().1, stored);

    // One question for each blob and repository, each blob sent once and mounted where it is needed as well.
    let heads: Vec<String> =
        registry.asked().into_iter().filter(|asked| asked.method == Method::HEAD).map(|asked| asked.path).collect();
    assert_eq!(heads.len(), heads.iter().collect::<BTreeSet<_>>().len(), "a question was asked twice: {heads:#?}");
    let shared = Digest::of(CONFIG);
    assert!(registry.has(PAUSE, shared) && registry.has(CALICO, shared));
    assert_eq!(pushed.mounted_blobs, 1);
    let puts =
        registry.asked().into_iter().filter(|asked| asked.method == Method::PUT && asked.path.contains("/uploads/"));
    let sent: Vec<String> = puts.map(|asked| asked.query).collect();
    assert_eq!(sent.len(), pushed.blobs);
    assert_eq!(registry.received() as u64, pushed.sent_bytes);

    registry.forget();
    let again = school.push().await.unwrap();
    assert_eq!((again.sent_bytes, again.sent_blobs, again.sent_manifests, again.mounted_blobs), (0, 0, 0, 0));
    assert_eq!((again.digest, &again.reference), (pushed.digest, &pushed.reference));
    assert!(registry.asked().iter().all(|asked| asked.method == Method::HEAD));
}

#[tokio::test]
async fn a_laptop_with_the_lock_takes_every_blob_from_the_registry() {
    let school = School::new().await;
    school.push().await.unwrap();
    school.bench.origin.forget();
    let laptop = Context { lab: school.bench.context.lab.clone(), ..school.laptop("one") };
    // The tag is of no importance: the lock decides.
    let source: Source = Source::Registry(format!("oci://{}/lab", school.registry.host()).parse().unwrap());
    let request = fetch::Request { locked: true, from: vec![source], ..fetch::Request::default() };
    let fetched = fetch::run(&laptop, &request, None).await.unwrap();
    school.complete(&laptop);
    assert_eq!(school.bench.origin.seen().len(), 0, "upstream was asked");
    assert!(fetched.sources.iter().all(|source| source.dropped.is_none()), "{:?}", fetched.sources);
    let gets: Vec<String> = school
        .registry
        .asked()
        .into_iter()
        .filter(|asked| asked.method == Method::GET)
        .map(|asked| asked.path)
        .collect();
    assert_eq!(
        gets.len(),
        RegistryLayout::of(&school.bench.read()).homes().len(),
        "each blob is asked for once: {gets:#?}"
    );
}

#[tokio::test]
async fn a_bare_laptop_gets_the_folder_and_everything_else() {
    let school = School::new().await;
    let pushed = school.push().await.unwrap();
    school.bench.origin.forget();
    let laptop = school.laptop("bare");
    let pulled = school.pull(&laptop, &pushed.reference, Some(pushed.digest)).await.unwrap();
    assert_eq!((&pulled.folder, pulled.lab.id, pulled.new_files), (&laptop.lab, pushed.lab.id, 4));
    let names = ["app/backend/app.py", "lock/ztlab.lock", "lock/ztlab.toml", "manifests/01-namespace.yaml"];
    assert_eq!(files_below(&laptop.lab, &names), files_below(&school.bench.context.lab, &names));
    school.complete(&laptop);
    assert_eq!(school.bench.origin.seen().len(), 0, "upstream was asked");

    // Once more changes nothing; a student's own work is not overwritten.
    let again = school.pull(&laptop, &school.destination(), None).await.unwrap();
    assert_eq!((again.new_files, again.fetched.fetched_blobs), (0, 0));
    fs_err::write(laptop.lab.join("manifests/01-namespace.yaml"), "kind: Mine\n").unwrap();
    let error = school.pull(&laptop, &school.destination(), None).await.unwrap_err();
    assert_eq!(code(&error), "bundle::lab");
    assert_eq!(fs_err::read_to_string(laptop.lab.join("manifests/01-namespace.yaml")).unwrap(), "kind: Mine\n");
}

#[tokio::test]
async fn what_is_not_the_lab_that_was_meant_is_not_taken() {
    let school = School::new().await;
    let pushed = school.push().await.unwrap();
    let host = school.registry.host();
    let laptop = school.laptop("wary");
    let other = Digest::of(b"another lab");
    for (source, expected, wanted) in [
        (school.destination(), Some(other), "integrity::pull"),
        (format!("oci://{host}/lab@{other}"), None, "pull::registry"),
        (format!("oci://{host}/lab:v2"), None, "pull::registry"),
        (format!("oci://{host}/lab"), None, "usage::registry"),
        (format!("oci://{host}/{PAUSE}:3.9"), None, "pull::none"),
    ] {
        let error = school.pull(&laptop, &source, expected).await.unwrap_err();
        assert_eq!(code(&error), wanted, "{source}: {error}");
        assert!(!laptop.lab.exists() && !laptop.store.exists(), "{source}");
    }
    school.registry.spoil(Digest::of(b"kind: Namespace\n"), b"kind: Root\n");
    let error = school.pull(&laptop, &pushed.reference, None).await.unwrap_err();
    assert_eq!(code(&error), "integrity::pull", "{error}");
    assert!(error.to_string().contains("manifests/01-namespace.yaml") && !laptop.lab.exists(), "{error}");
}

#[tokio::test]
async fn a_registry_that_does_not_mount_gets_the_bytes_again() {
    for mounts in [Mounts::Never, Mounts::Unknown] {
        let school = School::new().await;
        school.registry.mounts(mounts);
        let pushed = school.push().await.unwrap();
        assert_eq!((pushed.mounted_blobs, pushed.sent_blobs), (0, pushed.blobs + 1), "{mounts:?}");
        let again = school.push().await.unwrap();
        assert_eq!(again.sent_bytes, 0, "{mounts:?}");
    }
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_and_what_arrived_is_not_sent_again() {
    let school = School::new().await;
    let busy = [Mishap::Status(429, Some("0")), Mishap::Status(503, None)];
    school.registry.mishaps(Method::POST, PAUSE, &busy);
    school.registry.mishaps(Method::HEAD, CALICO, &busy);
    // The blob is kept, and the answer is lost.
    school.registry.mishaps(Method::PUT, &format!("{BACKEND}/blobs/uploads"), &[Mishap::After(500)]);
    school.registry.mishaps(Method::PUT, &format!("{PAUSE}/manifests"), &[Mishap::After(502)]);
    let pushed = school.push().await.unwrap();
    assert!(school.registry.tags().contains("lab:v1"));
    let puts = school.registry.count(&Method::PUT, "/blobs/uploads/");
    assert_eq!(puts, pushed.blobs, "the blob that was kept is not sent again");
    assert_eq!(pushed.sent_blobs, pushed.blobs - 1);
}

/// What a run told: bytes that were planned, and bytes that moved.
fn told(reporter: &Recording) -> (u64, u64) {
    let events = reporter.events();
    let planned = events.iter().map(|event| if let Event::TransfersPlanned { bytes, .. } = event { *bytes } else { 0 });
    let moved = events.iter().map(|event| if let Event::TransferProgress { bytes, .. } = event { *bytes } else { 0 });
    (planned.sum(), moved.sum())
}

#[tokio::test]
async fn the_end_is_known_at_the_beginning_and_a_second_attempt_counts_once() {
    let school = School::new().await;
    school.registry.mishaps(Method::PUT, "/blobs/uploads/", &[Mishap::Status(503, None); 3]);
    let reporter = Arc::new(Recording::default());
    let context = Context { reporter: Arc::<Recording>::clone(&reporter) as _, ..school.bench.context.clone() };
    let pushed = school.push_as(&context).await.unwrap();
    assert_eq!(told(&reporter), (pushed.bytes, pushed.bytes));
}

#[tokio::test]
async fn a_push_keeps_to_its_rate_and_one_that_is_dropped_is_gone_on_with() {
    let school = School::new().await;
    let request = push::Request {
        destination: school.destination().parse().unwrap(),
        jobs: 4,
        max_rate: Some(1000),
        programs: Vec::new(),
    };
    let slow = push::run(&school.bench.context, request);
    assert!(tokio::time::timeout(Duration::from_millis(700), slow).await.is_err(), "faster than it may be");
    assert!(!school.registry.tags().contains("lab:v1"), "half a lab has a tag");
    school.push().await.unwrap();
    assert_eq!(school.push().await.unwrap().sent_bytes, 0);
}

/// The program as a teacher runs it: what it prints, and what it does not.
#[tokio::test]
async fn the_last_line_is_the_reference_and_no_line_has_the_password() {
    let school = School::new().await;
    school.registry.door(Door::Token);
    let home = school.signed_in(LOGIN.1).environment["DOCKER_CONFIG"].clone();
    let destination = school.destination();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ztlab"));
    command.args(["--verbose", "--verbose", "push", &destination]);
    command.arg("--lab").arg(&school.bench.context.lab).arg("--store").arg(&school.bench.context.store);
    command.env_clear().env("HOME", &home).env("DOCKER_CONFIG", &home).env("PATH", "/usr/bin:/bin");
    command.stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{stderr}");
    let (_, manifest) = school.registry.manifest("lab", "v1").unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.last(), Some(&format!("{destination}@{}", Digest::of(&manifest)).as_str()), "{stdout}");
    assert!(lines[0].contains("4 repositories") && lines[0].contains("1 blob mounted"), "{stdout}");
    let secrets = [LOGIN.1, "dGVhY2hlcjpvcGVuLXNlc2FtZQ==", "Bearer"];
    assert!(secrets.iter().all(|secret| !stdout.contains(secret) && !stderr.contains(secret)), "{stderr}");

    let offline = ["--offline", "push", &destination];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ztlab"));
    command.args(offline).arg("--lab").arg(&school.bench.context.lab).arg("--store").arg(&school.bench.context.store);
    command.env_clear().env("HOME", &home).stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(20), "{}", text(output.stderr));
}

#[tokio::test]
async fn a_laptop_without_ztlab_finds_it_beside_the_lab() {
    let school = School::new().await;
    let program = std::path::PathBuf::from(env!("CARGO_BIN_EXE_ztlab"));
    let request = push::Request {
        destination: school.destination().parse().unwrap(),
        jobs: 4,
        max_rate: None,
        programs: vec![program.clone()],
    };
    let pushed = push::run(&school.bench.context, request).await.unwrap();
    let [found] = pushed.programs.as_slice() else { panic!("{:?}", pushed.programs) };
    assert_eq!(Some(found.platform), Platform::current());
    let bytes = fs_err::read(program).unwrap();
    assert_eq!(found.digest, Digest::of(&bytes));
    let path = found.url.strip_prefix(&school.registry.address()).unwrap();
    assert_eq!(path, format!("/v2/lab/blobs/{}", found.digest));
    assert!(school.registry.has("lab", found.digest));
    // It is no part of the lab's folder.
    let laptop = school.laptop("with-program");
    assert_eq!(school.pull(&laptop, &pushed.reference, None).await.unwrap().new_files, 4);

    let request = push::Request {
        destination: school.destination().parse().unwrap(),
        jobs: 4,
        max_rate: None,
        programs: vec![school.bench.context.lock_path()],
    };
    assert_eq!(code(&push::run(&school.bench.context, request).await.unwrap_err()), "bundle::program");
}
