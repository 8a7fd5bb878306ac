//! What a person can set about the network.

use std::time::Duration;

use super::{DockerConfig, ExtraRoots, LanePolicy, Mirrors, Proxies, RetryPolicy};

/// What a person can set about the network.
#[derive(Debug, Clone)]
pub struct Network {
    /// No request leaves.
    pub offline: bool,
    /// Other places for upstream's bytes.
    pub mirrors: Mirrors,
    /// Requests to one host at a time.
    pub per_host: usize,
    /// How long a connection may be silent.
    pub idle_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// When to try again.
    pub retry: RetryPolicy,
    /// When to try elsewhere.
    pub lanes: LanePolicy,
    /// Bytes per second over all connections; `None` is no limit.
    pub max_rate: Option<u64>,
    /// Proxies on the way out.
    pub proxies: Proxies,
    /// Certificates that are believed besides the platform's.
    pub extra_roots: ExtraRoots,
    /// Where credentials for registries may be.
    pub credentials: DockerConfig,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            offline: false,
            mirrors: Mirrors::default(),
            per_host: 8,
            // A registry that is busy with a cold blob may take ten seconds to the first byte.
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(15),
            retry: RetryPolicy::default(),
            lanes: LanePolicy::default(),
            max_rate: None,
            proxies: Proxies::default(),
            extra_roots: ExtraRoots::default(),
            credentials: DockerConfig::default(),
        }
    }
}
