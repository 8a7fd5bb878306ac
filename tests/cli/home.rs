//! A user of a test: home, configuration and data folders of their own, and a lab to stand in.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The intent of a lab that is one file.
const INTENT: &str = r#"schema = 1
name = "small"
host = ["linux-amd64"]
node = ["linux-amd64"]

[version]
calico = "3.27.0"

[manifest.operator]
url = "https://upstream.invalid/v{calico}/operator.yaml"
"#;

/// The lock that answers it.
const LOCK: &str = r#"# Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.
schema = 1
name = "small"
host = ["linux-amd64"]
node = ["linux-amd64"]

[version]
calico = "3.27.0"

[manifest.operator]
want = "https://upstream.invalid/v3.27.0/operator.yaml"
digest = "sha256:6dcd4ce23d88e2ee9568ba546c007c63d9131c1b1ca8a4e0b8d3a5a0c0b4ae0f"
size = 12
"#;

/// One user.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    /// A user who has nothing yet.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A user with a lab of one file in `lab`.
    pub(crate) fn with_small_lab() -> Self {
        let home = Self::new();
        home.write("lab/lock/ztlab.toml", INTENT);
        home.write("lab/lock/ztlab.lock", LOCK);
        home
    }

    /// A user with the shipped lab's intent, lock and apps in `lab`.
    pub(crate) fn with_shipped_lab() -> Self {
        let home = Self::new();
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["lock", "app/backend", "app/frontend"] {
            for entry in fs_err::read_dir(project.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let place = home.path(&format!("lab/{folder}")).join(path.file_name().unwrap());
                    fs_err::create_dir_all(place.parent().unwrap()).unwrap();
                    fs_err::copy(&path, &place).unwrap();
                }
            }
        }
        home
    }

    /// Copies folders of the project into the lab, whole.
    pub(crate) fn copy_of_project(&self, folders: &[&str]) {
        for folder in folders {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for entry in fs_err::read_dir(&from).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if path.is_dir() {
                    self.copy_of_project(&[&format!("{folder}/{name}")]);
                } else {
                    self.write(&format!("lab/{folder}/{name}"), &fs_err::read_to_string(&path).unwrap());
                }
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Replaces text in a file of the lab; the text must be there, else the test tests nothing.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs_err::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no `{from}`");
        self.write(name, &text.replacen(from, to, 1));
    }

    /// The command, in the lab's folder (or the home where there is none), with nothing of this machine's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let lab = self.path("lab");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztlab"));
        command
            .args(arguments)
            .current_dir(if lab.is_dir() { lab } else { self.folder.path().to_owned() })
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            // Whether boxes are drawn with Unicode depends on it.
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.take(&self.command(arguments).output().unwrap())
    }

    /// Text with this user's folder and the platform replaced, as they differ between machines.
    pub(crate) fn take(&self, output: &Output) -> Ran {
        let folder = self.folder.path().display().to_string();
        let canonical = fs_err::canonicalize(self.folder.path()).unwrap().display().to_string();
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            text.replace(&canonical, "[HOME]").replace(&folder, "[HOME]")
        };
        Ran { exit: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}
