//! What a registry answers: what it has, what it keeps, and its own words for what it refuses.

use reqwest::{
    Response,
    header::{CONTENT_LENGTH, HeaderMap},
};
use serde::Deserialize;

use crate::{
    base::Digest,
    fetch::{
        Client, FetchError,
        refusal::start_of,
        retry::is_transient_status,
        source::{Location, shown},
    },
};

/// What a registry calls the digest of what it has (distribution-spec v1.1, "Pulling manifests").
const CONTENT_DIGEST: &str = "docker-content-digest";
/// An error's words are no longer than that, in letters.
const MOST_WORDS: usize = 300;

impl Client {
    /// Success, or what the registry says instead.
    pub(super) async fn judge(&self, location: &Location, response: Response) -> Result<Response, FetchError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if is_transient_status(status) {
            return Err(self.refusal(location, response).await);
        }
        let url = shown(response.url());
        let body = tokio::time::timeout(self.network().idle_timeout, start_of(response)).await;
        Err(FetchError::Refused { url, status, said: words(&body.unwrap_or_default()) })
    }
}

pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn content_digest(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()
}

/// Whether the registry keeps what it was sent, as far as it says.
pub(super) fn kept(location: &Location, headers: &HeaderMap, expected: Digest) -> Result<(), FetchError> {
    match content_digest(headers) {
        Some(found) if found != expected.to_string() => {
            Err(FetchError::Changed { url: location.shown(), expected, found: found.chars().take(100).collect() })
        }
        _ => Ok(()),
    }
}

/// A registry's own words (distribution-spec v1.1, "Error Codes"), without anything that a terminal would obey.
fn words(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Said>,
    }
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Answer { errors } = serde_json::from_str(body).ok()?;
    let said: Vec<String> = errors.iter().map(|said| format!("{} ({})", said.message, said.code)).collect();
    // Directions of writing are no control characters, and turn a line around all the same.
    let turns =
        |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = |letter: &char| !letter.is_control() && !turns(*letter);
    let plain: String = said.join(", ").chars().filter(plain).take(MOST_WORDS).collect();
    (!plain.is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_are_read_and_cleaned() {
        let body =
            r#"{"errors":[{"code":"DENIED","message":"no \u001b[31mright","detail":{}},{"code":"NAME_INVALID"}]}"#;
        assert_eq!(words(body).as_deref(), Some("no [31mright (DENIED),  (NAME_INVALID)"));
        assert_eq!(words("<html>"), None);
        assert_eq!(words(r#"{"errors":[]}"#), None);
    }
}
