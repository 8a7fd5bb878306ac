//! The variables that a child sees.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Nothing listens on the discard port of loopback, so a connection through this "proxy" fails at once and stays on
/// the machine.
const DEAD_PROXY: &str = "http://127.0.0.1:9";

/// Names that a proxy can come from; programs differ in which spelling they read.
const PROXY_VARIABLES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// The variables that a child sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(pub(super) BTreeMap<String, String>);

impl Environment {
    /// Takes the caller's variables without those that would steer a child past its arguments.
    ///
    /// Every flag of `minikube start` can also come from `MINIKUBE_<FLAG>`, `DOCKER_HOST` would move the node to
    /// another machine, and a proxy would carry an offline install's requests out of the house. A caller that means
    /// one of them adds it again with [`with`](Self::with).
    pub fn scrubbed(base: impl IntoIterator<Item = (String, String)>) -> Self {
        let steers =
            |name: &str| name.starts_with("MINIKUBE_") || name == "DOCKER_HOST" || PROXY_VARIABLES.contains(&name);
        Self(base.into_iter().filter(|(name, _)| !steers(name)).collect())
    }

    /// Sets one variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All variables.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Gives the child proxies that lead nowhere, so that its every request beyond loopback and the given hosts fails.
    ///
    /// `direct` are the hosts that it must still reach: the API server's.
    #[must_use]
    pub fn offline<'host>(self, direct: impl IntoIterator<Item = &'host str>) -> Self {
        self.offline_by(DEAD_PROXY, direct)
    }

    /// The same with a proxy of the caller's, one that counts what it refuses.
    #[must_use]
    pub fn offline_by<'host>(self, proxy: &str, direct: impl IntoIterator<Item = &'host str>) -> Self {
        let mut exempt = vec!["localhost", "127.0.0.1", "::1"];
        exempt.extend(direct);
        let exempt = exempt.join(",");
        PROXY_VARIABLES.into_iter().fold(self, |environment, name| {
            let no_proxy = name.eq_ignore_ascii_case("no_proxy");
            environment.with(name, if no_proxy { exempt.as_str() } else { proxy })
        })
    }

    /// Lets an offline child reach one host more. An environment without proxies needs no exceptions.
    #[must_use]
    pub fn exempting(self, host: &str) -> Self {
        ["NO_PROXY", "no_proxy"].into_iter().fold(self, |environment, name| match environment.get(name) {
            Some(exempt) => {
                let exempt = format!("{exempt},{host}");
                environment.with(name, exempt)
            }
            None => environment,
        })
    }

    /// Finds a program on this environment's `PATH`; a name with a slash is taken as it is.
    pub fn find(&self, program: &Path) -> Option<PathBuf> {
        if program.components().count() > 1 {
            return Some(program.to_path_buf());
        }
        std::env::split_paths(self.get("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubbing_removes_what_steers_a_child() {
        let base = ["HOME", "PATH", "MINIKUBE_DRIVER", "MINIKUBE_HOME", "DOCKER_HOST", "HTTPS_PROXY", "no_proxy"];
        let environment = Environment::scrubbed(base.map(|name| (name.to_owned(), "x".to_owned())));
        assert_eq!(environment, Environment::default().with("HOME", "x").with("PATH", "x"));
    }

    #[test]
    fn offline_proxies_lead_nowhere_but_the_cluster_stays_in_reach() {
        let environment = Environment::default().offline(["192.168.49.2"]);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
            assert_eq!(environment.get(name), Some("http://127.0.0.1:9"), "{name}");
        }
        assert_eq!(environment.get("NO_PROXY"), Some("localhost,127.0.0.1,::1,192.168.49.2"));
        assert_eq!(environment.get("no_proxy"), environment.get("NO_PROXY"));
        let counted = Environment::default().offline_by("http://127.0.0.1:5", []).exempting("10.0.0.1");
        assert_eq!(counted.get("https_proxy"), Some("http://127.0.0.1:5"));
        assert_eq!(counted.get("NO_PROXY"), Some("localhost,127.0.0.1,::1,10.0.0.1"));
        assert_eq!(Environment::default().exempting("10.0.0.1").get("NO_PROXY"), None);
    }
}
