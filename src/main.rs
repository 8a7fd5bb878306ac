//! The `ztlab` command.

fn main() {}
