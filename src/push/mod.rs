//! A lab into a registry of others, as OCI artifacts: mountable, each blob once, for oras and crane as well.
//!
//! ```text
//! plan   Complete and the lab's folder → what has to be in which repository      reads documents, no layer
//! run    asks what is there → sends or mounts the rest → manifests → the lab's own artifact, last
//! ```
//!
//! What is where: `fetch::RegistryLayout`, which those who fetch read as well. Single requests: `fetch::Client`.
//!
//! What always holds: a tag is put when everything that it names is there, and the lab's own tag last of all; a blob that
//! the registry has in any repository of the lab is not sent again; a blob that is damaged in the store is named and
//! does not arrive. Dropping the future is safe: what arrived stays, and is not sent again by the next run.

mod error;
mod plan;
mod run;

pub use error::PushError;
pub use plan::{PlacedBlob, PlacedManifest, PushPlan};
pub use run::{PushReport, push};
