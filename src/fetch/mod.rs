//! The only code with sockets to the outside. Brings blobs into the store, and small documents to `resolve`.
//!
//! ```text
//! schedule   all missing blobs of all artifacts, largest first, `jobs` at once; names for whole ones, in groups
//!   └─ lanes     which blob from which source next, by speed and health; moves on from those that die or lie
//!   └─ blob      one blob from one place; waits while another process brings it
//!        └─ retry     which failures are worth another attempt, and when
//!             └─ attempt   one GET into the store: stall, range, length, HTML page
//!                  └─ client    one request: offline switch, plain-HTTP rule, per-host limit, registry token
//! document, refusal   a small answer read whole; an answer that is no success
//! source     upstream's names → addresses, mirrors applied
//! from       --from: what may have the bytes already; those on this machine are asked first, in turn
//!   └─ local, saved, bundled, docker   a folder, a tar of images, a bundle, Docker
//! registry   a lab in a registry of others: where its blobs are there, and how they get there
//! token, credentials, helper   what a registry wants to see, and where it is kept
//! network    what a person can set about all that
//! proxy, trust, throttle   the line: through whom, believing whom, how fast
//! lan        a server of the same lab in the same network, by multicast DNS
//! share      laptops that serve each other: what they and the room's server say to each other
//! seat       what a laptop tells the teacher's roster, when its user wants that
//! published  when a file was last changed, as its server says
//! ```
//!
//! What always holds: no request leaves when the client is offline; credentials go to the host that asked for
//! them and to no other; bytes get a name in the store only after their digest was checked. Dropping any
//! future here is safe: partial files stay for the next run.

mod attempt;
mod blob;
mod bundled;
mod client;
mod credentials;
mod docker;
mod document;
mod error;
mod from;
mod helper;
mod http;
pub mod lan;
mod lanes;
mod local;
mod members;
mod network;
mod proxy;
mod published;
mod refusal;
mod registry;
mod retry;
mod saved;
mod schedule;
pub mod seat;
pub mod share;
mod source;
mod throttle;
mod token;
mod trust;

pub use blob::Wanted;
pub(crate) use blob::blocking;
pub use client::Client;
pub use credentials::DockerConfig;
pub use document::Document;
pub use error::FetchError;
pub(crate) use error::MORE_QUOTA;
pub use from::{Source, SourceError, take_from};
pub use lanes::{DroppedReport, LanePolicy, Lanes, SourceReport, is_download};
pub use members::extract_members;
pub use network::Network;
pub use proxy::Proxies;
pub use registry::{
    Home, ImagePlace, LabBlob, Outgoing, OutgoingBytes, Pushed, RegistryAddress, RegistryAddressError, RegistryLayout,
};
pub use retry::RetryPolicy;
pub use schedule::{BlobError, Failure, fetch_all};
pub use source::{Location, Mirror, MirrorError, Mirrors};
pub use trust::{ExtraRoots, TrustError};
