//! Lock, fetch and store against servers that lie, and a whole small lab.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

#[path = "supply/bench.rs"]
mod bench;
#[path = "supply/binary.rs"]
mod binary;
#[path = "supply/distribution.rs"]
mod distribution;
#[path = "supply/lab.rs"]
mod lab;
#[path = "supply/lanes.rs"]
mod lanes;
#[path = "supply/liars.rs"]
mod liars;
#[path = "supply/lies.rs"]
mod lies;
#[path = "supply/origin.rs"]
mod origin;
#[path = "supply/peers.rs"]
mod peers;
#[path = "supply/proxies.rs"]
mod proxies;
#[path = "supply/push.rs"]
mod push;
#[path = "supply/push_mishaps.rs"]
mod push_mishaps;
#[path = "supply/raw.rs"]
mod raw;
#[path = "supply/registry.rs"]
mod registry;
#[path = "supply/relock.rs"]
mod relock;
#[path = "supply/shapes.rs"]
mod shapes;
#[path = "supply/share.rs"]
mod share;
#[path = "supply/sources.rs"]
mod sources;
#[path = "supply/together.rs"]
mod together;
