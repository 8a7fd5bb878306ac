//! Operating system and architecture, written as `linux-arm64`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A platform that the lab is made for: `darwin-arm64`, `linux-arm64` or `linux-amd64`.
///
/// The words are Go's (`GOOS`, `GOARCH`), which OCI images and the download names of
/// Kubernetes, Minikube and Istio share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Platform {
    /// An Apple silicon Mac.
    DarwinArm64,
    /// Linux on x86-64.
    LinuxAmd64,
    /// Linux on 64-bit ARM: the node on an Apple silicon Mac.
    LinuxArm64,
}

/// Text that names no platform of this tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform of ztlab: expected darwin-arm64, linux-amd64 or linux-arm64")]
pub struct PlatformError(String);

impl Platform {
    const ALL: [Self; 3] = [Self::DarwinArm64, Self::LinuxAmd64, Self::LinuxArm64];

    /// Go's name of the operating system.
    pub fn os(self) -> &'static str {
        match self {
            Self::DarwinArm64 => "darwin",
            Self::LinuxAmd64 | Self::LinuxArm64 => "linux",
        }
    }

    /// Go's name of the architecture.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "amd64",
            Self::DarwinArm64 | Self::LinuxArm64 => "arm64",
        }
    }

    /// The platform that this binary was built for, or `None` where ztlab has none.
    pub fn current() -> Option<Self> {
        match (std::env::consts::OS, std::env::consts::ARCH) {
            ("macos", "aarch64") => Some(Self::DarwinArm64),
            ("linux", "x86_64") => Some(Self::LinuxAmd64),
            ("linux", "aarch64") => Some(Self::LinuxArm64),
            _ => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.os(), self.architecture())
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.to_string() == text)
            .ok_or_else(|| PlatformError(text.to_owned()))
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_round_trips() {
        for platform in Platform::ALL {
            assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
        }
    }

    #[test]
    fn uname_words_are_refused() {
        assert!("linux-x86_64".parse::<Platform>().is_err());
        assert!("macos-arm64".parse::<Platform>().is_err());
    }
}
