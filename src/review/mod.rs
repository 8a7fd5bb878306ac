//! What a reviewer wants to know of a lock, and what git has to know of three. Values in, findings out: no file, no
//! socket, no clock.
//!
//! | file | question |
//! |---|---|
//! | [`policy`] | what does the team allow? `lock/policy.toml` |
//! | [`audit`] | is what will be asked for locked, and what is locked asked for? |
//! | [`recorded`] | did a cluster ask for what was foreseen? |
//! | [`mod@why`] | who needs this entry, and what does it cost? |
//! | [`lint`] | does the lock keep to it? |
//! | [`signature`] | who vouches for the lock? |
//! | [`age`] | how old is an entry, as far as that can be known offline? |
//! | `diff` | what is different between two locks? [`Diff`] |
//! | `alarm` | what of it must not be missed? [`Alarm`] |
//! | `download` | what does it cost whoever has the old lab? [`Download`] |
//! | [`merge`] | what do two sides make of one lock, and what is left to a person? |
//! | `view` | an entry as those three see it: what was asked, from where, which bytes |

mod address;
pub mod age;
mod alarm;
pub mod audit;
mod diff;
mod download;
pub mod lint;
pub mod merge;
pub mod policy;
pub mod recorded;
pub mod signature;
mod view;
pub mod why;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub use alarm::{Alarm, AlarmCode};
pub use diff::{Change, Diff, EntryChange, PartChange, Setting};
pub use download::Download;
pub use view::Kind;

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
    /// Where that stands, when it is more than the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do.
    pub fix: String,
}
