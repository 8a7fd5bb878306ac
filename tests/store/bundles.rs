//! A bundle as people use it: made by one program, started from by another that has nothing, killed, and taken from.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use ztlab::{base::Platform, plan::Plan, store::Store};

use crate::bench::{Bench, assert_nothing_wrong, noise};

const MIB: usize = 1 << 20;
/// Kills in a run of all tests; `ZTLAB_KILLS=1000` for the long form.
const KILLS: u64 = 20;

/// A laptop with nothing on it but what every laptop has.
struct Bare {
    folder: tempfile::TempDir,
}

impl Bare {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> PathBuf {
        self.path("store")
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.path("home")).env("PATH", "/usr/bin:/bin").env("ZTLAB_STORE", self.store());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        self.command(program, arguments).output().unwrap()
    }
}

fn own() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ztlab"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The outcome of a run with `--json`.
fn outcome(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|event| event["event"] == "outcome").map(|event| event["outcome"].clone()).next().unwrap()
}

impl Bench {
    /// The real program makes a bundle of the fetched lab; returns its path.
    fn bundle(&self, name: &str, more: &[&str]) -> PathBuf {
        let path = self.path(name);
        let arguments = [&["--json", "bundle", "create", "-o", path.to_str().unwrap()], more].concat();
        let created = outcome(&self.command(&self.path("store"), &arguments).output().unwrap());
        assert_eq!(created["lab"]["id"].as_str().unwrap(), self.read_lock().lab_id().to_string());
        path
    }
}

#[test]
fn a_bare_laptop_starts_from_the_stick() {
    let bench = Bench::with_images();
    bench.fetch("store").unwrap();
    fs_err::create_dir_all(bench.path("lab/manifests")).unwrap();
    fs_err::write(bench.path("lab/manifests/01-namespace.yaml"), "kind: Namespace\n").unwrap();
    let stick = bench.path("stick");
    fs_err::create_dir_all(&stick).unwrap();
    bench.bundle("stick/lab.tar", &["--split", "1MiB"]);
    let parts = fs_err::read_dir(&stick).unwrap().count();
    assert!(parts > 1, "{parts}");

    let bare = Bare::new();
    let program = format!("ztlab-{}", Platform::current().unwrap());
    // The first part ends early for tar, unless the whole program is in it; parts in a row are the tar.
    let unpack = format!("cat '{}'/lab.tar.* | tar -xf - {program}", stick.display());
    assert!(bare.run(Path::new("/bin/sh"), &["-c", &unpack]).status.success());
    let program = bare.path(&program);
    let inspected = bare.run(&program, &["bundle", "inspect", stick.to_str().unwrap()]);
    assert!(said(&inspected).contains("image.pause"), "{}", said(&inspected));
    let imported = outcome(&bare.run(&program, &["--json", "bundle", "import", stick.to_str().unwrap()]));
    let folder = bare.path("images");
    assert_eq!(imported["folder"].as_str().unwrap(), folder.canonicalize().unwrap().to_str().unwrap());
    assert_eq!(fs_err::read_to_string(folder.join("manifests/01-namespace.yaml")).unwrap(), "kind: Namespace\n");
    let lab = folder.to_str().unwrap();
    let fetched = outcome(&bare.run(&program, &["--json", "--lab", lab, "--offline", "fetch", "--locked"]));
    assert_eq!((fetched["requests"].as_u64(), fetched["fetched_blobs"].as_u64()), (Some(0), Some(0)));
    let verified = bare.run(&program, &["--lab", lab, "store", "verify"]);
    assert!(verified.status.success(), "{}", said(&verified));
    let listed = said(&bare.run(&program, &["--lab", lab, "store", "du"]));
    assert!(listed.contains("lock/ztlab.lock"), "the lab is known to the store: {listed}");
    // The machine that has it makes the same file: the lab travelled whole.
    let again = bare.path("again.tar");
    let arguments = ["--lab", lab, "bundle", "create", "--no-program", "-o", again.to_str().unwrap()];
    assert!(bare.run(&program, &arguments).status.success());
    let first = bench.bundle("first.tar", &["--no-program"]);
    assert_eq!(fs_err::read(first).unwrap(), fs_err::read(again).unwrap());
}

