//! Lock, fetch and store against servers that lie, and a whole small lab.

#[path = "supply/lab.rs"]
mod lab;
#[path = "supply/lies.rs"]
mod lies;
#[path = "supply/origin.rs"]
mod origin;
