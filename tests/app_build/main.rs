//! `ztlab build` as a user runs it: one lab of a small base, a wheel and two files, built under everything that
//! differs between machines.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{Cursor, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

mod hostile;
mod official;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::Digest as _;
use ztlab::{
    base::{Descriptor, Platform, report::Silent},
    intent::Intent,
    lockfile::{self, Download, ImagePin},
    store::Store,
};

const INTENT: &str = r#"schema = 1
name = "small"
host = ["linux-amd64"]
node = ["linux-amd64", "linux-arm64"]

[version]

[image.python]
ref = "docker.io/library/python:3.12.14-slim-bookworm"

[wheel.demo]
version = "1"
python = "3.12"

[app.web]
path = "app/web"
base = "image.python"
ref = "docker.io/library/web:v1"
wheels = ["demo"]
files = { "app.py" = "/app/app.py", "run.sh" = "/app/run.sh" }
workdir = "/app"
user = "10001:10001"
ports = ["5000/tcp"]
env = { PYTHONUNBUFFERED = "1" }
labels = { "org.opencontainers.image.title" = "web", "a b" = "ä \\ \" 二" }
command = ["/app/run.sh"]
"#;

/// The images of that lab. Pinned: a change of any byte here changes every lock there is.
const EXPECTED: [(&str, &str); 2] = [
    ("linux-amd64", "sha256:ac0f6b9acb5826f6b2094b65f29b2c2273aa99bd6e5354b33911549cb8578312"),
    ("linux-arm64", "sha256:2bb1bbfc977364e29dfb6c52b746773f5c042bdbd20614bad9039e65c3fadd6c"),
];

/// A folder with a lab and a store.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    /// A lab whose parts are locked and in the store, in a folder whose name ends so.
    fn new(suffix: &str) -> Self {
        let lab = Self { folder: tempfile::Builder::new().suffix(suffix).tempdir().unwrap() };
        for (name, text) in [
            ("lab/lock/ztlab.toml", INTENT),
            ("lab/app/web/run.sh", "#!/bin/sh\nexec python3 app.py\n"),
            ("lab/app/web/app.py", "import demo\n"),
        ] {
            fs_err::create_dir_all(lab.path(name).parent().unwrap()).unwrap();
            fs_err::write(lab.path(name), text).unwrap();
        }
        fs_err::set_permissions(lab.path("lab/app/web/run.sh"), Permissions::from_mode(0o755)).unwrap();
        lab.lock_parts(&wheel("x = 1\n"));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lock_path(&self) -> PathBuf {
        self.path("lab/lock/ztlab.lock")
    }

    fn lock_parts(&self, wheel: &[u8]) {
        let store = Store::open(self.path("store")).unwrap();
        let put = |bytes: &[u8]| store.put(bytes, &Silent).unwrap().descriptor();
        let mut lock = lockfile::request(&Intent::parse(INTENT).unwrap()).unwrap();
        let wheel = put(wheel);
        for platform in [Platform::LinuxAmd64, Platform::LinuxArm64] {
            let pin = base(platform, &put);
            lock.image.get_mut("python").unwrap().platforms.insert(platform, pin);
            let url = Some("https://files.example/demo-1-py3-none-any.whl".to_owned());
            let download = Download { url, digest: Some(wheel.digest), size: Some(wheel.size) };
            lock.wheel.get_mut("demo").unwrap().platforms.insert(platform, download);
        }
        lockfile::save(&self.lock_path(), &lock).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztlab"));
        command
            .args(["--json", "--offline", "--lab"])
            .arg(self.path("lab"))
            .arg("--store")
            .arg(self.path("store"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, Value) {
        answer(&mut self.command(arguments))
    }
}

/// Exit code and the last line of a run.
fn answer(command: &mut Command) -> (i32, Value) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), serde_json::from_str(line).unwrap())
}

