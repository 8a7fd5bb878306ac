//! The server as clients see it: what is served and what is not, the registry's answers, and clients that are slow,
//! greedy or talk nonsense. Loopback only.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

#[path = "serve/blobs.rs"]
mod blobs;
#[path = "serve/hostile.rs"]
mod hostile;
#[path = "serve/lab.rs"]
mod lab;
#[path = "serve/peers.rs"]
mod peers;
#[path = "serve/registry.rs"]
mod registry;
#[path = "serve/roster.rs"]
mod roster;
