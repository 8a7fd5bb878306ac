//! ztlab's own programs in a bundle: for which platform one is, its first bytes say.

use std::{io::Read as _, path::Path};

use crate::base::{Descriptor, Hasher, Platform};

use super::{BundleError, Program};

/// Read size for hashing.
const PIECE: usize = 256 * 1024;

/// Looks at a program: platform, length, digest.
///
/// # Errors
/// When it is none that runs on a platform of ztlab.
pub(super) fn describe(path: &Path) -> Result<Program, BundleError> {
    let refuse = |problem: String| BundleError::Program { path: path.to_owned(), problem };
    let failed = |error: std::io::Error| refuse(error.to_string());
    let mut file = fs_err::File::open(path).map_err(failed)?;
    let (mut hasher, mut size, mut head) = (Hasher::default(), 0, Vec::new());
    let mut piece = vec![0; PIECE];
    loop {
        let count = file.read(&mut piece).map_err(failed)?;
        if count == 0 {
            break;
        }
        if size == 0 {
            head = piece[..count.min(64)].to_vec();
        }
        hasher.update(&piece[..count]);
        size += count as u64;
    }
    let platform = platform_of(&head).map_err(|found| refuse(found.to_owned()))?;
    Ok(Program { platform, file: Descriptor { digest: hasher.finish(), size } })
}

/// ELF: `e_ident`, then `e_type` and `e_machine` (gABI, chapter 4; EM_X86_64 is 62, EM_AARCH64 183). Mach-O:
/// MH_MAGIC_64, then `cputype` (mach-o/loader.h, mach/machine.h; CPU_TYPE_ARM64 is 0x0100000c).
fn platform_of(head: &[u8]) -> Result<Platform, &'static str> {
    let little = |range: std::ops::Range<usize>| head.get(range);
    if head.starts_with(b"\x7fELF\x02\x01") {
        return match little(18..20) {
            Some([62, 0]) => Ok(Platform::LinuxAmd64),
            Some([183, 0]) => Ok(Platform::LinuxArm64),
            _ => Err("it is an ELF file for another processor"),
        };
    }
    if head.starts_with(&[0xcf, 0xfa, 0xed, 0xfe]) {
        return match little(4..8) {
            Some([0x0c, 0, 0, 1]) => Ok(Platform::DarwinArm64),
            _ => Err("it is a Mach-O file for another processor"),
        };
    }
    Err("it is neither an ELF nor a 64-bit Mach-O file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_platform_is_read_from_its_head() {
        let elf = |machine: u8| [&b"\x7fELF\x02\x01\x01"[..], &[0; 9], &[3, 0, machine, 0]].concat();
        assert_eq!(platform_of(&elf(62)), Ok(Platform::LinuxAmd64));
        assert_eq!(platform_of(&elf(183)), Ok(Platform::LinuxArm64));
        assert_eq!(platform_of(&[0xcf, 0xfa, 0xed, 0xfe, 0x0c, 0, 0, 1]), Ok(Platform::DarwinArm64));
        for other in [&elf(243)[..], b"\x7fELF\x02\x01", &[0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1], b"#!/bin/sh\n", b""] {
            assert!(platform_of(other).is_err(), "{other:?}");
        }
        let own = std::env::current_exe().unwrap();
        assert_eq!(Some(describe(&own).unwrap().platform), Platform::current());
    }
}
