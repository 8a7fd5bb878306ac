//! What an answer that is no success means: a quota that is used up reads differently from a server that is busy.

use reqwest::{StatusCode, header::RETRY_AFTER};

use super::{
    Client, FetchError, retry,
    source::{Location, shown},
};

impl Client {
    /// What an answer that is no success means.
    pub(super) async fn refusal(&self, location: &Location, response: reqwest::Response) -> FetchError {
        let (url, status) = (shown(response.url()), response.status());
        let retry_after = retry::retry_after(response.headers().get(RETRY_AFTER));
        let Some(scope) = location.scope.as_ref().filter(|_| status == StatusCode::TOO_MANY_REQUESTS) else {
            return FetchError::Status { url, status, retry_after };
        };
        let limit = response.headers().get("ratelimit-limit").and_then(|value| value.to_str().ok()).map(pulls_of);
        let body = tokio::time::timeout(self.network().idle_timeout, start_of(response)).await.unwrap_or_default();
        // Docker Hub's own word for it; others that only want us to slow down do not say it.
        if !body.to_ascii_lowercase().contains("toomanyrequests") {
            return FetchError::Status { url, status, retry_after };
        }
        let signed_in = self.tokens().is_signed_in(scope, self.reporter()).await;
        FetchError::Quota { registry: scope.registry().to_owned(), url, limit, signed_in, retry_after }
    }
}

/// The first kilobytes of a body, as text: enough to read an error.
pub(super) async fn start_of(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < 4096
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `100;w=21600`: so many pulls in so many seconds (docs.docker.com/docker-hub/usage/pulls).
fn pulls_of(limit: &str) -> String {
    let (count, window) = limit.split_once(";w=").unwrap_or((limit, ""));
    match window.parse::<u64>() {
        Ok(seconds) => format!("{count} pulls in {} h", seconds / 3600),
        Err(_) => format!("{count} pulls"),
    }
}
