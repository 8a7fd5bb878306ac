//! Who vouches for a lock: a detached signature of minisign, judged against the keys that the policy names. Pure.
//!
//! ```toml
//! [signature]
//! required = true            # false when it is not said: then an unsigned lock is taken, and said to be unsigned
//! key.anna = "RWQf6LRC…"     # the second line of Anna's minisign.pub
//! key.ci = "RWSz9…"          # any of them may sign
//! ```
//!
//! The signature is over the bytes of `lock/ztlab.lock`, in the prehashed form that minisign makes by default. Its
//! trusted comment is signed as well, so it is shown; the untrusted one is not looked at.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

/// The name of the signature's file, beside the lock.
pub const FILE_NAME: &str = "ztlab.lock.minisig";

/// `[signature]` of the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Written")]
pub struct Signing {
    /// Whether an unsigned lock is refused.
    pub required: bool,
    /// Whose signature counts, by the name that people know them by.
    pub key: BTreeMap<String, Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    required: bool,
    #[serde(default)]
    key: BTreeMap<String, Key>,
}

impl TryFrom<Written> for Signing {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        if written.required && written.key.is_empty() {
            return Err("a signature is required, and nobody's key is named: add `key.NAME = \"RW…\"`");
        }
        Ok(Self { required: written.required, key: written.key })
    }
}

/// A public key as minisign writes it: the second line of `minisign.pub`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key {
    text: String,
    key: PublicKey,
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match PublicKey::from_base64(&text) {
            Ok(key) => Ok(Self { text, key }),
            Err(_) => Err(format!("`{text}` is no public key of minisign (the second line of minisign.pub)")),
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.text
    }
}

/// What is known about who vouches for a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Standing {
    /// There is no signature.
    Unsigned,
    /// There is one, and the policy names nobody whose signature counts.
    Unjudged,
    /// The lock is, byte for byte, what this key's owner signed.
    Signed {
        /// The key's name in the policy.
        by: String,
        /// What the owner wrote beside it; minisign's default has time and file name.
        comment: String,
    },
}

impl fmt::Display for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => formatter.write_str("unsigned"),
            Self::Unjudged => formatter.write_str("signed, and lock/policy.toml names no key to judge it by"),
            // Tabs part the fields of minisign's own comment; control characters have no business on a terminal.
            Self::Signed { by, comment } => {
                let shown: String = comment.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
                write!(formatter, "signed by {by} ({})", shown.trim())
            }
        }
    }
}

/// A signature that is no reason to believe the lock.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SignatureError {
    /// None, and the policy wants one.
    #[error("the lock is unsigned, and lock/policy.toml requires a signature of {}", listed(.allowed))]
    #[diagnostic(
        code(signature::absent),
        help(
            "get lock/{FILE_NAME} from whoever gave you the lock; a maintainer makes it with `minisign -S -m lock/ztlab.lock`"
        )
    )]
    Absent {
        /// Whose would count.
        allowed: Vec<String>,
    },
    /// Not what minisign writes.
    #[error("lock/{FILE_NAME} is no signature of minisign")]
    #[diagnostic(
        code(signature::syntax),
        help(
            "expected its four lines, as `minisign -S -m lock/ztlab.lock` writes them; get the file again, or sign again"
        )
    )]
    Syntax,
    /// Somebody else's.
    #[error("the lock is signed by key {found}; lock/policy.toml believes {}", listed(.allowed))]
    #[diagnostic(
        code(signature::key),
        help(
            "if that key is to be believed from now on, add it under [signature] in lock/policy.toml; else ask who signed"
        )
    )]
    Key {
        /// The key's ID, as minisign shows it.
        found: String,
        /// Whose would count.
        allowed: Vec<String>,
    },
    /// Made in minisign's old way.
    #[error("the signature of {by} is of minisign's old form, without hashing first")]
    #[diagnostic(code(signature::legacy), help("sign again with minisign 0.10 or newer, and without its option -l"))]
    Legacy {
        /// The key's name in the policy.
        by: String,
    },
    /// The lock, the trusted comment or the signature was changed.
    #[error("the lock is not the one that {by} signed: lock/ztlab.lock or lock/{FILE_NAME} was changed since")]
    #[diagnostic(
        code(signature::wrong),
        help(
            "get both files again from whoever gave you the lab; a maintainer who changed the lock signs it again with `minisign -S -m lock/ztlab.lock`"
        )
    )]
    Wrong {
        /// The key's name in the policy.
        by: String,
    },
}

fn listed(names: &[String]) -> String {
    names.join(", ")
}

/// Judges a lock's bytes. `signature` is the text of its `.minisig` file; `None` when there is none.
///
/// # Errors
/// When the policy requires a signature and there is none; and whenever one that can be judged does not fit.
pub fn judge(signing: &Signing, lock: &[u8], signature: Option<&str>) -> Result<Standing, SignatureError> {
    let allowed = || signing.key.keys().cloned().collect::<Vec<_>>();
    let Some(text) = signature else {
        return if signing.required {
            Err(SignatureError::Absent { allowed: allowed() })
        } else {
            Ok(Standing::Unsigned)
        };
    };
    if signing.key.is_empty() {
        return Ok(Standing::Unjudged);
    }
    let signature = Signature::decode(text).map_err(|_| SignatureError::Syntax)?;
    let mut worst = SignatureError::Key { found: key_id(text).unwrap_or_default(), allowed: allowed() };
    for (by, Key { key, .. }) in &signing.key {
        use minisign_verify::Error;
        match key.verify(lock, &signature, false) {
            Ok(()) => {
                return Ok(Standing::Signed { by: by.clone(), comment: signature.trusted_comment().to_owned() });
            }
            // The ID says whose it claims to be, nothing more: two keys may have the same one.
            Err(Error::UnexpectedKeyId) => {}
            Err(Error::UnexpectedAlgorithm) => worst = SignatureError::Legacy { by: by.clone() },
            Err(_) => worst = SignatureError::Wrong { by: by.clone() },
        }
    }
    Err(worst)
}

/// A signature's key ID, as minisign shows it: its eight bytes as a little-endian number.
fn key_id(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text.lines().nth(1)?).ok()?;
    let id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}