#[test]
fn an_import_that_is_killed_goes_on_with_the_rest_only() {
    let kills = std::env::var("ZTLAB_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let bench = Bench::with_files(&[9 * MIB, 6 * MIB, 4 * MIB, 70_000, 5_000, 100, 1, 0]);
    bench.fetch("store").unwrap();
    let bundle = bench.bundle("lab.tar", &["--no-program"]);
    let plan = |store: &Store| Plan::new(&bench.read_lock(), &store.present().unwrap(), &[]);
    let import = |bare: &Bare| bare.command(own(), &["--json", "bundle", "import", bundle.to_str().unwrap()]);
    let begun = Instant::now();
    assert!(import(&Bare::new()).output().unwrap().status.success());
    let whole_run = begun.elapsed();
    let (mut early, mut resumed) = (0, 0);
    for round in 0..kills {
        let bare = Bare::new();
        let mut child = import(&bare).spawn().unwrap();
        let random =
            u64::from_le_bytes(noise(u64::from(std::process::id()) * 10_000 + round, 64)[56..].try_into().unwrap());
        std::thread::sleep(Duration::from_micros(random % whole_run.as_micros() as u64));
        child.kill().unwrap();
        early += u64::from(!child.wait().unwrap().success());
        assert_nothing_wrong(&bare.store());
        let left = if bare.store().exists() { plan(&Store::open(bare.store()).unwrap()).missing } else { Vec::new() };
        let again = import(&bare).output().unwrap();
        let taken = outcome(&again);
        if bare.store().exists() && !left.is_empty() {
            assert_eq!(taken["taken_blobs"].as_u64(), Some(left.len() as u64), "what was there is not taken again");
        }
        resumed += u64::from(String::from_utf8_lossy(&again.stdout).contains("transfer-resumed"));
        assert_nothing_wrong(&bare.store());
        assert_eq!(plan(&Store::open(bare.store()).unwrap()).missing.len(), 0);
    }
    println!("{early} of {kills} were killed under way; {resumed} went on inside a blob");
    assert!(early > 0, "no run was killed under way: the test tests nothing");
}

#[test]
fn a_fetch_takes_from_a_bundle_what_it_lacks_and_says_what_is_wrong_with_it() {
    let bench = Bench::with_images();
    bench.fetch("store").unwrap();
    let bundle = bench.bundle("lab.tar", &["--no-program"]);
    bench.bundle("parts.tar", &["--no-program", "--split", "1MiB"]);
    for (number, from) in ["lab.tar", "parts.tar.001"].iter().enumerate() {
        let store = bench.path(&format!("other-{number}"));
        let arguments =
            ["--offline", "fetch", "--locked", "--from", bench.path(from).to_str().unwrap()].map(str::to_owned);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let fetched = bench.command(&store, &arguments).output().unwrap();
        assert!(fetched.status.success(), "{}", said(&fetched));
        assert_nothing_wrong(&store);
    }
    // One bit of a layer: the rest is taken, the blob is named.
    let mut bytes = fs_err::read(&bundle).unwrap();
    let layer = fs_err::read(
        bench
            .path("store/blobs/sha256")
            .join(bench.read_lock().image["pause"].platforms[&Platform::LinuxArm64].layers[0].digest.hex()),
    )
    .unwrap();
    let at = bytes.windows(64).position(|window| window == &layer[..64]).unwrap();
    bytes[at + 70] ^= 4;
    fs_err::write(&bundle, bytes).unwrap();
    let path = bundle.to_str().unwrap().to_owned();
    let fetched = bench.command(&bench.path("third"), &["--offline", "fetch", "--from", &path]).output().unwrap();
    assert_eq!(fetched.status.code(), Some(20), "{}", said(&fetched));
    assert!(said(&fetched).contains("image.pause") && said(&fetched).contains("damaged"), "{}", said(&fetched));
    let verified = bench.command(&bench.path("third"), &["bundle", "verify", &path]).output().unwrap();
    assert_eq!(verified.status.code(), Some(21), "{}", said(&verified));
    assert!(said(&verified).contains("image.pause"), "{}", said(&verified));
}
