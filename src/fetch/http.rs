//! A pool of connections that is made when the first request needs it: reading the machine's trust store takes longer
//! than all the rest of a fetch that finds everything in the store.

use std::sync::OnceLock;

use reqwest::redirect;

use super::{FetchError, Network, client::USER_AGENT};

/// As browsers and curl have it, about: more is a loop.
const MAX_REDIRECTS: usize = 10;

/// See the top of this file.
pub(super) struct Http {
    network: Network,
    follows: bool,
    made: OnceLock<reqwest::Client>,
}

impl Http {
    /// `follows`: whether redirects are followed.
    ///
    /// # Errors
    /// When a proxy has no usable address.
    pub(super) fn new(network: &Network, follows: bool) -> Result<Self, FetchError> {
        // Wrong settings are said at once, not by the first request.
        let _ = network.proxies.apply(reqwest::Client::builder())?;
        Ok(Self { network: network.clone(), follows, made: OnceLock::new() })
    }

    /// The pool.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn get(&self) -> Result<&reqwest::Client, FetchError> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let new = self.make()?;
        // Two first requests at once may both have made one: the second is dropped unused.
        Ok(self.made.get_or_init(|| new))
    }

    fn make(&self) -> Result<reqwest::Client, FetchError> {
        let network = &self.network;
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(network.connect_timeout)
            .redirect(if self.follows { self.within_rules() } else { redirect::Policy::none() })
            .referer(false)
            // A connection of its own for each blob: servers and networks limit the connection, and HTTP/2 would
            // put all blobs of a host on one.
            .http1_only()
            .tls_certs_merge(network.extra_roots.0.clone());
        let built = network.proxies.apply(builder)?.build();
        built.map_err(|source| FetchError::Connect { url: "any address".to_owned(), source })
    }

    /// `reqwest` drops credentials when the host changes; what it does not know is our rule for plain HTTP.
    fn within_rules(&self) -> redirect::Policy {
        let mirrors = self.network.mirrors.clone();
        redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                return attempt.error("too many redirects");
            }
            if attempt.url().scheme() == "http" && !mirrors.allows_plain_http(attempt.url()) {
                return attempt.error("redirected to plain HTTP");
            }
            attempt.follow()
        })
    }
}
