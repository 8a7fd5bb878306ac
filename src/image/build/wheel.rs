//! Unpacks a wheel by its specification (PyPA "Binary distribution format"): every file is checked
//! against `RECORD`, no code runs. What the lab's wheels do not use (`.data` folders other than
//! `purelib` and `platlib`) is refused by name instead of being half-installed.

use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use sha2::Digest as _;

use super::BuildError;

/// A wheel of a teaching lab is far smaller; a zip bomb is not.
const UNPACKED_LIMIT: u64 = 256 << 20;

/// The wheel's files by their path below `site-packages`.
pub(super) fn unpack(name: &str, file: impl Read + Seek) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let error = |problem: String| BuildError::Wheel { wheel: name.to_owned(), problem };
    let mut zip = zip::ZipArchive::new(file).map_err(|cause| error(format!("not a zip file: {cause}")))?;
    let mut content = BTreeMap::new();
    let mut total = 0;
    for number in 0..zip.len() {
        let member = zip.by_index(number).map_err(|cause| error(cause.to_string()))?;
        if member.is_dir() {
            continue;
        }
        let path = member.name().map_err(|cause| error(cause.to_string()))?.into_owned();
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") || path.contains('\\') {
            return Err(error(format!("the member `{path}` does not stay inside the wheel")));
        }
        let mut bytes = Vec::new();
        member
            .take(UNPACKED_LIMIT - total + 1)
            .read_to_end(&mut bytes)
            .map_err(|cause| error(format!("`{path}`: {cause}")))?;
        total += bytes.len() as u64;
        if total > UNPACKED_LIMIT {
            return Err(error(format!("it unpacks to more than {UNPACKED_LIMIT} bytes")));
        }
        content.insert(path, bytes);
    }
    let record_path = content
        .keys()
        .find(|path| path.ends_with(".dist-info/RECORD") && path.matches('/').count() == 1)
        .cloned()
        .ok_or_else(|| error("it has no RECORD".to_owned()))?;
    check_record(&record_path, &content).map_err(error)?;
    place(content).map_err(error)
}

/// Every file must be in RECORD with its SHA-256 (unpadded base64url), RECORD itself excepted.
fn check_record(record_path: &str, content: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let record = String::from_utf8_lossy(&content[record_path]).into_owned();
    let mut recorded = BTreeMap::new();
    for line in record.lines() {
        // Paths may hold commas inside quotes; hash and size never do.
        let mut fields = line.rsplitn(3, ',');
        let (_, hash, path) = (fields.next(), fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        recorded.insert(path.trim_matches('"').to_owned(), hash.to_owned());
    }
    for (path, bytes) in content {
        if path == record_path {
            continue;
        }
        let expected = recorded.get(path).ok_or_else(|| format!("`{path}` is not in RECORD"))?;
        let found = format!("sha256={}", URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(bytes)));
        if *expected != found {
            return Err(format!("`{path}` differs from RECORD: expected {expected}, found {found}"));
        }
    }
    Ok(())
}

/// Moves `NAME.data/purelib` and `platlib` to where they belong.
fn place(content: BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut placed = BTreeMap::new();
    for (path, bytes) in content {
        let (top, rest) = path.split_once('/').unwrap_or((&path, ""));
        if !top.ends_with(".data") {
            placed.insert(path, bytes);
            continue;
        }
        match rest.split_once('/') {
            Some(("purelib" | "platlib", inner)) => placed.insert(inner.to_owned(), bytes),
            _ => {
                return Err(format!(
                    "it wants to install `{path}` outside site-packages, which this lab does not need"
                ));
            }
        };
    }
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    fn wheel(members: &[(&str, &str)]) -> Cursor<Vec<u8>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, content) in members {
            zip.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap()
    }

    // SHA-256 of "x = 1\n", as `openssl dgst -sha256 -binary | basenc --base64url` prints it.
    const RECORD: &str =
        "demo/__init__.py,sha256=nia_NpkRxFwkPGhBR7I_yeHc_PJX0pmhxjIBam_NM_Q,6\ndemo-1.dist-info/RECORD,,\n";

    fn problem(members: &[(&str, &str)]) -> String {
        unpack("demo-1-py3-none-any.whl", wheel(members)).unwrap_err().to_string()
    }

    #[test]
    fn files_that_match_record_are_unpacked() {
        let files =
            unpack("demo.whl", wheel(&[("demo/__init__.py", "x = 1\n"), ("demo-1.dist-info/RECORD", RECORD)])).unwrap();
        assert_eq!(files["demo/__init__.py"], b"x = 1\n");
    }

    #[test]
    fn a_changed_an_added_and_an_escaping_file_are_each_refused_by_name() {
        let record = ("demo-1.dist-info/RECORD", RECORD);
        assert!(problem(&[("demo/__init__.py", "x = 2\n"), record]).contains("`demo/__init__.py` differs from RECORD"));
        assert!(problem(&[("demo/evil.py", ""), record]).contains("`demo/evil.py` is not in RECORD"));
        assert!(problem(&[("../evil.py", ""), record]).contains("does not stay inside"));
        assert!(problem(&[("demo/__init__.py", "x = 1\n")]).contains("no RECORD"));
    }

    #[test]
    fn scripts_and_data_outside_site_packages_are_refused() {
        assert!(place(BTreeMap::from([("demo-1.data/scripts/run".to_owned(), Vec::new())])).is_err());
        let placed = place(BTreeMap::from([("demo-1.data/purelib/demo.py".to_owned(), Vec::new())])).unwrap();
        assert!(placed.contains_key("demo.py"));
    }
}
