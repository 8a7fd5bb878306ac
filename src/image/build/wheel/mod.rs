//! Installs a wheel by its specification (PyPA, "Binary distribution format"): the archive is not trusted, every file
//! is held against `RECORD`, tags against the base's interpreter and platform, and each file goes where an installer
//! would put it. No code runs, and nothing is compiled to bytecode.

mod archive;
mod record;
mod script;

use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use self::archive::Member;
use super::{BuildError, layer::LayerFile};
use crate::base::{
    Platform,
    wheel_tag::{fit, normalized_project},
};

/// Where the official Python images keep what is installed: `sys.prefix`.
const PREFIX: &str = "/usr/local";
/// Who installed it, for other tools ("Recording installed projects", "The INSTALLER file").
const INSTALLER: &[u8] = b"ztlab\n";

/// What a wheel must be.
pub(super) struct Wanted<'text> {
    /// Its file name, for messages.
    pub(super) file: &'text str,
    /// The project.
    pub(super) name: &'text str,
    /// The exact version.
    pub(super) version: &'text str,
    /// The base's interpreter, as `3.12`.
    pub(super) python: &'text str,
    /// The image's platform.
    pub(super) platform: Platform,
}

/// The wheel's files by their absolute places in the image.
pub(super) fn install(wanted: &Wanted<'_>, file: impl Read + Seek) -> Result<BTreeMap<String, LayerFile>, BuildError> {
    checked_and_placed(wanted, file).map_err(|problem| BuildError::Wheel { wheel: wanted.file.to_owned(), problem })
}

fn checked_and_placed(wanted: &Wanted<'_>, file: impl Read + Seek) -> Result<BTreeMap<String, LayerFile>, String> {
    let members = archive::members(file)?;
    let dist_info = dist_info(wanted, &members)?;
    record::check(&dist_info, &members)?;
    check_metadata(wanted, &text(&members, &format!("{dist_info}/WHEEL"))?)?;
    let entry_points = format!("{dist_info}/entry_points.txt");
    let programs = match members.contains_key(&entry_points) {
        true => script::of_entry_points(&text(&members, &entry_points)?)?,
        false => BTreeMap::new(),
    };
    let site_packages = format!("{PREFIX}/lib/python{}/site-packages", wanted.python);
    let record_place = format!("{site_packages}/{dist_info}/RECORD");
    let mut files = BTreeMap::new();
    let mut put = |place: String, file: LayerFile| match files.insert(place.clone(), file) {
        Some(_) => Err(format!("two of its files go to {place}")),
        None => Ok(()),
    };
    let data = format!("{}.data/", dist_info.trim_end_matches(".dist-info"));
    for (path, Member { content, executable }) in members {
        let file = LayerFile { content, executable };
        match path.strip_prefix(&data) {
            Some(inner) => {
                let (place, file) = place_data(wanted, &site_packages, inner, file)?;
                put(place, file)?;
            }
            // Another's signature or list of files is not that of the files as installed.
            None if path.starts_with(&format!("{dist_info}/RECORD")) => {}
            None => put(format!("{site_packages}/{path}"), file)?,
        }
    }
    for (name, content) in programs {
        put(format!("{PREFIX}/bin/{name}"), LayerFile { content, executable: true })?;
    }
    put(
        format!("{site_packages}/{dist_info}/INSTALLER"),
        LayerFile { content: INSTALLER.to_vec(), executable: false },
    )?;
    let content = record::write(&files, &site_packages, &record_place).map_err(|error| error.to_string())?;
    files.insert(record_place, LayerFile { content, executable: false });
    Ok(files)
}

/// The one folder `NAME-VERSION.dist-info`, of the project and version that were asked for.
fn dist_info(wanted: &Wanted<'_>, members: &BTreeMap<String, Member>) -> Result<String, String> {
    let tops = members.keys().filter_map(|path| path.split_once('/')).map(|(top, _)| top);
    let mut found: Vec<&str> = tops.filter(|top| top.ends_with(".dist-info")).collect();
    found.dedup();
    let [one] = found[..] else {
        return Err(format!("it has {} folders of metadata (.dist-info): expected one", found.len()));
    };
    let (name, version) = one.trim_end_matches(".dist-info").split_once('-').unwrap_or((one, ""));
    if normalized_project(name) != normalized_project(wanted.name) || version != wanted.version.replace('-', "_") {
        return Err(format!("it says it is {name} {version}: expected {} {}", wanted.name, wanted.version));
    }
    Ok(one.to_owned())
}

