//! A connection to one cluster, as a kubeconfig names it.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// No connection to the cluster.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ClientError {
    /// The kubeconfig has no such context, or cannot be read.
    #[error("cannot use the context `{context}` of {kubeconfig}")]
    #[diagnostic(
        code(cluster::context),
        help("type `kubectl config get-contexts` and give one of its names to `--context`")
    )]
    Context {
        /// The context.
        context: String,
        /// The file, for people.
        kubeconfig: String,
        /// The reason.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The context is there, but what it says (certificates, addresses) is not usable.
    #[error("cannot connect to the cluster of the context `{context}` at {host}")]
    #[diagnostic(
        code(cluster::connect),
        help("type `kubectl --context {context} version` to see whether the cluster answers")
    )]
    Connect {
        /// The context.
        context: String,
        /// The API server's host.
        host: String,
        /// The reason.
        #[source]
        source: Box<kube::Error>,
    },
}

/// One cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The connection.
    pub client: kube::Client,
    /// The context's name, which children take as `--context`.
    pub context: String,
    /// The kubeconfig that was given, which children take as `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// The API server's host without its port: what an offline child may still reach.
    pub host: String,
}

impl Cluster {
    /// Connects by a kubeconfig's context; without a path, the kubeconfig is the one that kubectl would use.
    ///
    /// No request is made yet: a server that is down shows itself in the first one.
    ///
    /// # Errors
    /// When there is no such context or its certificates cannot be read.
    pub async fn connect(kubeconfig: Option<&Path>, context: &str) -> Result<Self, ClientError> {
        let named = kubeconfig.map_or_else(|| "the default kubeconfig".to_owned(), |path| path.display().to_string());
        let bad = |source| ClientError::Context {
            context: context.to_owned(),
            kubeconfig: named.clone(),
            source: Box::new(source),
        };
        let file = match kubeconfig {
            Some(path) => Kubeconfig::read_from(path).map_err(bad)?,
            None => Kubeconfig::read().map_err(bad)?,
        };
        let names_a_proxy =
            file.clusters.iter().filter_map(|named| named.cluster.as_ref()).any(|cluster| cluster.proxy_url.is_some());
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
        let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.map_err(bad)?;
        if !names_a_proxy {
            // The library also takes the machine's HTTPS_PROXY. A node's address is on this machine, and a school's
            // proxy cannot reach it.
            config.proxy_url = None;
        }
        let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let client = kube::Client::try_from(config).map_err(|source| ClientError::Connect {
            context: context.to_owned(),
            host: host.clone(),
            source: Box::new(source),
        })?;
        Ok(Self { client, context: context.to_owned(), kubeconfig: kubeconfig.map(Path::to_path_buf), host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'http://192.168.49.2:8443'}}]
users: [{name: u, user: {}}]
contexts: [{name: lab, context: {cluster: c, user: u}}]
";

    async fn connect(context: &str) -> Result<Cluster, ClientError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs_err::write(&path, KUBECONFIG).unwrap();
        Cluster::connect(Some(&path), context).await
    }

    #[tokio::test]
    async fn the_host_is_the_api_servers() {
        assert_eq!(connect("lab").await.unwrap().host, "192.168.49.2");
    }

    #[tokio::test]
    async fn an_unknown_context_is_named() {
        let Err(error) = connect("other").await else { panic!("connected") };
        assert!(error.to_string().contains("`other`"), "{error}");
    }
}
