//! A lab in registries of others: distribution 2.8 (Debian's docker-registry) and 3, and the one that crane has in it. What was
//! pushed is read by crane and oras, and fetched again by the real program. `rig/registry.sh` brings the programs and
//! runs this with `ZTLAB_READERS`; where one is absent, its test says that it was skipped.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use ztlab::base::{Digest, Platform};

use crate::{
    bench::{Bench, assert_nothing_wrong, stored},
    readers::{run, tool},
};

/// `teacher`, `open-sesame`, by bcrypt, as `htpasswd -B` writes it.
const PASSWORDS: &str = "teacher:$2b$05$8mNOS0/iM/7VBTaTCxoXw.sJvUhBdJgYpcRn3W/8q1OgpD1H0muh6\n";
/// The same as Docker's config.json has it.
const AUTH: &str = "dGVhY2hlcjpvcGVuLXNlc2FtZQ==";

/// A registry in a process of its own, empty at first; it dies with this value.
struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    fn start(mut command: Command, says: &str) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let port = loop {
            said.clear();
            assert!(lines.read_line(&mut said).unwrap() > 0, "the registry ended");
            let Some((_, rest)) = said.split_once(says) else { continue };
            break rest.chars().take_while(char::is_ascii_digit).collect::<String>();
        };
        // It goes on talking: somebody has to listen, or it stops.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, host: format!("127.0.0.1:{port}") }
    }

    /// Distribution with an empty folder; with passwords, if `asks`.
    fn distribution(program: &Path, folder: &Path, asks: bool) -> Self {
        fs_err::create_dir_all(folder).unwrap();
        let passwords = folder.join("htpasswd");
        fs_err::write(&passwords, PASSWORDS).unwrap();
        let auth = if asks {
            format!("auth:\n  htpasswd: {{realm: school, path: {}}}\n", passwords.display())
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: 127.0.0.1:0}}\n{auth}",
            folder.join("storage").display()
        );
        let file = folder.join("config.yml");
        fs_err::write(&file, config).unwrap();
        let mut command = Command::new(program);
        // Version 3 would look for somebody to send its traces to.
        command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
        Self::start(command, "listening on 127.0.0.1:")
    }

    fn cranes(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(["registry", "serve", "--address", "127.0.0.1:0"]);
        Self::start(command, "serving on port ")
    }

    fn place(&self) -> String {
        format!("{}/school/lab", self.host)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A fetched lab whose program is run as a person runs it.
struct School {
    bench: Bench,
}

impl School {
    fn new() -> Self {
        let bench = Bench::with_images();
        bench.fetch("store").unwrap();
        fs_err::create_dir_all(bench.path("lab/manifests")).unwrap();
        fs_err::write(bench.path("lab/manifests/01-namespace.yaml"), "kind: Namespace\n").unwrap();
        Self { bench }
    }

    /// The outcome of `ztlab push`.
    fn push(&self, registry: &Registry) -> Value {
        outcome(&self.try_push(registry))
    }

    fn try_push(&self, registry: &Registry) -> Output {
        let destination = format!("oci://{}", registry.place());
        self.bench.command(&self.bench.path("store"), &["--json", "push", &destination]).output().unwrap()
    }

    /// A laptop without anything; upstream is not there for it either.
    fn laptop(&self, name: &str, arguments: &[&str]) -> Output {
        let folder = self.bench.path(name);
        fs_err::create_dir_all(&folder).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztlab"));
        command.args(arguments).arg("--store").arg(folder.join("store")).current_dir(&folder).env_clear();
        for host in ["https://files.example", "docker.io", "registry.k8s.io"] {
            command.arg("--mirror").arg(format!("{host}=http://127.0.0.1:1/"));
        }
        command.env("HOME", self.bench.path("")).env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output().unwrap()
    }

    fn blob(&self, digest: &Digest) -> Vec<u8> {
        fs_err::read(self.bench.path("store/blobs/sha256").join(digest.hex())).unwrap()
    }

    /// Everything that people do with a lab in a registry.
    fn check(&self, registry: &Registry, crane: &Path, oras: &Path) {
        let pushed = self.push(registry);
        let id = self.bench.read_lock().lab_id();
        let place = registry.place();
        let digest = pushed["digest"].as_str().unwrap().to_owned();
        assert_eq!(pushed["reference"], format!("oci://{place}:{}@{digest}", id.short()), "{pushed}");
        assert!(pushed["sent_bytes"].as_u64().unwrap() > 0);
        let again = self.push(registry);
        assert_eq!((again["sent_bytes"].as_u64(), &again["digest"]), (Some(0), &pushed["digest"]), "{again}");

        self.images_are_whole(&place, crane);
        self.folder_is_usable(&format!("{place}:{}", id.short()), oras);

        // A laptop with the lab's folder and lock, and nothing else.
        let lab = self.bench.path("lab").display().to_string();
        let source = format!("oci://{place}");
        let fetched = self.laptop("with-lock", &["--json", "--lab", &lab, "fetch", "--locked", "--from", &source]);
        assert_eq!(outcome(&fetched)["lab_id"], id.to_string());
        // A laptop without anything.
        let reference = pushed["reference"].as_str().unwrap();
        let pulled = outcome(&self.laptop("bare", &["--json", "pull", reference, "--expect", &digest]));
        assert_eq!(pulled["reference"], pushed["reference"]);
        let everything = stored(&self.bench.path("store"));
        for name in ["with-lock", "bare"] {
            let store = self.bench.path(name).join("store");
            assert_nothing_wrong(&store);
            assert_eq!(stored(&store), everything, "{name}");
        }
        assert_eq!(files(&self.bench.path("bare/images")), files(&self.bench.path("lab")));
        let (folder, store) = (self.bench.path("bare/images"), self.bench.path("bare/store"));
        let offline = ["--json", "--offline", "--lab", folder.to_str().unwrap(), "fetch", "--locked"];
        let offline = Command::new(env!("CARGO_BIN_EXE_ztlab")).args(offline).arg("--store").arg(store).output();
        assert_eq!(outcome(&offline.unwrap())["requests"].as_u64(), Some(0));
        fs_err::remove_dir_all(self.bench.path("with-lock")).unwrap();
        fs_err::remove_dir_all(self.bench.path("bare")).unwrap();
    }

    fn images_are_whole(&self, place: &str, crane: &Path) {
        let lock = self.bench.read_lock();
        for (name, repository) in [("node", "docker.io/lab/node:v1"), ("pause", "registry.k8s.io/pause:3.9")] {
            let pin = &lock.image[name].platforms[&Platform::LinuxArm64];
            let image = format!("{place}/{repository}");
            assert_eq!(self.run(crane, &["manifest", "--insecure", &image]), self.blob(&pin.manifest.digest), "{name}");
            self.run(crane, &["validate", "--insecure", "--remote", &image]);
            let tar = self.bench.path("pulled.tar");
            self.run(crane, &["pull", "--insecure", "--platform", "linux/arm64", &image, tar.to_str().unwrap()]);
            let listed = String::from_utf8(run(Path::new("/usr/bin/tar"), &["-tf", tar.to_str().unwrap()])).unwrap();
            assert!(listed.contains(&pin.config.digest.hex()), "{listed}");
        }
        let index = lock.image["node"].index.unwrap().complete().unwrap();
        let listed = self.run(crane, &["ls", "--insecure", &format!("{place}/docker.io/lab/node")]);
        assert_eq!(String::from_utf8(listed).unwrap(), "v1\n");
        let file = format!("{place}@{}", index.digest);
        assert_eq!(
            self.run(crane, &["blob", "--insecure", &file]),
            self.blob(&index.digest),
            "the index is kept as a file"
        );
    }

    fn folder_is_usable(&self, lab: &str, oras: &Path) {
        let out = self.bench.path("unpacked");
        self.run(oras, &["pull", "--plain-http", "--output", out.to_str().unwrap(), lab]);
        let mut unpacked = files(&out);
        let blobs: Vec<String> = unpacked.keys().filter(|name| name.starts_with("blobs/")).cloned().collect();
        assert_eq!(blobs, ["blobs/file.a/a.tar.gz", "blobs/image.node/index.json", "blobs/manifest.m/0"]);
        unpacked.retain(|name, _| !name.starts_with("blobs/"));
        assert_eq!(unpacked, files(&self.bench.path("lab")));
        let manifest = self.run(oras, &["manifest", "fetch", "--plain-http", lab]);
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["artifactType"], "application/vnd.ztlab.lab.v1");
        let tree = self.run(oras, &["discover", "--plain-http", "--format", "tree", lab]);
        assert!(String::from_utf8(tree).unwrap().contains(lab.rsplit_once(':').unwrap().0));
        fs_err::remove_dir_all(&out).unwrap();
    }

    /// crane and oras find credentials where ztlab does.
    fn run(&self, program: &Path, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new(program).args(arguments).env("HOME", self.bench.path("")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {said}", program.display());
        output.stdout
    }
}

fn outcome(output: &Output) -> Value {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|event| event["event"] == "outcome").map(|event| event["outcome"].clone()).next().unwrap()
}

