//! Pull tokens of registries: one per repository, asked for when the registry wants one, and reused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};

use super::FetchError;

/// The token flow of the distribution specification is `oci-client`'s; which token goes where is decided here.
#[derive(Default)]
pub(super) struct Tokens {
    https: OnceLock<Client>,
    http: OnceLock<Client>,
    /// Registry and repository → its token. The async lock makes the tasks that meet an expired token ask once.
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<String>>>>>,
}

impl Tokens {
    /// The token of this repository, when there is one.
    pub(super) async fn get(&self, scope: &Reference) -> Option<String> {
        self.slot(scope).lock().await.clone()
    }

    /// Gets a new token in place of the refused one; `None` when the registry asks for none.
    pub(super) async fn renew(
        &self,
        scope: &Reference,
        plain_http: bool,
        refused: Option<&str>,
        limit: Duration,
    ) -> Result<Option<String>, FetchError> {
        let slot = self.slot(scope);
        let mut token = slot.lock().await;
        if token.is_some() && token.as_deref() != refused {
            return Ok(token.clone());
        }
        let error = |reason: String| FetchError::Token {
            registry: scope.registry().to_owned(),
            repository: scope.repository().to_owned(),
            reason,
        };
        let client = if plain_http {
            self.http.get_or_init(|| client(ClientProtocol::Http))
        } else {
            self.https.get_or_init(|| client(ClientProtocol::Https))
        };
        let answer = client.auth(scope, &RegistryAuth::Anonymous, RegistryOperation::Pull);
        let answer = tokio::time::timeout(limit, answer)
            .await
            .map_err(|_| error(format!("no answer within {} s", limit.as_secs())))?
            .map_err(|cause| error(cause.to_string()))?;
        token.clone_from(&answer);
        Ok(answer)
    }

    fn slot(&self, scope: &Reference) -> Arc<tokio::sync::Mutex<Option<String>>> {
        let name = format!("{}/{}", scope.registry(), scope.repository());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(name).or_default().clone()
    }
}

fn client(protocol: ClientProtocol) -> Client {
    Client::new(ClientConfig { protocol, user_agent: super::client::USER_AGENT, ..ClientConfig::default() })
}
