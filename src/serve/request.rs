//! The head of a request: parsed by httparse, reduced to what the server looks at. Everything in it is hostile.

use http::StatusCode;
use httparse::{EMPTY_HEADER, Error, Status};

/// Longest head. Containerd's longest, with a token of a registry in it, has some 2 KiB.
pub(super) const MAX_HEAD: usize = 8 * 1024;
/// Most header lines.
const MAX_HEADERS: usize = 64;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Other,
}

/// A head that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Begins with `/`; as it was sent, without decoding.
    pub(super) path: String,
    /// Behind the `?`; may be empty.
    pub(super) query: String,
    pub(super) range: Option<String>,
    pub(super) if_range: Option<String>,
    pub(super) if_none_match: Option<String>,
    pub(super) content_type: Option<String>,
    /// Length of the body that follows.
    pub(super) body: u64,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The client wants the connection closed after the answer.
    pub(super) close: bool,
}

/// A head that is refused; the connection is closed after the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

const fn refused(status: StatusCode, why: &'static str) -> Refused {
    Refused { status, why }
}

/// Reads a head from the front of these bytes: the request and the head's length, or `None` when more has to come.
///
/// # Errors
/// When it is no request that this server takes.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Refused> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) | Err(Error::TooManyHeaders) => {
            return Err(refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too long"));
        }
        Err(Error::Version) => return Err(refused(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")),
        Err(_) => return Err(refused(StatusCode::BAD_REQUEST, "this is no HTTP request")),
    };
    let method = match parsed.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        _ => Method::Other,
    };
    let old = parsed.version == Some(0);
    let (path, query) = target(parsed.path.unwrap_or_default())?;
    let mut request = Request {
        method,
        path,
        query,
        range: None,
        if_range: None,
        if_none_match: None,
        content_type: None,
        body: 0,
        expects_continue: false,
        close: old,
    };
    let (mut hosts, mut lengths) = (0, 0);
    for header in parsed.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        match header.name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "range" => request.range = Some(value.to_owned()),
            "if-range" => request.if_range = Some(value.to_owned()),
            "if-none-match" => request.if_none_match = Some(value.to_owned()),
            "content-type" => request.content_type = Some(value.to_owned()),
            "content-length" => {
                lengths += 1;
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let length = digits.then(|| value.parse().ok()).flatten();
                request.body = length.ok_or(refused(StatusCode::BAD_REQUEST, "Content-Length is no number"))?;
            }
            "transfer-encoding" => {
                return Err(refused(StatusCode::LENGTH_REQUIRED, "a body needs Content-Length here"));
            }
            "expect" => request.expects_continue = value.eq_ignore_ascii_case("100-continue"),
            "connection" => {
                let names = |word| value.split(',').any(|name| name.trim().eq_ignore_ascii_case(word));
                request.close = names("close") || (old && !names("keep-alive"));
            }
            _ => {}
        }
    }
    if hosts > 1 || (hosts == 0 && !old) {
        return Err(refused(StatusCode::BAD_REQUEST, "exactly one Host header is due"));
    }
    if lengths > 1 {
        return Err(refused(StatusCode::BAD_REQUEST, "Content-Length is there twice"));
    }
    Ok(Some((request, length)))
}

/// Path and query. A proxy's form, with scheme and host, is taken too (RFC 9112, section 3.2.2).
fn target(text: &str) -> Result<(String, String), Refused> {
    let text = match text.split_once("://") {
        Some(("http", rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => text,
    };
    if !text.starts_with('/') {
        return Err(refused(StatusCode::BAD_REQUEST, "the target of the request is no path"));
    }
    let text = text.split_once('#').map_or(text, |(text, _)| text);
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    Ok((path.to_owned(), query.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Request {
        let (request, length) = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len());
        request
    }

    #[test]
    fn a_head_is_read_and_its_end_found() {
        let request =
            whole("GET /v2/calico/node/tags/list?ns=docker.io&n=2 HTTP/1.1\r\nHost: a\r\nRANGE: bytes=1-2\r\n\r\n");
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/v2/calico/node/tags/list", "ns=docker.io&n=2"));
        assert_eq!((request.range.as_deref(), request.close), (Some("bytes=1-2"), false));
        let (_, length) = parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next").unwrap().unwrap();
        assert_eq!(length, 27, "what follows belongs to the next request");
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHos"), Ok(None));
        assert_eq!(whole("GET http://10.0.0.5:8642/lab.json HTTP/1.1\r\nHost: a\r\n\r\n").path, "/lab.json");
        assert_eq!(whole("GET http://10.0.0.5:8642 HTTP/1.1\r\nHost: a\r\n\r\n").path, "/");
    }

    #[test]
    fn connections_are_kept_as_each_version_says() {
        assert!(whole("GET / HTTP/1.0\r\n\r\n").close);
        assert!(!whole("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").close);
        assert!(whole("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, Close\r\n\r\n").close);
    }

    #[test]
    fn spoilt_heads_are_refused_by_what_is_wrong_with_them() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        for (text, status) in [
            ("\x16\x03\x01\x02", 400),
            ("GET / HTTP/2.0\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
            (long.as_str(), 431),
            (many.as_str(), 431),
        ] {
            let found = parse(text.as_bytes()).map(|_| ()).unwrap_err().status.as_u16();
            assert_eq!(found, status, "{:?}", text.chars().take(60).collect::<String>());
        }
    }
}
