//! Python packages: the one file of a version that fits interpreter and platform, by the package index's
//! pages and the file names' tags (PEP 425, PEP 600).
//!
//! PyPI answers in JSON (PEP 691), with sizes. Many mirrors know only the older HTML page (PEP 503): it has
//! the digests too, and where the size is not told the file is read once.

use serde::Deserialize;
use url::Url;

use crate::{
    base::{
        Digest, Expected, Platform,
        wheel_tag::{self, normalized_project},
    },
    lockfile::{Download, WheelEntry},
};

use super::{ResolveError, Room, file::check};

/// The package index. Mirrors are applied to it like to any address.
const INDEX: &str = "https://pypi.org/simple/";
/// JSON where the server can, HTML where it cannot (PEP 691, "Content-Types").
const PAGE_TYPES: &str = "application/vnd.pypi.simple.v1+json, text/html; q=0.1";

#[derive(Deserialize)]
struct Page {
    files: Vec<PageFile>,
}

#[derive(Debug, Clone, Deserialize)]
struct PageFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: Hashes,
    size: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

impl Room<'_> {
    pub(super) async fn wheel(self, mut entry: WheelEntry, node: &[Platform]) -> Result<WheelEntry, ResolveError> {
        let document = |problem: String| ResolveError::Document { name: entry.want.clone(), problem };
        let request = entry.request().ok_or_else(|| document("expected `NAME==VERSION python X.Y`".to_owned()))?;
        let page = format!("{INDEX}{}/", normalized_project(request.name));
        let locations: Vec<_> =
            self.client.file_locations(&page)?.into_iter().map(|location| location.accepting(PAGE_TYPES)).collect();
        let answer = self.client.document(&locations).await?;
        let parsed = match answer.media_type.as_deref() {
            Some("text/html" | "application/vnd.pypi.simple.v1+html") => parse_html(&answer.bytes),
            _ => serde_json::from_slice(&answer.bytes).map_err(|error| document(error.to_string()))?,
        };
        if parsed.files.is_empty() {
            return Err(document("it lists no file (a login page?)".to_owned()));
        }
        let of_version: Vec<PageFile> =
            parsed.files.into_iter().filter(|file| version_of(&file.filename) == Some(request.version)).collect();
        let mut platforms = entry.platforms.clone();
        for platform in node {
            let known = platforms.get(platform).map_or(Expected::NOTHING, Download::expected);
            let file = best(&of_version, request.python, *platform).ok_or_else(|| ResolveError::Wheel {
                want: entry.want.clone(),
                platform: *platform,
                present: of_version.iter().map(|file| file.filename.clone()).collect(),
            })?;
            platforms.insert(*platform, self.wheel_file(&entry.want, &page, file, known).await?);
        }
        entry.platforms = platforms;
        Ok(entry)
    }

    async fn wheel_file(
        self,
        want: &str,
        page: &str,
        file: &PageFile,
        known: Expected,
    ) -> Result<Download, ResolveError> {
        let document = |problem: String| ResolveError::Document { name: want.to_owned(), problem };
        // Relative addresses are relative to the real page: the lock names upstream, not a mirror.
        let url =
            Url::parse(page).and_then(|page| page.join(&file.url)).map_err(|error| document(error.to_string()))?;
        let digest = match &file.hashes.sha256 {
            Some(hex) => Some(Digest::from_hex(hex).map_err(|error| document(error.to_string()))?),
            None => None,
        };
        let published = Expected { digest, size: file.size };
        let found = match published.complete() {
            Some(found) => found,
            // An old page without sizes: reading the file tells.
            None => self.download(url.as_str(), published, format!("wheel {}", file.filename)).await?,
        };
        check(file.filename.clone(), known, found)?;
        Ok(Download { url: Some(url.into()), digest: Some(found.digest), size: Some(found.size) })
    }
}

/// Reads the anchors of a PEP 503 page: `<a href="ADDRESS#sha256=HEX" …>FILE</a>`. That form is prescribed,
/// so no more of HTML needs to be understood; anything else on the page is skipped.
fn parse_html(page: &[u8]) -> Page {
    let page = String::from_utf8_lossy(page);
    let files = page.split("<a ").skip(1).filter_map(|anchor| {
        let (attributes, rest) = anchor.split_once('>')?;
        let (filename, _) = rest.split_once("</a>")?;
        let (_, href) = attributes.split_once("href=\"")?;
        let href = href.split('"').next()?.replace("&amp;", "&");
        let (url, hash) = href.split_once("#sha256=").map_or((href.as_str(), None), |(url, hash)| (url, Some(hash)));
        Some(PageFile {
            filename: filename.trim().to_owned(),
            url: url.to_owned(),
            hashes: Hashes { sha256: hash.map(str::to_owned) },
            size: None,
        })
    });
    Page { files: files.collect() }
}

/// The version in `name-version(-build)?-python-abi-platform.whl` (PEP 427).
fn version_of(filename: &str) -> Option<&str> {
    let parts: Vec<&str> = filename.strip_suffix(".whl")?.split('-').collect();
    (5..=6).contains(&parts.len()).then(|| parts[1])
}

