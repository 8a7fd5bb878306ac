//! What a wheel's names say: project names (PEP 503) and compatibility tags (PEP 425, PEP 600).

use super::Platform;

/// Debian 12's C library, which the lab's Python image has: newer `manylinux` tags do not run there.
const GLIBC_MINOR: u32 = 36;

/// A project's name as PEP 503 compares it: lower case, runs of `-`, `_` and `.` are one `-`.
pub fn normalized_project(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.to_ascii_lowercase().chars() {
        match character {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            other => out.push(other),
        }
    }
    out
}

/// How well a tag such as `cp312-cp312-manylinux_2_28_x86_64` fits an interpreter (`3.12`) on a platform; machine
/// code made for exactly this interpreter is best. Each of the three parts may be several, joined by dots.
/// `None`: not at all.
pub fn fit(tag: &str, python: &str, platform: Platform) -> Option<(u32, u32)> {
    let minor: u32 = python.strip_prefix("3.")?.parse().ok()?;
    let mut parts = tag.splitn(3, '-');
    let (pythons, abis, platforms) = (parts.next()?, parts.next()?, parts.next()?);
    let glibc = platforms.split('.').filter_map(|tag| glibc_of(tag, platform)).max();
    let exact = format!("cp3{minor}");
    let mut stable = pythons.split('.').filter_map(|tag| tag.strip_prefix("cp3")?.parse::<u32>().ok());
    if abis == exact && pythons.split('.').any(|tag| tag == exact) {
        return Some((3, glibc?));
    }
    if abis == "abi3" && stable.any(|lowest| lowest <= minor) {
        return Some((2, glibc?));
    }
    let pure = abis == "none" && pythons.split('.').any(|tag| tag == "py3" || tag == format!("py3{minor}"));
    (pure && platforms == "any").then_some((1, 0))
}

/// The C library's minor version that a `manylinux` tag asks for, when it runs here.
fn glibc_of(tag: &str, platform: Platform) -> Option<u32> {
    let machine = match platform {
        Platform::LinuxAmd64 => "x86_64",
        Platform::LinuxArm64 => "aarch64",
        Platform::DarwinArm64 => return None,
    };
    let version = tag.strip_suffix(machine)?.strip_suffix('_')?;
    let minor = match version {
        "manylinux1" => 5,
        "manylinux2010" => 12,
        "manylinux2014" => 17,
        other => other.strip_prefix("manylinux_2_")?.parse().ok()?,
    };
    (minor <= GLIBC_MINOR).then_some(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_fits_one_interpreter_on_one_platform() {
        let tag = "cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64";
        assert_eq!(fit(tag, "3.12", Platform::LinuxArm64), Some((3, 17)));
        assert_eq!(fit(tag, "3.12", Platform::LinuxAmd64), None);
        assert_eq!(fit(tag, "3.11", Platform::LinuxArm64), None);
        assert_eq!(fit("cp312-cp312-musllinux_1_2_aarch64", "3.12", Platform::LinuxArm64), None);
        assert_eq!(fit("py3-none", "3.12", Platform::LinuxArm64), None);
    }

    #[test]
    fn names_that_differ_in_case_and_separators_are_one() {
        assert_eq!(normalized_project("Zope.Interface__x"), "zope-interface-x");
    }
}
