//! One portable file of a lab: its lock, its folder, every blob, and ztlab itself.
//!
//! ```text
//! FILE                         a tar (ustar) with an OCI image layout in it; no owner, no time
//! ├── ztlab/bundle.json        every member that follows with its SHA-256; its own SHA-256 is the bundle's identity
//! ├── oci-layout
//! ├── index.json               the images by their full references, and the lab's folder as an artifact
//! ├── ztlab-<platform>         ztlab itself, ready to run
//! └── blobs/sha256/<hex>       by digest: the lock and the lab's folder, and every blob of the lock
//!                              (with `--since`: but for those of another lock)
//! FILE.001, FILE.002, …        the same bytes, cut
//! ```
//!
//! What always holds: the same lock, lab folder and programs give the same bytes. The bundle is a function of its
//! first member, down to each header and the zeros at its end; a reader derives all of that and compares, so there
//! is no byte that can be changed unnoticed, and nothing of the tar format to be misled by. Nothing is taken that
//! the lock in the bundle does not name. A blob gets into the store through [`crate::store::Ingest`] only.
//!
//! Who has the identity from somewhere else (a blackboard) needs to trust nobody; who has the lab id knows as much of
//! everything but the lab's own YAML.

mod create;
pub mod document;
mod error;
mod head;
mod import;
mod lab;
mod layout;
mod members;
mod output;
mod parts;
mod program;
mod read;
#[cfg(test)]
mod tests;

pub use create::{Contents, Draft, describe_programs};
pub use error::BundleError;
pub use head::{Head, Identity, LabFile, Program};
pub use import::Taken;
pub use lab::{LOCK, LabFileBytes, Written, look_at_lab, read_lab, write_lab};
pub use layout::{Layout, Member};
pub use parts::is_bundle;
pub use read::Bundle;
