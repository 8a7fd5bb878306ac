//! `ztlab/bundle.json`, the first member: what the bundle is and every member that follows. Its SHA-256 is the bundle's
//! identity, because it covers every other byte.

use serde::{Deserialize, Serialize};

use crate::base::{Descriptor, Digest, Platform};

use super::BundleError;

/// Version of the form.
const SCHEMA: u32 = 1;
/// A head names each blob with about 110 bytes; the shipped lab has 300 blobs.
pub(super) const MAX_HEAD: u64 = 4 * 1024 * 1024;
/// No sum of lengths below this overflows, whatever a stranger wrote: 1 PiB.
const MAX_BUNDLE: u64 = 1 << 50;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The lab.
    pub lab: Identity,
    /// With `--since`: the lab whose blobs are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Identity>,
    /// `index.json`, by which other tools find the images.
    pub index: Descriptor,
    /// ztlab itself, for each platform; sorted.
    pub programs: Vec<Program>,
    /// The lab's folder; sorted by path. Each is one of the blobs.
    pub files: Vec<LabFile>,
    /// Everything under `blobs/sha256`; sorted.
    pub blobs: Vec<Descriptor>,
}

/// A lab by name and lab id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The lab's name.
    pub name: String,
    /// SHA-256 of its lock.
    pub id: Digest,
}

/// A ztlab that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Where it runs.
    pub platform: Platform,
    /// Its bytes.
    pub file: Descriptor,
}

/// A file of the lab's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabFile {
    /// Relative, with `/`: `lock/ztlab.lock`, `manifests/01-namespace.yaml`.
    pub path: String,
    /// Its bytes.
    pub file: Descriptor,
}

/// The member as written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: u32,
    /// SHA-256 of `bundle` as written here: a flipped bit is told from another bundle.
    check: Digest,
    bundle: Head,
}

/// What every version of the form has.
#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

impl Head {
    /// The one spelling of this head.
    pub fn text(&self) -> Vec<u8> {
        let written = Written { schema: SCHEMA, check: self.check(), bundle: self.clone() };
        // Strings and numbers only: writing them to memory cannot fail.
        let mut text = serde_json::to_vec(&written).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn check(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a head; what [`Head::text`] would not write is damage.
    ///
    /// # Errors
    /// [`BundleError::Newer`] or [`BundleError::Head`].
    pub(super) fn parse(text: &[u8]) -> Result<Self, BundleError> {
        let damaged = |problem: String| BundleError::Head { problem };
        let Written { check, bundle, .. } = match serde_json::from_slice(text) {
            Ok(Written { schema, check, bundle }) if schema == SCHEMA => Written { schema, check, bundle },
            Ok(Written { schema, .. }) => return Err(BundleError::Newer { found: schema }),
            Err(error) => {
                return Err(match serde_json::from_slice::<Versioned>(text) {
                    Ok(Versioned { schema }) if schema > SCHEMA => BundleError::Newer { found: schema },
                    _ => damaged(error.to_string()),
                });
            }
        };
        let found = bundle.check();
        if found != check {
            return Err(damaged(format!("expected the bytes of {check}, found those of {found}")));
        }
        if bundle.text() != text {
            return Err(damaged("it is not spelled as ztlab spells it".to_owned()));
        }
        let sorted = bundle.blobs.is_sorted_by(|one, next| one.digest < next.digest)
            && bundle.files.is_sorted_by(|one, next| one.path < next.path)
            && bundle.programs.is_sorted_by(|one, next| one.platform < next.platform);
        if !sorted {
            return Err(damaged("its members are not in order, or there twice".to_owned()));
        }
        let programs = bundle.programs.iter().map(|program| program.file);
        let sizes = programs.chain(bundle.blobs.iter().copied()).chain([bundle.index]).map(|file| file.size);
        if sizes.fold(0, u64::saturating_add) > MAX_BUNDLE {
            return Err(damaged("its members have more bytes than any disk".to_owned()));
        }
        Ok(bundle)
    }
}
