//! `RECORD`: every file of a wheel with its hash and length (PyPA, "Recording installed projects").

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use sha2::Digest as _;

use super::archive::Member;
use crate::image::build::layer::LayerFile;

/// What stands beside a RECORD and cannot be in it ("Signed wheel files").
const SIGNATURES: [&str; 2] = ["RECORD.jws", "RECORD.p7s"];

/// Holds the files against RECORD, both ways: each file is in it with its hash, and each line of it is a file.
pub(super) fn check(dist_info: &str, members: &BTreeMap<String, Member>) -> Result<(), String> {
    let place = format!("{dist_info}/RECORD");
    let record = members.get(&place).ok_or_else(|| "it has no RECORD".to_owned())?;
    let mut recorded = BTreeMap::new();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(record.content.as_slice());
    for row in reader.records() {
        let row = row.map_err(|cause| format!("its RECORD is no CSV: {cause}"))?;
        let field = |number| row.get(number).unwrap_or_default().to_owned();
        if recorded.insert(field(0), (field(1), field(2))).is_some() {
            return Err(format!("`{}` is in RECORD twice", field(0)));
        }
    }
    for (path, member) in members {
        let unhashed = |name: &&str| *path == format!("{dist_info}/{name}");
        if let Some((hash, size)) = recorded.remove(path) {
            if *path != place {
                check_one(path, &member.content, &hash, &size)?;
            }
        } else if *path != place && !SIGNATURES.iter().any(unhashed) {
            return Err(format!("`{path}` is not in RECORD"));
        }
    }
    match recorded.into_keys().next() {
        Some(absent) => Err(format!("RECORD names `{absent}`, and the wheel has no such file")),
        None => Ok(()),
    }
}

fn check_one(path: &str, content: &[u8], hash: &str, size: &str) -> Result<(), String> {
    // "The hash algorithm must be sha256 or better; specifically, md5, sha1 and sha224 are not permitted."
    let found = match hash.split_once('=').map(|(algorithm, _)| algorithm) {
        Some("sha256") => URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(content)),
        Some("sha384") => URL_SAFE_NO_PAD.encode(sha2::Sha384::digest(content)),
        Some("sha512") => URL_SAFE_NO_PAD.encode(sha2::Sha512::digest(content)),
        _ => return Err(format!("RECORD gives `{path}` the hash `{hash}`: expected sha256, sha384 or sha512")),
    };
    let expected = hash.split_once('=').map(|(_, value)| value).unwrap_or_default();
    if expected != found {
        return Err(format!("`{path}` differs from RECORD: expected {expected}, found {found}"));
    }
    if !size.is_empty() && size.parse() != Ok(content.len()) {
        return Err(format!("`{path}` has {} bytes, RECORD says {size}", content.len()));
    }
    Ok(())
}

/// The RECORD of installed files: paths from `site_packages` on, sorted, RECORD itself without a hash.
/// All places are absolute.
pub(super) fn write(
    files: &BTreeMap<String, LayerFile>,
    site_packages: &str,
    record_place: &str,
) -> Result<Vec<u8>, csv::Error> {
    let mut rows: Vec<[String; 3]> = files
        .iter()
        .map(|(place, file)| {
            let hash = URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(&file.content));
            [relative(place, site_packages), format!("sha256={hash}"), file.content.len().to_string()]
        })
        .collect();
    rows.push([relative(record_place, site_packages), String::new(), String::new()]);
    rows.sort();
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

/// The way from a folder to a place, as `../../../bin/flask`.
fn relative(place: &str, folder: &str) -> String {
    let (to, from): (Vec<&str>, Vec<&str>) = (place.split('/').collect(), folder.split('/').collect());
    let common = to.iter().zip(&from).take_while(|(one, other)| one == other).count();
    [vec![".."; from.len() - common], to[common..].to_vec()].concat().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "/usr/local/lib/python3.12/site-packages";

    fn member(content: &str) -> Member {
        Member { content: content.as_bytes().to_vec(), executable: false }
    }

    fn checked(record: &str, files: &[(&str, &str)]) -> Result<(), String> {
        let mut members = BTreeMap::from([("demo-1.dist-info/RECORD".to_owned(), member(record))]);
        members.extend(files.iter().map(|(path, content)| ((*path).to_owned(), member(content))));
        check("demo-1.dist-info", &members)
    }

    // SHA-256 of "x = 1\n", as `openssl dgst -sha256 -binary | basenc --base64url` prints it.
    const X: &str = "sha256=nia_NpkRxFwkPGhBR7I_yeHc_PJX0pmhxjIBam_NM_Q";

    #[test]
    fn files_and_lines_must_be_the_same() {
        let line = format!("demo.py,{X},6\ndemo-1.dist-info/RECORD,,\n");
        checked(&line, &[("demo.py", "x = 1\n")]).unwrap();
        let refused = |record: &str, files: &[(&str, &str)]| checked(record, files).unwrap_err();
        assert!(refused(&line, &[("demo.py", "x = 2\n")]).contains("`demo.py` differs from RECORD"));
        assert!(refused(&line, &[("demo.py", "x = 1\n"), ("evil.py", "")]).contains("`evil.py` is not in RECORD"));
        assert!(refused(&line, &[]).contains("RECORD names `demo.py`"));
        assert!(refused(&format!("{line}{line}"), &[("demo.py", "x = 1\n")]).contains("in RECORD twice"));
        assert!(refused(&format!("demo.py,{X},7\n"), &[("demo.py", "x = 1\n")]).contains("has 6 bytes"));
    }

    #[test]
    fn a_weak_or_absent_hash_is_refused() {
        for hash in ["md5=abc", "sha1=abc", ""] {
            let refusal = checked(&format!("demo.py,{hash},6\n"), &[("demo.py", "x = 1\n")]).unwrap_err();
            assert!(refusal.contains("expected sha256"), "{refusal}");
        }
    }

    #[test]
    fn a_path_with_a_comma_is_quoted_and_read_back() {
        checked(&format!("\"a,b.py\",{X},6\n"), &[("a,b.py", "x = 1\n")]).unwrap();
        let file = LayerFile { content: b"x = 1\n".to_vec(), executable: false };
        let files =
            BTreeMap::from([(format!("{SITE}/a,b.py"), file.clone()), ("/usr/local/bin/demo".to_owned(), file)]);
        let text = String::from_utf8(write(&files, SITE, &format!("{SITE}/RECORD")).unwrap()).unwrap();
        assert_eq!(text, format!("../../../bin/demo,{X},6\nRECORD,,\n\"a,b.py\",{X},6\n"));
    }
}