/// A base of one layer that holds `usr/local/`, in the clear: tar alone is a layer, too.
fn base(platform: Platform, put: &impl Fn(&[u8]) -> Descriptor) -> ImagePin {
    let mut tar = tar::Builder::new(Vec::new());
    for folder in ["usr/", "usr/local/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        tar.append_data(&mut header, folder, std::io::empty()).unwrap();
    }
    let layer = put(&tar.into_inner().unwrap());
    let config = put(json!({
        "architecture": platform.architecture(), "os": "linux",
        "config": { "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHON_VERSION=3.12.14"], "Cmd": ["python3"] },
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "somebody" }],
    })
    .to_string()
    .as_bytes());
    let typed = |kind: &str, blob: Descriptor| json!({ "mediaType": kind, "digest": blob.digest, "size": blob.size });
    let manifest = put(json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": typed("application/vnd.oci.image.config.v1+json", config),
        "layers": [typed("application/vnd.oci.image.layer.v1.tar", layer)],
    })
    .to_string()
    .as_bytes());
    ImagePin { manifest, config, layers: vec![layer] }
}

/// The wheel `demo` of one module and one program.
fn wheel(module: &str) -> Vec<u8> {
    wheel_of(&members(module))
}

/// What that wheel holds beside its RECORD.
fn members(module: &str) -> [(&str, &str); 3] {
    [
        ("demo/__init__.py", module),
        ("demo-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        ("demo-1.dist-info/entry_points.txt", "[console_scripts]\ndemo = demo:main\n"),
    ]
}

/// A wheel of these members, in this order, and a RECORD of them.
fn wheel_of(members: &[(&str, &str)]) -> Vec<u8> {
    let mut record = String::from("demo-1.dist-info/RECORD,,\n");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, text) in members {
        // What RECORD says is always the module as it should be.
        let recorded = if *path == "demo/__init__.py" { "x = 1\n" } else { text };
        let hash = BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(recorded.as_bytes()));
        record.push_str(&format!("{path},sha256={hash},{}\n", recorded.len()));
        zip.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.start_file("demo-1.dist-info/RECORD", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(record.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Platform → manifest of a build, and how they stand to the lock.
fn built((exit, answer): (i32, Value)) -> (BTreeMap<String, String>, Vec<String>) {
    assert_eq!(exit, 0, "{answer}");
    let images = answer["outcome"]["images"].as_array().unwrap().clone();
    let text = |image: &Value, field: &str| image[field].as_str().unwrap().to_owned();
    let standings = images.iter().map(|image| text(image, "standing")).collect();
    (images.iter().map(|image| (text(image, "platform"), text(image, "manifest"))).collect(), standings)
}

fn expected() -> BTreeMap<String, String> {
    EXPECTED.map(|(platform, digest)| (platform.to_owned(), digest.to_owned())).into()
}

#[test]
fn the_digests_are_the_pinned_ones_whatever_the_machine() {
    let one = Lab::new("-one");
    assert_eq!(built(one.run(&["build"])), (expected(), vec!["completed".to_owned(), "completed".to_owned()]));

    // Another path with letters beyond ASCII, another user where this one may become it, other rights, times, locale,
    // time zone and working folder.
    let other = Lab::new(" ä 二 (copy)");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(400_000_000);
    for file in ["lab/app/web/app.py", "lab/app/web/run.sh"] {
        let opened = fs_err::File::options().write(true).open(other.path(file)).unwrap();
        opened.set_modified(long_ago).unwrap();
    }
    fs_err::set_permissions(other.path("lab/app/web/app.py"), Permissions::from_mode(0o604)).unwrap();
    fs_err::set_permissions(other.path("lab/app/web/run.sh"), Permissions::from_mode(0o705)).unwrap();
    let mut shell = Command::new("/bin/sh");
    // The umask is the shell's; the product takes its place.
    // A copy, because another user may not reach the place where it was compiled.
    fs_err::copy(env!("CARGO_BIN_EXE_ztlab"), other.path("ztlab")).unwrap();
    shell.args(["-c", "umask 027; exec \"$@\"", "sh", "./ztlab"]);
    shell.args(["--json", "--offline", "--lab", "lab", "--store", "store", "build"]);
    shell.env_clear().current_dir(other.folder.path()).stdin(Stdio::null());
    shell.envs([("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8"), ("USER", "nobody"), ("HOME", "/nonexistent")]);
    shell.env("SOURCE_DATE_EPOCH", "1");
    if is_root() {
        give_away(other.folder.path());
        shell.uid(NOBODY).gid(NOBODY);
    }
    assert_eq!(built(answer(&mut shell)).0, expected());

    // The same locks follow, byte for byte.
    let lock = |lab: &Lab| fs_err::read_to_string(lab.lock_path()).unwrap();
    assert_eq!(lock(&one), lock(&other));
}

#[test]
fn a_clean_clone_gives_the_same_digests() {
    let lab = Lab::new("-origin");
    let (from, to) = (lab.path("lab"), lab.path("clone"));
    let git = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
        let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git(&from, &["init", "--quiet"]);
    git(&from, &["add", "--all"]);
    git(&from, &["commit", "--quiet", "--message", "The lab"]);
    git(lab.folder.path(), &["clone", "--quiet", from.to_str().unwrap(), to.to_str().unwrap()]);
    fs_err::remove_dir_all(&from).unwrap();
    fs_err::rename(&to, &from).unwrap();
    assert_eq!(built(lab.run(&["build"])).0, expected());
}

#[test]
fn the_order_of_files_does_not_matter() {
    let lab = Lab::new("");
    let mut turned = members("x = 1\n");
    turned.reverse();
    let turned = wheel_of(&turned);
    assert_ne!(turned, wheel("x = 1\n"));
    lab.lock_parts(&turned);
    let text = fs_err::read_to_string(lab.lock_path()).unwrap();
    assert!(text.contains(&Descriptor::of(&turned).digest.to_string()));
    assert_eq!(built(lab.run(&["build"])).0, expected());
}

const NOBODY: u32 = 65534;

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs_err::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn give_away(folder: &Path) {
    std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            give_away(&path);
        } else {
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

#[test]
fn a_second_build_finds_the_locked_image_and_an_edit_does_not_touch_the_lock() {
    let lab = Lab::new("");
    lab.run(&["build"]);
    let locked = fs_err::read_to_string(lab.lock_path()).unwrap();
    assert_eq!(built(lab.run(&["build", "web"])), (expected(), vec!["locked".to_owned(), "locked".to_owned()]));
    assert_eq!(lab.run(&["lock", "--check"]).0, 0);

    fs_err::write(lab.path("lab/app/web/app.py"), "import demo  # edited\n").unwrap();
    let (digests, standings) = built(lab.run(&["build"]));
    assert_ne!(digests, expected());
    assert_eq!(standings, ["unlocked", "unlocked"]);
    assert_eq!(fs_err::read_to_string(lab.lock_path()).unwrap(), locked);
    assert_eq!(lab.run(&["lock", "--check"]).1["code"], "lock::stale");

    // What the warning says to type makes the edit the lab's, still without a network.
    assert_eq!(lab.run(&["lock"]).0, 0);
    assert_eq!(built(lab.run(&["build"])), (digests, vec!["completed".to_owned(), "completed".to_owned()]));
    assert_eq!(lab.run(&["lock", "--check"]).0, 0);
}

#[test]
fn a_result_that_is_not_the_locked_one_is_an_integrity_error() {
    let lab = Lab::new("");
    lab.run(&["build"]);
    let text = fs_err::read_to_string(lab.lock_path()).unwrap();
    let (_, digest) = EXPECTED[0];
    let other = format!("sha256:{}", "0".repeat(64));
    assert!(text.contains(digest));
    fs_err::write(lab.lock_path(), text.replace(digest, &other)).unwrap();
    let (exit, error) = lab.run(&["build"]);
    assert_eq!((exit, error["code"].as_str()), (21, Some("integrity::build")));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&other) && message.contains(digest), "{message}");
}

#[test]
fn a_wheel_that_breaks_its_record_is_refused_by_name() {
    let lab = Lab::new("");
    lab.lock_parts(&wheel("x = 2\n"));
    let (exit, error) = lab.run(&["build"]);
    assert_eq!((exit, error["code"].as_str()), (21, Some("build::wheel")));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("wheel demo-1-py3-none-any.whl: `demo/__init__.py` differs from RECORD"), "{message}");
}

#[test]
fn a_missing_part_and_an_unknown_app_are_named() {
    let lab = Lab::new("");
    let wheel = Descriptor::of(&wheel("x = 1\n")).digest;
    fs_err::remove_file(lab.path("store/blobs/sha256").join(wheel.hex())).unwrap();
    let (exit, error) = lab.run(&["build"]);
    assert_eq!((exit, error["code"].as_str()), (20, Some("build::part")));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("wheel.demo") && message.contains(&wheel.to_string()), "{message}");
    let (exit, error) = lab.run(&["build", "python"]);
    assert_eq!((exit, error["code"].as_str()), (2, Some("usage::name")));
}
