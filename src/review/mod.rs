//! What a reviewer wants to know of a lock. Values in, findings out: no file, no socket, no clock.
//!
//! | file | question |
//! |---|---|
//! | [`policy`] | what does the team allow? `lock/policy.toml` |
//! | [`lint`] | does the lock keep to it? |
//! | [`age`] | how old is an entry, as far as that can be known offline? |

mod address;
pub mod age;
pub mod lint;
pub mod policy;

use serde::Serialize;

/// Something that a reviewer should not let pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// `image.calico-node`, or the place in a manifest.
    pub entry: String,
    /// Which rule it breaks.
    pub rule: &'static str,
    /// What is there.
    pub found: String,
    /// What may be there.
    pub allowed: String,
    /// What to do.
    pub fix: String,
}
