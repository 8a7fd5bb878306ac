//! Small answers: a document that is read whole, and headers alone.

use futures::{FutureExt as _, future::BoxFuture};
use reqwest::{Method, header::HeaderMap};

use super::{Client, FetchError, RetryPolicy, client::content_type, retry::Backoff, source::Location};

/// A document that is read into memory; the largest index pages of PyPI have a few megabytes.
const MAX_DOCUMENT: u64 = 32 * 1024 * 1024;

/// A small answer, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The body.
    pub bytes: Vec<u8>,
    /// What the server calls it.
    pub media_type: Option<String>,
}

impl Client {
    /// Gets a small document: the first of these places that has it.
    ///
    /// # Errors
    /// The last place's failure, after retries.
    pub async fn document(&self, locations: &[Location]) -> Result<Document, FetchError> {
        self.first_of(locations, |location| self.one_document(location).boxed()).await
    }

    /// What the first of these places answers; each is asked again as the policy for retries says.
    ///
    /// # Errors
    /// The last place's failure.
    pub(super) async fn first_of<'a, T>(
        &'a self,
        locations: &'a [Location],
        ask: impl Fn(&'a Location) -> BoxFuture<'a, Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        let mut last = None;
        for location in locations {
            let mut backoff = Backoff::new(&self.network().retry);
            loop {
                match ask(location).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => match backoff.next(&error, 0) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => {
                            last = Some(error);
                            break;
                        }
                    },
                }
            }
        }
        Err(last.unwrap_or_else(|| FetchError::Address { text: String::new(), problem: "there is none".to_owned() }))
    }

    async fn one_document(&self, location: &Location) -> Result<Document, FetchError> {
        let mut answer = self.send(location, &HeaderMap::new()).await?;
        let media_type = content_type(answer.response.headers());
        let asked_for_html = location.accept.is_some_and(|accept| accept.contains("text/html"));
        if media_type.as_deref() == Some("text/html") && !asked_for_html {
            return Err(FetchError::Html { url: location.shown(), expected: "a document".to_owned() });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut answer, location, bytes.len() as u64).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > MAX_DOCUMENT {
                return Err(FetchError::TooLong { url: location.shown(), limit: MAX_DOCUMENT });
            }
        }
        Ok(Document { bytes, media_type })
    }

    /// Asks for the headers only (HEAD), after retries. A look at a manifest does not count as a pull.
    ///
    /// # Errors
    /// As for a document.
    pub async fn look(&self, location: &Location) -> Result<HeaderMap, FetchError> {
        // Who only looks has somewhere else to go.
        let policy = RetryPolicy { retries: self.network().retry.retries.min(2), ..self.network().retry.clone() };
        let mut backoff = Backoff::new(&policy);
        loop {
            match self.ask(Method::HEAD, location, &HeaderMap::new()).await {
                Ok(answer) => return Ok(answer.response.headers().clone()),
                Err(error) => match backoff.next(&error, 0) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
            }
        }
    }
}
