//! Which proxy stands between us and the outside, as the environment says it.

use std::{collections::BTreeMap, fmt};

use reqwest::{ClientBuilder, NoProxy, Proxy};

use super::FetchError;

/// Never behind a proxy, whatever `NO_PROXY` says: a proxy on another machine cannot reach our loopback
/// (Go's `httpproxy.Config` has the same rule).
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies to use. Not shown by `Debug`: their addresses may hold passwords.
#[derive(Clone, Default)]
pub enum Proxies {
    /// None.
    #[default]
    Direct,
    /// What the platform says: on a Mac the network settings.
    Platform,
    /// Named ones.
    Named {
        /// Variable and address for plain HTTP.
        http: Option<(String, String)>,
        /// Variable and address for https.
        https: Option<(String, String)>,
        /// `NO_PROXY`.
        except: String,
    },
}

impl fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Direct => "Direct",
            Self::Platform => "Platform",
            Self::Named { .. } => "Named(…)",
        })
    }
}

impl Proxies {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; lower-case spellings come first, as in curl.
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| {
            let spellings = [name.to_ascii_lowercase(), name.to_owned()];
            let mut found = spellings.into_iter().filter_map(|name| Some((environment.get(&name)?.clone(), name)));
            found.find(|(value, _)| !value.is_empty()).map(|(value, name)| (name, value))
        };
        let all = set("ALL_PROXY");
        let (http, https) = (set("HTTP_PROXY").or_else(|| all.clone()), set("HTTPS_PROXY").or(all));
        if http.is_none() && https.is_none() {
            return Self::Platform;
        }
        Self::Named { http, https, except: set("NO_PROXY").map(|(_, value)| value).unwrap_or_default() }
    }

    /// Tells the client.
    pub(super) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, FetchError> {
        let (http, https, except) = match self {
            Self::Direct => return Ok(builder.no_proxy()),
            Self::Platform => return Ok(builder),
            Self::Named { http, https, except } => (http, https, except),
        };
        let except = || NoProxy::from_string(&format!("{except},{LOOPBACK}"));
        let mut builder = builder.no_proxy();
        for (named, make) in [(http, Proxy::http as fn(String) -> _), (https, Proxy::https)] {
            let Some((variable, address)) = named else { continue };
            let error = || FetchError::Proxy { variable: variable.clone() };
            let scheme = address.split_once("://").map_or("http", |(scheme, _)| scheme);
            if !matches!(scheme, "http" | "https") {
                return Err(error());
            }
            builder = builder.proxy(make(address.clone()).map_err(|_| error())?.no_proxy(except()));
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::of(&variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn variables_are_read_as_curl_reads_them() {
        assert!(matches!(proxies(&[("NO_PROXY", "*"), ("HTTP_PROXY", "")]), Proxies::Platform));
        let both = proxies(&[("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b"), ("ALL_PROXY", "http://c")]);
        let Proxies::Named { http, https, except } = both else { panic!("none") };
        assert_eq!(http.unwrap().1, "http://c");
        assert_eq!(https.unwrap(), ("https_proxy".to_owned(), "http://b".to_owned()));
        assert_eq!(except, "");
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_by_its_variable_and_without_its_password() {
        for address in ["socks5://user:secret@a.example:1080", "http://user:secret@[broken", "http://"] {
            let error = proxies(&[("ALL_PROXY", address)]).apply(reqwest::Client::builder()).unwrap_err();
            let text = format!("{error:?} {error} {:?}", proxies(&[("ALL_PROXY", address)]));
            assert!(text.contains("ALL_PROXY") && !text.contains("secret"), "{text}");
        }
        assert!(proxies(&[("http_proxy", "school.example:3128")]).apply(reqwest::Client::builder()).is_ok());
    }
}
