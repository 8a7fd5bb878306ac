//! SHA-256 digests: the one identity of every byte that ztlab handles.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Event, human_bytes};

/// From here on the missing instructions cost more than a second.
const SHOWS: u64 = 256 * 1024 * 1024;
/// As measured on a processor that has them, with and without (docs/decisions.md, "SHA-256 by sha2").
const SLOWER: u32 = 7;

/// A SHA-256 digest.
///
/// Its text form is the OCI one, `sha256:` and 64 lower-case hexadecimal digits
/// (OCI image-spec v1.1, descriptor.md, "Digests"). Upper case, other algorithms and
/// other lengths do not parse, so that one content has one name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// Text that is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: {}", self.problem())]
pub struct DigestError {
    text: String,
}

impl DigestError {
    fn problem(&self) -> String {
        let digits = match self.text.split_once(':') {
            Some(("sha256", digits)) => digits,
            Some((algorithm, _)) => return format!("only sha256 is known here, not {algorithm}"),
            None => self.text.as_str(),
        };
        match digits.chars().count() {
            _ if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) || digits == self.text => {
                "expected `sha256:` and 64 lower-case hexadecimal digits".to_owned()
            }
            64 => "its digits must be lower case".to_owned(),
            count => format!("it has {count} hexadecimal digits, and SHA-256 has 64"),
        }
    }
}

impl Digest {
    /// Digests bytes that are already in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 64 hexadecimal digits: the name of the blob's file in an OCI image layout.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }

    /// Parses 64 lower-case hexadecimal digits without the `sha256:` prefix, as checksum files hold them.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let error = || DigestError { text: text.chars().take(100).collect() };
        let lower = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let mut bytes = [0; 32];
        if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(error());
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let error = || DigestError { text: text.chars().take(100).collect() };
        Self::from_hex(text.strip_prefix("sha256:").ok_or_else(error)?).map_err(|_| error())
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Whether this processor has instructions for SHA-256. [`Hasher`] asks the same question when it first runs
/// (`sha2`, src/sha256.rs), and uses them.
pub fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// What to tell people before so many bytes are digested; nothing where it does not show.
pub fn warning_when_slow(has_instructions: bool, bytes: u64) -> Option<Event> {
    (!has_instructions && bytes >= SHOWS).then(|| {
        let text = format!(
            "this processor has no instructions for SHA-256: checking {} takes {SLOWER} times the work that it takes on one that has them",
            human_bytes(bytes)
        );
        Event::Warning { text }
    })
}

/// Digests a stream, piece by piece.
#[derive(Debug, Default, Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_round_trips() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn other_spellings_of_the_same_digest_are_refused() {
        for text in [
            EMPTY.to_uppercase(),
            EMPTY.replace("sha256:e3b0", "sha256:E3B0"),
            EMPTY.replace("sha256:", ""),
            EMPTY.replace("sha256:", "sha512:"),
            EMPTY[..70].to_owned(),
            format!("{EMPTY}0"),
            format!(" {EMPTY}"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text} parsed");
        }
    }

    #[test]
    fn a_slow_processor_is_warned_about_when_it_shows() {
        assert_eq!(warning_when_slow(true, u64::MAX), None);
        assert_eq!(warning_when_slow(false, 10_000), None);
        let warning = warning_when_slow(false, 1_500_000_000);
        assert!(matches!(&warning, Some(Event::Warning { text }) if text.contains("1.5 GB")), "{warning:?}");
    }

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        let mut hasher = Hasher::default();
        hasher.update(b"zero ");
        hasher.update(b"trust");
        assert_eq!(hasher.finish(), Digest::of(b"zero trust"));
    }
}