/// Every file below a folder, read.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.insert(name, fs_err::read(&path).unwrap());
            }
        }
    }
    files
}

/// Distribution as `name` has it, crane and oras.
fn tools(name: &str) -> Option<(PathBuf, PathBuf, PathBuf)> {
    Some((tool(name)?, tool("crane")?, tool("oras")?))
}

fn holds_a_lab(name: &str) {
    let Some((program, crane, oras)) = tools(name) else { return };
    let school = School::new();
    let registry = Registry::distribution(&program, &school.bench.path("registry"), false);
    school.check(&registry, &crane, &oras);
}

fn wants_passwords(name: &str) {
    let Some((program, crane, oras)) = tools(name) else { return };
    let school = School::new();
    let registry = Registry::distribution(&program, &school.bench.path("registry"), true);
    let refused = school.try_push(&registry);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(20), "{said}");
    assert!(said.contains("push::incomplete") && said.contains("docker login"), "{said}");
    let docker = school.bench.path(".docker");
    fs_err::create_dir_all(&docker).unwrap();
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"{AUTH}"}}}}}}"#, registry.host);
    fs_err::write(docker.join("config.json"), config).unwrap();
    school.check(&registry, &crane, &oras);
}

#[test]
fn distribution_2_holds_a_lab_for_crane_oras_and_laptops() {
    holds_a_lab("docker-registry");
}

#[test]
fn distribution_3_holds_a_lab_for_crane_oras_and_laptops() {
    holds_a_lab("distribution");
}

#[test]
fn distribution_2_with_passwords_wants_them_and_gets_them() {
    wants_passwords("docker-registry");
}

#[test]
fn distribution_3_with_passwords_wants_them_and_gets_them() {
    wants_passwords("distribution");
}

#[test]
fn cranes_own_registry_holds_a_lab_as_well() {
    let (Some(crane), Some(oras)) = (tool("crane"), tool("oras")) else { return };
    let school = School::new();
    let registry = Registry::cranes(&crane);
    school.check(&registry, &crane, &oras);
}
