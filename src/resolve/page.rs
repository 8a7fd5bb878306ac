//! One project's page of the package index: JSON (PEP 691, PEP 700) or the older HTML (PEP 503, PEP 592).

use jiff::Timestamp;
use serde::Deserialize;

/// A project's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) files: Vec<PageFile>,
}

/// One file, as far as the page tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PageFile {
    pub(super) filename: String,
    /// May be relative to the page.
    pub(super) url: String,
    /// Hexadecimal digits.
    pub(super) sha256: Option<String>,
    pub(super) size: Option<u64>,
    /// A version specifier (PEP 440).
    pub(super) requires_python: Option<String>,
    /// Its authors took it back; the reason may be empty.
    pub(super) yanked: Option<String>,
    pub(super) uploaded: Option<Timestamp>,
}

#[derive(Deserialize)]
struct JsonPage {
    meta: Meta,
    files: Vec<JsonFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    api_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: Hashes,
    size: Option<u64>,
    requires_python: Option<String>,
    #[serde(default)]
    yanked: Yanked,
    upload_time: Option<String>,
}

#[derive(Default, Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

/// `true`, or the reason as a text (PEP 691).
#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Plain(bool),
    Reason(String),
}

impl Default for Yanked {
    fn default() -> Self {
        Self::Plain(false)
    }
}

/// Reads a page; what is wrong with it otherwise.
pub(super) fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Page, String> {
    let page = match media_type {
        Some("text/html" | "application/vnd.pypi.simple.v1+html") => parse_html(bytes),
        _ => parse_json(bytes)?,
    };
    if page.files.is_empty() { Err("it lists no file (a login page?)".to_owned()) } else { Ok(page) }
}

fn parse_json(bytes: &[u8]) -> Result<Page, String> {
    let page: JsonPage = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    // PEP 629: another major version may mean something else by the same words.
    if page.meta.api_version.split('.').next() != Some("1") {
        return Err(format!("it speaks version {} of the index API, and ztlab knows 1", page.meta.api_version));
    }
    let files = page.files.into_iter().map(|file| PageFile {
        filename: file.filename,
        url: file.url,
        sha256: file.hashes.sha256,
        size: file.size,
        requires_python: file.requires_python,
        yanked: match file.yanked {
            Yanked::Plain(false) => None,
            Yanked::Plain(true) => Some(String::new()),
            Yanked::Reason(reason) => Some(reason),
        },
        uploaded: file.upload_time.and_then(|time| time.parse().ok()),
    });
    Ok(Page { files: files.collect() })
}

/// Reads the anchors of a PEP 503 page: `<a href="ADDRESS#sha256=HEX" …>FILE</a>`. That form is prescribed,
/// so no more of HTML needs to be understood; anything else on the page is skipped.
fn parse_html(page: &[u8]) -> Page {
    let page = String::from_utf8_lossy(page);
    let files = page.split("<a ").skip(1).filter_map(|anchor| {
        // Attributes may hold `>` only escaped (PEP 503), so the first one ends the tag.
        let (attributes, rest) = anchor.split_once('>')?;
        let (filename, _) = rest.split_once("</a>")?;
        let href = attribute(attributes, "href")?;
        let (url, hash) = href.split_once("#sha256=").map_or((href.as_str(), None), |(url, hash)| (url, Some(hash)));
        let bare_yanked = attributes.split_whitespace().any(|word| word == "data-yanked");
        Some(PageFile {
            filename: filename.trim().to_owned(),
            url: url.to_owned(),
            sha256: hash.map(str::to_owned),
            requires_python: attribute(attributes, "data-requires-python"),
            yanked: attribute(attributes, "data-yanked").or_else(|| bare_yanked.then(String::new)),
            ..PageFile::default()
        })
    });
    Page { files: files.collect() }
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    let (_, rest) = attributes.split_once(&format!("{name}=\""))?;
    let value = rest.split('"').next()?;
    let plain = value.replace("&gt;", ">").replace("&lt;", "<").replace("&quot;", "\"").replace("&#39;", "'");
    Some(plain.replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{
        "meta": { "api-version": "1.4", "_last-serial": 1 }, "name": "flask", "versions": ["3.1.3"],
        "files": [
            { "filename": "flask-3.1.3-py3-none-any.whl", "url": "https://files.example/flask.whl",
              "hashes": { "sha256": "12ab" }, "requires-python": ">=3.9", "size": 7,
              "upload-time": "2026-02-19T05:00:57.678000Z", "yanked": false, "core-metadata": true },
            { "filename": "flask-3.1.2-py3-none-any.whl", "url": "a.whl", "hashes": {}, "yanked": "broken sessions" },
            { "filename": "flask-3.1.1-py3-none-any.whl", "url": "b.whl", "hashes": {}, "yanked": true }
        ]
    }"#;

    #[test]
    fn the_json_page_tells_everything() {
        let files = parse(JSON.as_bytes(), Some("application/vnd.pypi.simple.v1+json")).unwrap().files;
        let expected = PageFile {
            filename: "flask-3.1.3-py3-none-any.whl".to_owned(),
            url: "https://files.example/flask.whl".to_owned(),
            sha256: Some("12ab".to_owned()),
            size: Some(7),
            requires_python: Some(">=3.9".to_owned()),
            yanked: None,
            uploaded: Some("2026-02-19T05:00:57.678Z".parse().unwrap()),
        };
        assert_eq!(files[0], expected);
        assert_eq!(files[1].yanked.as_deref(), Some("broken sessions"));
        assert_eq!(files[2].yanked.as_deref(), Some(""));
    }

    #[test]
    fn a_page_of_another_api_is_not_guessed_at() {
        let other = JSON.replace("\"1.4\"", "\"2.0\"");
        assert!(parse(other.as_bytes(), None).unwrap_err().contains("version 2.0 of the index API"));
        assert!(parse(b"{}", None).is_err());
    }

    #[test]
    fn a_page_in_html_gives_the_same_files() {
        let page = r##"<!DOCTYPE html><html><body><h1>Links for flask</h1>
<a href="https://files.pythonhosted.org/f/Flask-0.1.tar.gz#sha256=9da8" data-yanked="a &amp; b">Flask-0.1.tar.gz</a><br />
<a href="../f/flask-3.1.3-py3-none-any.whl#sha256=12ab" data-requires-python="&gt;=3.9">flask-3.1.3-py3-none-any.whl</a>
<a data-yanked href="g/flask-3.1.2-py3-none-any.whl">flask-3.1.2-py3-none-any.whl</a>
</body></html>"##;
        let files = parse(page.as_bytes(), Some("text/html")).unwrap().files;
        assert_eq!(files[0].yanked.as_deref(), Some("a & b"));
        assert_eq!(files[1].url, "../f/flask-3.1.3-py3-none-any.whl");
        assert_eq!(files[1].sha256.as_deref(), Some("12ab"));
        assert_eq!((files[1].requires_python.as_deref(), &files[1].yanked), (Some(">=3.9"), &None));
        assert_eq!((files[2].sha256.as_deref(), files[2].yanked.as_deref()), (None, Some("")));
        let problem = parse(b"<html>Please log in</html>", Some("text/html")).unwrap_err();
        assert!(problem.contains("login page"), "{problem}");
    }
}
