//! The binary as a user runs it: what it prints, how it ends, and whether the reference pages say the same.
//! No test here needs a network, a cluster or a Docker.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

mod audits;
mod doctor;
mod home;
mod locks;
mod machines;
mod merges;
mod network;
mod pages;
mod people;
mod policies;
mod reviews;
mod share;
mod shells;
mod signatures;
mod sockets;
mod tampered;
mod team;
