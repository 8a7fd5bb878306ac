//! Answers before they are sent.

use std::ops::Range;

use bytes::Bytes;
use http::StatusCode;

use crate::store::OpenBlob;

/// Told to every client.
const SERVER: &str = concat!("ztlab/", env!("CARGO_PKG_VERSION"));
/// Plain text, as browsers and people read it.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// JSON.
pub(super) const JSON: &str = "application/json";

/// One answer.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    /// Names and values; values are made here or parsed from text without line ends.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

/// What an answer carries.
#[derive(Debug)]
pub(super) enum Body {
    Bytes(Bytes),
    /// These bytes of a file.
    Blob(OpenBlob, Range<u64>),
}

impl Body {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(_, range) => range.end - range.start,
        }
    }
}

impl Response {
    /// An answer from memory.
    pub(super) fn new(status: StatusCode, media_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("Content-Type", media_type.to_owned()), ("X-Content-Type-Options", "nosniff".to_owned())];
        Self { status, headers, body: Body::Bytes(body.into()) }
    }

    /// A line for people.
    pub(super) fn text(status: StatusCode, text: &str) -> Self {
        Self::new(status, TEXT, format!("{text}\n")).with("Cache-Control", "no-store")
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Status line and headers, as they are sent. `date` is an HTTP date.
    pub(super) fn head(&self, date: &str, close: bool) -> Vec<u8> {
        let reason = self.status.canonical_reason().unwrap_or("Unknown");
        let mut text = format!("HTTP/1.1 {} {reason}\r\nServer: {SERVER}\r\nDate: {date}\r\n", self.status.as_u16());
        for (name, value) in &self.headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        if self.status != StatusCode::NOT_MODIFIED {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.length()));
        }
        if close {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// Now, as headers write it (RFC 9110, section 5.6.7).
pub(super) fn http_date() -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_what_http_asks_for() {
        let response = Response::text(StatusCode::NOT_FOUND, "nothing").with("Link", "<a>");
        let head = String::from_utf8(response.head("now", true)).unwrap();
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
        for line in
            ["Date: now", "Content-Length: 8", "Link: <a>", "Connection: close", "X-Content-Type-Options: nosniff"]
        {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
        }
        assert!(head.ends_with("\r\n\r\n"));
        let unchanged = Response::new(StatusCode::NOT_MODIFIED, TEXT, "").head("now", false);
        assert!(!String::from_utf8(unchanged).unwrap().contains("Content-Length"));
        assert!(http_date().ends_with(" GMT"), "{}", http_date());
    }
}
