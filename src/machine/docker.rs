//! What `docker info --format '{{json .}}'` says, as far as a lab depends on it.

use serde::Deserialize;

/// How Docker answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Docker {
    /// There is no `docker` on `PATH`.
    #[default]
    Absent,
    /// The program is there, and no daemon answered it; its words.
    Silent(String),
    /// It answered.
    Answered(Box<DockerInfo>),
}

impl Docker {
    /// What it said, if it said something.
    pub fn info(&self) -> Option<&DockerInfo> {
        if let Self::Answered(info) = self { Some(info) } else { None }
    }
}

/// The part of Docker's answer that is used (moby/moby v28.5.2, `api/types/system/info.go`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DockerInfo {
    /// As `28.5.2`.
    pub server_version: String,
    /// Bytes of memory of Docker's machine.
    pub mem_total: u64,
    /// Its CPUs.
    #[serde(rename = "NCPU")]
    pub cpus: u32,
    /// The kernel's word, as `aarch64`.
    pub architecture: String,
    /// `linux` or `windows`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// As `Docker Desktop`.
    pub operating_system: String,
    /// The storage driver, as `overlay2`; `overlayfs` is containerd's.
    pub driver: String,
    /// Where the daemon keeps everything, on its machine.
    pub docker_root_dir: String,
    /// Its clock, RFC 3339.
    pub system_time: String,
    /// As `name=seccomp,profile=builtin` or `name=rootless`.
    pub security_options: Option<Vec<String>>,
    /// Why there is no answer: `docker info` then still prints a document.
    pub server_errors: Option<Vec<String>>,
}

impl DockerInfo {
    /// The daemon's answer, or why there is none.
    pub fn read(text: &str) -> Docker {
        match serde_json::from_str::<Self>(text) {
            Ok(info) => match info.server_errors.as_deref() {
                Some(errors) if !errors.is_empty() => Docker::Silent(errors.join("; ")),
                _ => Docker::Answered(Box::new(info)),
            },
            Err(_) => {
                Docker::Silent(format!("it wrote no JSON: {}", text.trim().chars().take(200).collect::<String>()))
            }
        }
    }

    /// Whether this is Docker Desktop.
    pub fn is_desktop(&self) -> bool {
        self.operating_system == "Docker Desktop"
    }

    /// Go's word for the architecture.
    pub fn go_architecture(&self) -> &str {
        match self.architecture.as_str() {
            "aarch64" => "arm64",
            "x86_64" => "amd64",
            other => other,
        }
    }

    /// Major and minor version; `None` for what is no version.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut parts = self.server_version.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}
