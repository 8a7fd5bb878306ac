//! A lab that a team keeps in git: real locks, made by the library, and real git.

use std::process::Command;

use ztlab::{
    base::{Descriptor, Digest, Expected, Platform},
    intent::Intent,
    lockfile::{self, ImagePin, Lock},
};

use crate::home::{Home, Ran};

pub(crate) const AMD: Platform = Platform::LinuxAmd64;
pub(crate) const ARM: Platform = Platform::LinuxArm64;

/// The intent of a lab with an entry of every kind.
pub(crate) const INTENT: &str = r#"schema = 1
name = "team"
host = ["linux-amd64"]
node = ["linux-amd64", "linux-arm64"]

[version]
calico = "3.27.0"

kubernetes = "1.28.3"

istio = "1.20.0"

[tool.kubectl]
url = "https://dl.k8s.io/release/v{kubernetes}/bin/{os}/{arch}/kubectl"

[file.istio]
url = "https://github.com/istio/istio/releases/download/{istio}/istio-{istio}.tar.gz"
member = { istioctl = "bin/istioctl", kiali = "samples/addons/kiali.yaml" }

[manifest.operator]
url = "https://raw.githubusercontent.com/projectcalico/calico/v{calico}/manifests/tigera-operator.yaml"

[image.calico-node]
ref = "docker.io/calico/node:v{calico}"

[image.nginx]
ref = "docker.io/library/nginx:1.30"

[image.pause]
ref = "registry.k8s.io/pause:3.9"

[image.python]
ref = "docker.io/library/python:3.12"

[wheel.flask]
version = "3.1.3"
python = "3.12"

[app.backend]
path = "app"
base = "image.python"
ref = "docker.io/library/backend:v1"
wheels = ["flask"]
files = { "app.py" = "/app/app.py" }
command = ["python3"]
"#;

/// The file that the app is made of.
pub(crate) const APP: &str = "print('one')\n";

/// Any bytes under a name.
pub(crate) fn blob(name: &str, size: u64) -> Descriptor {
    Descriptor { digest: Digest::of(name.as_bytes()), size }
}

/// An image of one layer of its own, on top of one that every image of the lab shares.
pub(crate) fn pin(name: &str, size: u64) -> ImagePin {
    ImagePin {
        manifest: blob(&format!("{name} manifest"), 1_000),
        config: blob(&format!("{name} config"), 2_000),
        layers: vec![blob("shared layer", 30_000_000), blob(&format!("{name} layer"), size)],
    }
}

/// The lock that answers an intent, every digest made from the entry's request.
pub(crate) fn lock_of(intent: &str) -> Lock {
    let mut lock = lockfile::request(&Intent::parse(intent).unwrap()).unwrap();
    for entry in lock.tool.values_mut() {
        for pin in entry.platforms.values_mut() {
            let known = Expected::from(blob(&pin.url, 50_000_000));
            (pin.digest, pin.size) = (known.digest, known.size);
        }
    }
    for entry in lock.file.values_mut() {
        let known = Expected::from(blob(&entry.want, 25_000_000));
        (entry.digest, entry.size) = (known.digest, known.size);
        for member in entry.member.values_mut() {
            let known = Expected::from(blob(&format!("{} in {}", member.path, entry.want), 1_000_000));
            (member.digest, member.size) = (known.digest, known.size);
        }
    }
    for entry in lock.manifest.values_mut() {
        let known = Expected::from(blob(&entry.want, 1_750_000));
        (entry.digest, entry.size) = (known.digest, known.size);
    }
    for entry in lock.image.values_mut() {
        entry.index = Some(blob(&format!("{} index", entry.want), 800).into());
        for platform in [AMD, ARM] {
            entry.platforms.insert(platform, pin(&format!("{} {platform}", entry.want), 10_000_000));
        }
    }
    for (name, entry) in &mut lock.wheel {
        for platform in [AMD, ARM] {
            let known = blob(&entry.want, 100_000);
            let download = lockfile::Download {
                url: Some(format!("https://files.pythonhosted.org/packages/{name}.whl")),
                digest: Some(known.digest),
                size: Some(known.size),
            };
            entry.platforms.insert(platform, download);
        }
    }
    let parts = format!("{:?} {:?}", lock.image.get("python"), lock.wheel.get("flask"));
    for entry in lock.app.values_mut() {
        // As `resolve::source` hashes a tree of this one file.
        let tree = format!("0644 {} app.py\n", Digest::of(APP.as_bytes()));
        entry.source = Some(Digest::of(tree.as_bytes()));
        for platform in [AMD, ARM] {
            entry.platforms.insert(platform, pin(&format!("{parts} {platform}"), 500_000));
        }
    }
    lock
}

/// The repository of a team, in the user's lab.
pub(crate) struct Team {
    pub(crate) home: Home,
}

impl Team {
    /// A repository whose first commit, on `main`, has the lab and its lock.
    pub(crate) fn new() -> Self {
        Self::of(INTENT, &lock_of(INTENT))
    }

    pub(crate) fn of(intent: &str, lock: &Lock) -> Self {
        let team = Self { home: Home::new() };
        team.home.write("lab/lock/ztlab.toml", intent);
        team.home.write("lab/app/app.py", APP);
        team.write(lock);
        team.git(&["init", "-q", "-b", "main"]);
        team.commit("the lab");
        team
    }

    /// Puts a lock into the working tree.
    pub(crate) fn write(&self, lock: &Lock) {
        self.home.write("lab/lock/ztlab.lock", &lockfile::write(lock));
    }

    /// The lock's text in the working tree.
    pub(crate) fn text(&self) -> String {
        fs_err::read_to_string(self.home.path("lab/lock/ztlab.lock")).unwrap()
    }

    /// A branch of `main` with a lock (and an intent) of its own.
    pub(crate) fn branch(&self, name: &str, intent: &str) {
        self.git(&["checkout", "-q", "-b", name, "main"]);
        self.home.write("lab/lock/ztlab.toml", intent);
        self.write(&lock_of(intent));
        self.commit(name);
    }

    pub(crate) fn commit(&self, subject: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", subject]);
    }

    /// Git, which must not fail.
    pub(crate) fn git(&self, arguments: &[&str]) -> Ran {
        let ran = self.try_git(arguments);
        assert_eq!(ran.exit, 0, "git {arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Git with a user and a time of its own, and with the program under test on its `PATH`.
    pub(crate) fn try_git(&self, arguments: &[&str]) -> Ran {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_ztlab")).parent().unwrap();
        let path = std::env::join_paths(
            [program.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.home.path("lab"))
            .env_clear()
            .env("PATH", path.unwrap())
            .env("HOME", self.home.path("nobody"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C.UTF-8");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "somebody")
                .env(format!("GIT_{role}_EMAIL"), "somebody@example.org")
                .env(format!("GIT_{role}_DATE"), "2024-01-01T00:00:00Z");
        }
        self.home.take(&command.output().unwrap())
    }

    /// ztlab, with git to be found.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.home.command(arguments);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        self.home.take(&command.output().unwrap())
    }
}
