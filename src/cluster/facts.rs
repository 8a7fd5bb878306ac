//! Small questions to the API server.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};

use super::client::Cluster;

/// How long somebody waits who only wants to know what is there: a cluster that is stopped refuses at once, and one that is
/// stuck is not waited for.
pub const GLANCE: Duration = Duration::from_secs(4);

/// The cluster did not answer a question.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum FactError {
    /// No answer, or a refusal.
    #[error("cannot ask the cluster of the context `{context}` for {what}")]
    #[diagnostic(
        code(cluster::ask),
        help("type `kubectl --context {context} get nodes`; when nothing answers, `ztlab install` starts the node")
    )]
    Ask {
        /// The context.
        context: String,
        /// What was asked for.
        what: &'static str,
        /// The reason.
        #[source]
        source: Box<kube::Error>,
    },
    /// The lab knows how to fill one node's runtime.
    #[error("the cluster of the context `{context}` has {found} nodes, expected 1")]
    #[diagnostic(code(cluster::nodes), help("give a cluster with a single node"))]
    Nodes {
        /// The context.
        context: String,
        /// How many there are.
        found: usize,
    },
}

impl Cluster {
    /// The only node's runtime as it reports it: `docker://24.0.7`, `containerd://1.7.8`.
    ///
    /// # Errors
    /// When the cluster does not answer or has another number of nodes.
    pub async fn runtime_version(&self) -> Result<String, FactError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let list = nodes.list(&ListParams::default()).await.map_err(|source| self.unanswered("its nodes", source))?;
        let [node] = list.items.as_slice() else {
            return Err(FactError::Nodes { context: self.context.clone(), found: list.items.len() });
        };
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        Ok(info.map(|info| info.container_runtime_version.clone()).unwrap_or_default())
    }

    /// What tells this cluster from every other, also from a later one of the same name and address: the `uid` of the
    /// namespace `kube-system`, which no cluster is without and nobody can delete (the usual choice: OpenTelemetry's
    /// `k8s.cluster.uid`).
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn identity(&self) -> Result<Option<String>, FactError> {
        let found = self.namespace("kube-system").await?;
        Ok(found.and_then(|namespace| namespace.metadata.uid))
    }

    /// A namespace's annotation, or `None` when either is absent.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn namespace_annotation(&self, namespace: &str, annotation: &str) -> Result<Option<String>, FactError> {
        let found = self.namespace(namespace).await?;
        Ok(found.and_then(|object| object.metadata.annotations?.remove(annotation)))
    }

    /// Whether there is such a namespace.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn has_namespace(&self, namespace: &str) -> Result<bool, FactError> {
        Ok(self.namespace(namespace).await?.is_some())
    }

    /// Every ConfigMap with a label, whatever its namespace; only names, no data.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn config_maps(&self, label: &str) -> Result<Vec<DynamicObject>, FactError> {
        let resource = ApiResource::erase::<ConfigMap>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let found = api.list_metadata(&ListParams::default().labels(label)).await;
        let found = found.map_err(|source| self.unanswered("its ConfigMaps", source))?;
        let named = |object: kube::core::PartialObjectMeta<DynamicObject>| {
            let named = DynamicObject::new(object.metadata.name.as_deref().unwrap_or_default(), &resource);
            named.within(object.metadata.namespace.as_deref().unwrap_or_default())
        };
        Ok(found.items.into_iter().map(named).collect())
    }

    async fn namespace(&self, name: &str) -> Result<Option<DynamicObject>, FactError> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::erase::<Namespace>(&()));
        api.get_opt(name).await.map_err(|source| self.unanswered("its namespaces", source))
    }

    pub(super) fn unanswered(&self, what: &'static str, source: kube::Error) -> FactError {
        FactError::Ask { context: self.context.clone(), what, source: Box::new(source) }
    }
}
