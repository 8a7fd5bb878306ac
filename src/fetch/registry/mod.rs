//! A lab in a registry of others (distribution, zot, Harbor), by the OCI distribution specification v1.1.
//!
//! ```text
//! address   oci://HOST/REPOSITORY[:TAG][@DIGEST], and what is asked of it
//! layout    lock → which blob is in which repository there; the one rule for those who push and those who fetch
//! upload    one blob or manifest into a repository: mount, else send; retries
//!   ├─ answer   what a registry has, keeps and refuses, in its own words
//!   └─ parcel   the bytes on their way: hashed as they are read, the last piece held back until they are right
//! ```

mod address;
mod answer;
mod layout;
mod parcel;
mod upload;

pub use address::{RegistryAddress, RegistryAddressError};
pub use layout::{Home, ImagePlace, LabBlob, RegistryLayout};
pub(super) use parcel::Parcel;
pub use parcel::{Outgoing, OutgoingBytes};
pub use upload::Pushed;
