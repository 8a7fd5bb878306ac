//! Upstream's checksum files: which digest one of them gives for which file.
//!
//! What releases publish, all read here: the bare digest (Minikube, Kubernetes), `DIGEST  NAME` with one blank, two,
//! or `*` before the name (sha256sum; Istio writes one blank), `SHA256 (NAME) = DIGEST` (BSD), and lists of such
//! lines for many files, whose names may have folders before them.

use crate::base::Digest;

/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// The digest that the text gives for the file of this name; else what is in the text instead, for a message.
pub(super) fn published(text: &str, file: &str) -> Result<Digest, String> {
    let mut named: Vec<(&str, Digest)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match parse(line) {
            Some(("", digest)) if text.trim() == line => return Ok(digest),
            Some(("", _)) | None => {}
            Some(entry) => named.push(entry),
        }
    }
    let mut fitting: Vec<Digest> =
        named.iter().filter(|(name, _)| name.rsplit('/').next() == Some(file)).map(|(_, digest)| *digest).collect();
    fitting.sort_unstable();
    fitting.dedup();
    match (fitting.as_slice(), named.as_slice()) {
        ([digest], _) => Ok(*digest),
        ([], []) => Err("it holds no SHA-256".to_owned()),
        ([], names) => Err(format!("it has {}", listed(names))),
        _ => Err(format!("it has {} different digests under that name", fitting.len())),
    }
}

/// A file name (empty where a line is the bare digest) and its digest.
fn parse(line: &str) -> Option<(&str, Digest)> {
    if let Some((name, hex)) = line.strip_prefix("SHA256 (").and_then(|rest| rest.rsplit_once(") = ")) {
        return Some((name, digest(hex)?));
    }
    let (hex, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    Some((name.trim_start().trim_start_matches('*'), digest(hex)?))
}

/// Some releases write digests in upper case.
fn digest(hex: &str) -> Option<Digest> {
    if hex.len() == DIGITS { Digest::from_hex(&hex.to_ascii_lowercase()).ok() } else { None }
}

/// Enough names to see what the file is about.
fn listed(named: &[(&str, Digest)]) -> String {
    const SHOWN: usize = 6;
    let names: Vec<&str> = named.iter().map(|(name, _)| *name).take(SHOWN).collect();
    let more = named.len().saturating_sub(SHOWN);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "f28bf8430ba574da0958e22c9ad1ecb2530ac90c29380bc7f7c4b3a0474a1682";
    const OTHER: &str = "71b042fe0023b219bf8ef15287e11a3a0d809b9ede4b54e4f6680ac298a537ab";

    #[test]
    fn every_form_that_releases_publish_is_read() {
        for text in [
            ONE.to_owned(),
            format!("{ONE}\n"),
            format!("{}\r\n", ONE.to_uppercase()),
            format!("{ONE} istio.tar.gz\n"),
            format!("{ONE}  istio.tar.gz\n"),
            format!("{ONE} *istio.tar.gz\n"),
            format!("SHA256 (istio.tar.gz) = {ONE}\n"),
            format!("# sums\n{OTHER}  other.tar.gz\n{ONE}  ./dist/istio.tar.gz\n"),
            format!("{ONE}  a/istio.tar.gz\n{ONE}  b/istio.tar.gz\n"),
        ] {
            assert_eq!(published(&text, "istio.tar.gz").map(|digest| digest.hex()), Ok(ONE.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_file_is_never_given_the_digest_of_another() {
        for (text, problem) in [
            (format!("{OTHER}  other.tar.gz\n"), "it has other.tar.gz"),
            (format!("{OTHER}  xistio.tar.gz\n"), "it has xistio.tar.gz"),
            (format!("{ONE}  a/istio.tar.gz\n{OTHER}  b/istio.tar.gz\n"), "2 different digests"),
            (format!("{ONE}\n{OTHER}\n"), "no SHA-256"),
            (format!("{ONE}{ONE}  istio.tar.gz\n"), "no SHA-256"),
            ("Not Found".to_owned(), "no SHA-256"),
            (String::new(), "no SHA-256"),
        ] {
            let found = published(&text, "istio.tar.gz").unwrap_err();
            assert!(found.contains(problem), "{text}: {found}");
        }
        let many: String = (0..8).map(|number| format!("{OTHER}  file-{number}\n")).collect();
        assert!(published(&many, "istio.tar.gz").unwrap_err().ends_with("file-5 and 2 more"));
    }
}
