//! The bottom layer: values that every other room speaks in. No I/O beyond [`file`], no policy.

pub mod age;
pub mod chain;
pub mod descriptor;
pub mod digest;
pub mod expected;
pub mod file;
pub mod pipe;
pub mod place;
pub mod platform;
pub mod quiet;
pub mod reference;
pub mod report;
pub mod size;
pub mod wheel_tag;

pub use age::MinimumAge;
pub use chain::chain_ids;
pub use descriptor::Descriptor;
pub use digest::{Digest, DigestError, Hasher};
pub use expected::Expected;
pub use place::{Place, conflict_marker};
pub use platform::Platform;
pub use reference::normalize_reference;
pub use report::{Event, Reporter};
pub use size::{human_bytes, parse_bytes};