fn text(members: &BTreeMap<String, Member>, path: &str) -> Result<String, String> {
    let member = members.get(path).ok_or_else(|| format!("it has no `{path}`"))?;
    String::from_utf8(member.content.clone()).map_err(|_| format!("`{path}` is not UTF-8 text"))
}

/// `WHEEL`: a version of the format that is known here, and a tag that fits.
fn check_metadata(wanted: &Wanted<'_>, wheel: &str) -> Result<(), String> {
    let values = |key: &'static str| {
        let lines = wheel.lines().filter_map(|line| line.split_once(':'));
        lines.filter(move |(name, _)| *name == key).map(|(_, value)| value.trim().to_owned())
    };
    match values("Wheel-Version").next() {
        Some(version) if version.split('.').next() == Some("1") => {}
        found => {
            return Err(format!("it has Wheel-Version {}: expected 1", found.unwrap_or("of no kind".to_owned())));
        }
    }
    let tags: Vec<String> = values("Tag").collect();
    if tags.iter().any(|tag| fit(tag, wanted.python, wanted.platform).is_some()) {
        return Ok(());
    }
    Err(format!("it is made for {}: expected Python {} on {}", tags.join(", "), wanted.python, wanted.platform))
}

/// A file of `NAME-VERSION.data`: its first folder names the place.
fn place_data(
    wanted: &Wanted<'_>,
    site_packages: &str,
    inner: &str,
    file: LayerFile,
) -> Result<(String, LayerFile), String> {
    let (scheme, path) = inner.split_once('/').unwrap_or((inner, ""));
    if path.is_empty() {
        return Err(format!("its .data folder has a file `{inner}` that belongs nowhere"));
    }
    Ok(match scheme {
        "purelib" | "platlib" => (format!("{site_packages}/{path}"), file),
        "scripts" => {
            let file = LayerFile { content: script::rewritten(file.content), executable: true };
            (format!("{PREFIX}/bin/{path}"), file)
        }
        "headers" => (format!("{PREFIX}/include/python{}/{}/{path}", wanted.python, wanted.name), file),
        "data" => (format!("{PREFIX}/{path}"), file),
        other => return Err(format!("its .data folder has a part `{other}`, which the specification does not know")),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Cursor, Write as _};

    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    use sha2::Digest as _;

    use super::*;

    pub(crate) const PURE: &str = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

    /// A wheel `demo-1` of these files, with a RECORD that is right.
    pub(crate) fn wheel(metadata: &str, files: &[(&str, &str)]) -> Vec<u8> {
        let mut members: Vec<(&str, String)> =
            files.iter().map(|(path, content)| (*path, (*content).to_owned())).collect();
        members.push(("demo-1.dist-info/WHEEL", metadata.to_owned()));
        let mut record = String::new();
        for (path, content) in &members {
            let hash = BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(content.as_bytes()));
            record.push_str(&format!("{path},sha256={hash},{}\n", content.len()));
        }
        members.push(("demo-1.dist-info/RECORD", format!("{record}demo-1.dist-info/RECORD,,\n")));
        // Not compressed, so that a test finds in the archive what it wants to change.
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, content) in members {
            zip.start_file(path, stored).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn wanted() -> Wanted<'static> {
        Wanted {
            file: "demo-1-py3-none-any.whl",
            name: "demo",
            version: "1",
            python: "3.12",
            platform: Platform::LinuxArm64,
        }
    }

    fn installed(bytes: Vec<u8>) -> Result<BTreeMap<String, LayerFile>, BuildError> {
        install(&wanted(), Cursor::new(bytes))
    }

    fn refusal(bytes: Vec<u8>) -> String {
        installed(bytes).unwrap_err().to_string()
    }

    #[test]
    fn each_part_goes_to_its_place() {
        let files = installed(wheel(
            PURE,
            &[
                ("demo/__init__.py", "x = 1\n"),
                ("demo-1.dist-info/METADATA", "Name: demo\n"),
                ("demo-1.dist-info/entry_points.txt", "[console_scripts]\ndemo = demo:main\n"),
                ("demo-1.data/purelib/pure.py", ""),
                ("demo-1.data/platlib/plat.py", ""),
                ("demo-1.data/scripts/run", "#!python\n"),
                ("demo-1.data/headers/demo.h", ""),
                ("demo-1.data/data/share/demo.txt", ""),
            ],
        ))
        .unwrap();
        let site = "/usr/local/lib/python3.12/site-packages";
        let places: Vec<String> = files
            .iter()
            .map(|(place, file)| format!("{} {}", if file.executable { "x" } else { "-" }, place.replace(site, "SITE")))
            .collect();
        insta::assert_snapshot!(places.join("\n"), @r"
        x /usr/local/bin/demo
        x /usr/local/bin/run
        - /usr/local/include/python3.12/demo/demo.h
        - SITE/demo-1.dist-info/INSTALLER
        - SITE/demo-1.dist-info/METADATA
        - SITE/demo-1.dist-info/RECORD
        - SITE/demo-1.dist-info/WHEEL
        - SITE/demo-1.dist-info/entry_points.txt
        - SITE/demo/__init__.py
        - SITE/plat.py
        - SITE/pure.py
        - /usr/local/share/demo.txt
        ");
        assert_eq!(files["/usr/local/bin/run"].content, b"#!/usr/local/bin/python3\n");
        let record = String::from_utf8(files[&format!("{site}/demo-1.dist-info/RECORD")].content.clone()).unwrap();
        assert_eq!(record.lines().count(), files.len());
        assert!(record.starts_with("../../../bin/demo,sha256="), "{record}");
    }

    #[test]
    fn a_wheel_for_something_else_is_refused() {
        let tagged = |tag: &str| wheel(&PURE.replace("py3-none-any", tag), &[]);
        assert!(refusal(tagged("cp312-cp312-manylinux_2_17_x86_64")).contains("expected Python 3.12 on linux-arm64"));
        assert!(refusal(tagged("cp313-cp313-manylinux_2_17_aarch64")).contains("it is made for cp313-cp313"));
        assert!(installed(tagged("cp312-cp312-manylinux_2_17_aarch64")).is_ok());
        assert!(refusal(wheel(&PURE.replace("1.0", "2.0"), &[])).contains("Wheel-Version 2.0: expected 1"));
        let other = Wanted { name: "flask", ..wanted() };
        let error = install(&other, Cursor::new(wheel(PURE, &[]))).unwrap_err().to_string();
        assert!(error.contains("it says it is demo 1: expected flask 1"), "{error}");
    }

    #[test]
    fn the_refusal_names_the_wheel_and_the_file() {
        let mut bytes = wheel(PURE, &[("demo/__init__.py", "x = 1\n")]);
        // The archive's own checksum is changed with it, as an attacker would.
        let (good, evil) = (sum_of(b"x = 1\n"), sum_of(b"x = 2\n"));
        for (from, to) in [(b"x = 1\n".to_vec(), b"x = 2\n".to_vec()), (good, evil)] {
            while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
                bytes[at..at + from.len()].copy_from_slice(&to);
            }
        }
        let refusal = refusal(bytes);
        assert!(refusal.starts_with("wheel demo-1-py3-none-any.whl: "), "{refusal}");
        assert!(refusal.contains("`demo/__init__.py`"), "{refusal}");
    }

    fn sum_of(bytes: &[u8]) -> Vec<u8> {
        let mut check = flate2::Crc::new();
        check.update(bytes);
        check.sum().to_le_bytes().to_vec()
    }

    #[test]
    fn what_belongs_nowhere_is_refused() {
        assert!(refusal(wheel(PURE, &[("demo-1.data/weird/x", "")])).contains("a part `weird`"));
        assert!(refusal(wheel(PURE, &[("demo-1.data/scripts", "")])).contains("belongs nowhere"));
        assert!(refusal(wheel(PURE, &[("other-2.dist-info/METADATA", "")])).contains("2 folders of metadata"));
        let twice = [("demo.py", ""), ("demo-1.data/purelib/demo.py", "")];
        assert!(refusal(wheel(PURE, &twice)).contains("two of its files go to"));
    }
}
