//! When a file was last changed, as its server says.

use futures::FutureExt as _;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue, LAST_MODIFIED, RANGE};

use super::{Client, FetchError, source::Location};

impl Client {
    /// `Last-Modified` of a file; `None` when the server does not say (raw.githubusercontent.com does not).
    ///
    /// Asks for the first byte: signed addresses, which release pages redirect to, are often good for GET alone, so
    /// that HEAD is refused. A server that ignores the range is hung up on before its body.
    ///
    /// # Errors
    /// The last place's failure, after retries.
    pub async fn last_modified(&self, locations: &[Location]) -> Result<Option<Timestamp>, FetchError> {
        self.first_of(locations, |location| self.one_date(location).boxed()).await
    }

    async fn one_date(&self, location: &Location) -> Result<Option<Timestamp>, FetchError> {
        let first_byte = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        let answer = self.send(location, &first_byte).await?;
        let date = answer.response.headers().get(LAST_MODIFIED).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(date.map(|date| date.timestamp()))
    }
}