fn best<'files>(files: &'files [PageFile], python: &str, platform: Platform) -> Option<&'files PageFile> {
    let fitting = files.iter().filter_map(|file| Some((rank(&file.filename, python, platform)?, file)));
    fitting
        .max_by(|(one, first), (other, second)| (one, &second.filename).cmp(&(other, &first.filename)))
        .map(|(_, file)| file)
}

/// How well a file fits, by the last three parts of its name.
fn rank(filename: &str, python: &str, platform: Platform) -> Option<(u32, u32)> {
    let stem = filename.strip_suffix(".whl")?;
    let (start, _) = stem.rmatch_indices('-').nth(2)?;
    wheel_tag::fit(&stem[start + 1..], python, platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKUPSAFE: [&str; 7] = [
        "markupsafe-3.0.4-cp312-cp312-macosx_11_0_arm64.whl",
        "markupsafe-3.0.4-cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64.whl",
        "markupsafe-3.0.4-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
        "markupsafe-3.0.4-cp312-cp312-musllinux_1_2_aarch64.whl",
        "markupsafe-3.0.4-cp313-cp313-manylinux2014_aarch64.whl",
        "markupsafe-3.0.4-cp313-cp313t-manylinux2014_aarch64.whl",
        "markupsafe-3.0.4.tar.gz",
    ];

    fn chosen(names: &[&str], python: &str, platform: Platform) -> Option<String> {
        let file = |name: &&str| PageFile {
            filename: (*name).to_owned(),
            url: String::new(),
            hashes: Hashes::default(),
            size: None,
        };
        let files: Vec<PageFile> = names.iter().map(file).collect();
        best(&files, python, platform).map(|file| file.filename.clone())
    }

    #[test]
    fn machine_code_is_chosen_for_interpreter_and_platform() {
        let chosen = |python, platform| chosen(&MARKUPSAFE, python, platform);
        assert_eq!(chosen("3.12", Platform::LinuxArm64).as_deref(), Some(MARKUPSAFE[1]));
        assert_eq!(chosen("3.12", Platform::LinuxAmd64).as_deref(), Some(MARKUPSAFE[2]));
        assert_eq!(chosen("3.13", Platform::LinuxArm64).as_deref(), Some(MARKUPSAFE[4]));
        assert_eq!(chosen("3.11", Platform::LinuxArm64), None);
    }

    #[test]
    fn pure_and_stable_wheels_fit_where_they_may() {
        let amd = Platform::LinuxAmd64;
        assert!(chosen(&["flask-3.1.3-py3-none-any.whl"], "3.12", amd).is_some());
        assert!(chosen(&["six-1.0-py2.py3-none-any.whl"], "3.12", amd).is_some());
        assert!(chosen(&["a-1.0-cp38-abi3-manylinux_2_28_x86_64.whl"], "3.12", amd).is_some());
        assert!(chosen(&["a-1.0-cp313-abi3-manylinux_2_28_x86_64.whl"], "3.12", amd).is_none());
        assert!(chosen(&["a-1.0-cp38-abi3-manylinux_2_39_x86_64.whl"], "3.12", amd).is_none());
        assert!(chosen(&["a-1.0-py2-none-any.whl"], "3.12", amd).is_none());
    }

    #[test]
    fn a_page_in_html_gives_the_same_files() {
        let page = r##"<!DOCTYPE html><html><body><h1>Links for flask</h1>
<a href="https://files.pythonhosted.org/f/Flask-0.1.tar.gz#sha256=9da8" >Flask-0.1.tar.gz</a><br />
<a href="../f/flask-3.1.3-py3-none-any.whl#sha256=12ab" data-requires-python="&gt;=3.9">flask-3.1.3-py3-none-any.whl</a>
</body></html>"##;
        let files: Vec<_> = parse_html(page.as_bytes())
            .files
            .into_iter()
            .map(|file| (file.filename, file.url, file.hashes.sha256.unwrap()))
            .collect();
        let expected = [
            ("Flask-0.1.tar.gz", "https://files.pythonhosted.org/f/Flask-0.1.tar.gz", "9da8"),
            ("flask-3.1.3-py3-none-any.whl", "../f/flask-3.1.3-py3-none-any.whl", "12ab"),
        ];
        assert_eq!(files, expected.map(|(name, url, hash)| (name.to_owned(), url.to_owned(), hash.to_owned())));
        assert!(parse_html(b"<html>Please log in</html>").files.is_empty());
    }

    #[test]
    fn versions_and_names_are_read() {
        assert_eq!(version_of("markupsafe-3.0.4-cp312-cp312-win_arm64.whl"), Some("3.0.4"));
        assert_eq!(version_of("a-1.0-1-py3-none-any.whl"), Some("1.0"));
        assert_eq!(version_of("a-1.0.tar.gz"), None);
        assert_eq!(normalized_project("Zope.Interface__x"), "zope-interface-x");
    }
}
