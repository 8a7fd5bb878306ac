//! A small lab in a cluster that keeps objects and runs nothing: what an install in another profile makes of it, and what
//! `status` says.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

#[path = "running_lab/cluster.rs"]
mod cluster;
#[path = "running_lab/machine.rs"]
mod machine;
#[path = "running_lab/profiles.rs"]
mod profiles;
#[path = "running_lab/status.rs"]
mod status;
