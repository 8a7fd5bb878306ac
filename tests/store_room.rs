//! The store as a whole: damage, killed processes, several at once, full disks, garbage, other tools.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]
#![allow(clippy::print_stdout, reason = "a test that is skipped, or that did random things, says so")]

#[path = "store/bench.rs"]
mod bench;
#[path = "store/bundles.rs"]
mod bundles;
#[path = "store/damage.rs"]
mod damage;
#[path = "store/garbage.rs"]
mod garbage;
#[path = "store/kill.rs"]
mod kill;
#[path = "store/origin.rs"]
mod origin;
#[path = "store/readers.rs"]
mod readers;
#[path = "store/registries.rs"]
mod registries;
#[path = "store/together.rs"]
mod together;
