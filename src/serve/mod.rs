//! The store of a complete lab over HTTP, read-only: plain blobs, the OCI distribution API, a page for people, and a
//! roster of seats that want to be on it.
//!
//! ```text
//! Server::bind ─▶ accept ─▶ admission ─▶ connection: head ─▶ route ─▶ answer ─▶ transfer
//!                             │                               │
//!                             limits, who must leave          catalog   what this lab has, under which names
//!                                                             registry  /v2/…
//!                                                             page      /
//!                                                             roster    POST /roster
//!                                                             peers     POST /peers ─▶ spread   who takes what from whom
//! room   who got how much: for the page, the terminal and the end
//! announce   mDNS
//! ```
//!
//! | path | answer |
//! |---|---|
//! | `/` | the page; `/room` the part of it that changes |
//! | `/lab.json` | [`LabDocument`] |
//! | `/ztlab.lock`, `/ztlab.lock.minisig` | the lock, byte for byte, and its signature where there is one |
//! | `/blobs/sha256/<hex>` | a blob of this lab; one range of bytes |
//! | `/v2/…` | OCI distribution-spec v1.1, "Pull" and "Content discovery" |
//! | `/roster` | POST: one event of a seat |
//! | `/peers` | POST: what a laptop that shares has and wants; what it is to take from whom |
//!
//! What always holds: only blobs that the lock names are served, and only files that look as they did when their
//! bytes were last hashed ([`crate::store::Store::open_blob`]); a blob that was touched is hashed before it is served,
//! and one that differs is not there. Nothing is written but the roster and the list of laptops that share, which are in
//! memory and bounded. Memory does not grow with the size of blobs: the kernel copies from file to socket.
//!
//! A laptop that shares is the same server with less behind it ([`Catalog::so_far`]): it answers for blobs and for nothing
//! else.
//!
//! Nobody can hold the server: heads and bodies have deadlines, a transfer has to move, and when all places are taken
//! the newcomer gets that of whoever has most or moves least ([`admission`]).

mod admission;
mod announce;
mod catalog;
mod connection;
mod file;
mod pace;
mod page;
mod peers;
mod range;
mod reach;
mod registry;
mod request;
mod response;
mod room;
mod roster;
mod route;
mod server;
mod spread;

pub use admission::Limits;
pub use announce::{AnnounceError, Announcement};
pub use catalog::{ArtifactDocument, Catalog, CatalogError, LabDocument};
pub use reach::{Reach, reach};
pub use room::RoomDocument;
pub use roster::{SeatDocument, csv_of};
pub use server::{ListenError, Server};
