//! Python packages: the one file of a version that fits interpreter and platform, by the package index's
//! pages and the file names' tags (PEP 425, PEP 600).
//!
//! PyPI answers in JSON (PEP 691), with sizes. Many mirrors know only the older HTML page (PEP 503): it has
//! the digests too, and where the size is not told the file is read once.

use pep440_rs::{Version, VersionSpecifiers};
use url::Url;

use crate::{
    base::{
        Digest, Expected, Platform,
        wheel_tag::{self, normalized_project},
    },
    lockfile::{Download, WheelEntry},
};

use super::{
    ResolveError, Room,
    file::check,
    page::{self, PageFile},
};

/// The package index. Mirrors are applied to it like to any address.
const INDEX: &str = "https://pypi.org/simple/";
/// JSON where the server can, HTML where it cannot (PEP 691, "Content-Types").
const PAGE_TYPES: &str = "application/vnd.pypi.simple.v1+json, text/html; q=0.1";

impl Room<'_> {
    pub(super) async fn wheel(
        self,
        name: &str,
        mut entry: WheelEntry,
        node: &[Platform],
    ) -> Result<WheelEntry, ResolveError> {
        let document = |problem: String| ResolveError::Page { name: entry.want.clone(), problem };
        let request = entry.request().ok_or_else(|| document("expected `NAME==VERSION python X.Y`".to_owned()))?;
        let address = format!("{INDEX}{}/", normalized_project(request.name));
        let answer = self.asked_document(&address, Some(PAGE_TYPES)).await?;
        let page = page::parse(&answer.bytes, answer.media_type.as_deref()).map_err(document)?;
        let of_version: Vec<PageFile> =
            page.files.into_iter().filter(|file| is_of_version(&file.filename, request.version)).collect();
        let before = self.before.and_then(|lock| lock.wheel.get(name)).filter(|before| before.want == entry.want);
        let mut platforms = entry.platforms.clone();
        for platform in node {
            let known = platforms.get(platform).map_or(Expected::NOTHING, Download::expected);
            let file = choose(&entry.want, &of_version, request.python, *platform)?;
            let download = self.wheel_file(&entry.want, &address, file, known).await?;
            let same = before.and_then(|before| before.platforms.get(platform)).is_some_and(|pin| *pin == download);
            if let Some(limit) = self.age.filter(|_| !same) {
                limit.judge(&format!("wheel.{name} ({})", file.filename), file.uploaded, self.now)?;
            }
            platforms.insert(*platform, download);
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
        let document = |problem: String| ResolveError::Page { name: want.to_owned(), problem };
        // Relative addresses are relative to the real page: the lock names upstream, not a mirror.
        let url =
            Url::parse(page).and_then(|page| page.join(&file.url)).map_err(|error| document(error.to_string()))?;
        let digest = match &file.sha256 {
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

/// The best file for a platform. What its authors withdrew, or declare to be for another Python, is refused with its
/// own message: with exact versions there is no other file to fall back to in silence.
fn choose<'files>(
    want: &str,
    files: &'files [PageFile],
    python: &str,
    platform: Platform,
) -> Result<&'files PageFile, ResolveError> {
    let usable = |file: &&PageFile| file.yanked.is_none() && admits(file.requires_python.as_deref(), python);
    if let Some(file) = best(files.iter().filter(usable), python, platform) {
        return Ok(file);
    }
    let want = want.to_owned();
    let Some(file) = best(files.iter(), python, platform) else {
        return Err(ResolveError::Wheel {
            want,
            platform,
            present: files.iter().map(|file| file.filename.clone()).collect(),
        });
    };
    let filename = file.filename.clone();
    Err(match (&file.yanked, &file.requires_python) {
        (Some(reason), _) => ResolveError::Yanked { want, filename, reason: reason.clone() },
        (None, requires) => {
            let requires = requires.clone().unwrap_or_default();
            ResolveError::Python { want, filename, requires, python: python.to_owned() }
        }
    })
}

/// Whether `Requires-Python` admits an interpreter (`3.12` stands for 3.12.0, as pip takes it). What cannot be read
/// is no hindrance, as for pip: old files have typing errors there.
fn admits(requires: Option<&str>, python: &str) -> bool {
    let specifiers = requires.and_then(|requires| requires.parse::<VersionSpecifiers>().ok());
    match (specifiers, python.parse::<Version>()) {
        (Some(specifiers), Ok(python)) => specifiers.contains(&python),
        _ => true,
    }
}

/// The version in `name-version(-build)?-python-abi-platform.whl` (PEP 427).
fn version_of(filename: &str) -> Option<&str> {
    let parts: Vec<&str> = filename.strip_suffix(".whl")?.split('-').collect();
    (5..=6).contains(&parts.len()).then(|| parts[1])
}

/// Whether the file is of this version; `1.0` and `1.0.0` are one version (PEP 440).
fn is_of_version(filename: &str, wanted: &str) -> bool {
    version_of(filename).is_some_and(|found| match (found.parse::<Version>(), wanted.parse::<Version>()) {
        (Ok(found), Ok(wanted)) => found == wanted,
        _ => found == wanted,
    })
}

fn best<'files>(
    files: impl Iterator<Item = &'files PageFile>,
    python: &str,
    platform: Platform,
) -> Option<&'files PageFile> {
    let fitting = files.filter_map(|file| Some((rank(&file.filename, python, platform)?, file)));
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
        let file = |name: &&str| PageFile { filename: (*name).to_owned(), ..PageFile::default() };
        let files: Vec<PageFile> = names.iter().map(file).collect();
        best(files.iter(), python, platform).map(|file| file.filename.clone())
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

    fn refused(file: PageFile) -> String {
        let want = "flask==3.1.3 python 3.12";
        choose(want, &[file], "3.12", Platform::LinuxArm64).unwrap_err().to_string()
    }

    #[test]
    fn withdrawn_files_and_files_for_another_python_are_refused_by_name() {
        let file = PageFile { filename: "flask-3.1.3-py3-none-any.whl".to_owned(), ..PageFile::default() };
        let yanked = |reason: &str| PageFile { yanked: Some(reason.to_owned()), ..file.clone() };
        assert_eq!(
            refused(yanked("leaks sessions")),
            "flask==3.1.3 python 3.12: its authors withdrew flask-3.1.3-py3-none-any.whl: leaks sessions"
        );
        assert!(refused(yanked("")).ends_with("whl without saying why"));
        let newer = PageFile { requires_python: Some(">=3.13".to_owned()), ..file.clone() };
        assert_eq!(
            refused(newer),
            "flask==3.1.3 python 3.12: flask-3.1.3-py3-none-any.whl wants Python >=3.13, and the lab has 3.12"
        );
        let usable = PageFile { requires_python: Some(">=3.9,!=3.10.*".to_owned()), ..file.clone() };
        let files = [yanked("x"), usable];
        assert_eq!(choose("", &files, "3.12", Platform::LinuxArm64).unwrap().yanked, None);
        assert!(admits(Some("3.x or so"), "3.12"), "what cannot be read hinders nobody");
    }

    #[test]
    fn versions_and_names_are_read() {
        assert_eq!(version_of("markupsafe-3.0.4-cp312-cp312-win_arm64.whl"), Some("3.0.4"));
        assert_eq!(version_of("a-1.0-1-py3-none-any.whl"), Some("1.0"));
        assert_eq!(version_of("a-1.0.tar.gz"), None);
        assert!(is_of_version("a-1.0-py3-none-any.whl", "1.0.0") && !is_of_version("a-1.0-py3-none-any.whl", "1.0.1"));
        assert_eq!(normalized_project("Zope.Interface__x"), "zope-interface-x");
    }
}
