//! `ztlab serve`.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;

use crate::serve::Limits;

/// No service of IANA's list has it.
const DEFAULT_PORT: u16 = 8642;

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeArguments {
    /// Listen on this address of this machine; `0.0.0.0` is all of them
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(in crate::cli) bind: IpAddr,
    /// Listen on this port; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PORT)]
    pub(in crate::cli) port: u16,
    /// Announce the server by multicast DNS, even if only this machine reaches it
    #[arg(long)]
    pub(in crate::cli) announce: bool,
    /// Write the roster to this file at the end, as CSV
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) roster: Option<PathBuf>,
    /// Take this many connections at once
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    pub(in crate::cli) connections: usize,
    /// Take this many connections at once from one address
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_address)]
    pub(in crate::cli) per_address: usize,
}
