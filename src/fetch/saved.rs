//! A tar of images as a source: what `docker save`, Minikube's cache, `skopeo copy … oci-archive:` write.
//!
//! Members say their digest by their name:
//!
//! ```text
//! blobs/sha256/<hex>        OCI archives; docker save since Docker 25
//! <hex>.tar.gz  sha256:<hex>  Minikube's cache (go-containerregistry v0.16.1, pkg/v1/tarball/write.go): layers, config
//! <hex>.json                docker save before that: config
//! ```
//! Layers help where they are the compressed bytes that the registry has. Docker's classic store unpacks them, and
//! what it saves has other digests; those members match nothing and are skipped.

use std::{
    io::{BufReader, Read, Seek as _, SeekFrom},
    path::Path,
};

use flate2::read::GzDecoder;

use crate::{base::Digest, bundle::is_bundle, plan::PlannedBlob, store::StoreError};

use super::{
    bundled,
    from::{Offer, Place},
};

/// Where a tar says that it is one, and how (POSIX.1-1988 ustar; GNU tar writes the same five letters).
const MAGIC: (u64, &[u8; 5]) = (257, b"ustar");
/// RFC 1952.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Takes what the archive has. Blocks.
pub(super) fn take_file(
    path: &Path,
    place: &Place<'_>,
    missing: Vec<PlannedBlob>,
) -> Result<Vec<PlannedBlob>, StoreError> {
    if is_bundle(path) == Some(true) {
        return bundled::take(path, place, missing);
    }
    let opened = fs_err::File::open(path).and_then(|mut file| {
        let mut head = [0; 2];
        let count = file.read(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        Ok((file, head[..count] == GZIP))
    });
    match opened {
        Ok((file, true)) => take(GzDecoder::new(BufReader::new(file)), place, missing),
        Ok((file, false)) => take(BufReader::new(file), place, missing),
        Err(error) => {
            place.pass_over(&error.to_string());
            Ok(missing)
        }
    }
}

/// Takes what a stream of a tar has.
pub(super) fn take(
    stream: impl Read,
    place: &Place<'_>,
    mut missing: Vec<PlannedBlob>,
) -> Result<Vec<PlannedBlob>, StoreError> {
    let mut archive = tar::Archive::new(stream);
    let broken = |error: std::io::Error| place.pass_over(&format!("its tar cannot be read ({error})"));
    let entries = match archive.entries() {
        Ok(entries) => entries,
        Err(error) => {
            broken(error);
            return Ok(missing);
        }
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                broken(error);
                break;
            }
        };
        let digest = digest_in(&String::from_utf8_lossy(&entry.path_bytes()));
        let wanted = missing.iter().position(|blob| Some(blob.descriptor.digest) == digest);
        let (Some(wanted), true) = (wanted, entry.header().entry_type().is_file()) else { continue };
        match place.take(&missing[wanted], entry)? {
            Offer::Taken => _ = missing.remove(wanted),
            Offer::Refused => {}
        }
        if missing.is_empty() {
            break;
        }
    }
    Ok(missing)
}

/// Whether a file's beginning is a tar's, gzipped or not. Minikube's cache has names without extension.
pub(super) fn is_archive(path: &Path) -> bool {
    let look = || -> std::io::Result<bool> {
        let mut head = Vec::new();
        let file = fs_err::File::open(path)?;
        (&file).take(MAGIC.0 + 5).read_to_end(&mut head)?;
        if head.starts_with(&GZIP) {
            let mut file = fs_err::File::open(path)?;
            head.clear();
            file.seek(SeekFrom::Start(0))?;
            GzDecoder::new(BufReader::new(file)).take(MAGIC.0 + 5).read_to_end(&mut head)?;
        }
        Ok(head.ends_with(MAGIC.1))
    };
    look().unwrap_or(false)
}

/// The digest that a member's name claims.
fn digest_in(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next()?;
    let last = last.strip_prefix("sha256:").unwrap_or(last);
    Digest::from_hex(last.split('.').next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_members_claim_digests() {
        let digest = Digest::of(b"layer");
        let hex = digest.hex();
        for name in
            [format!("blobs/sha256/{hex}"), format!("{hex}.tar.gz"), format!("sha256:{hex}"), hex.clone() + ".json"]
        {
            assert_eq!(digest_in(&name), Some(digest), "{name}");
        }
        for name in ["manifest.json", "layer.tar", &format!("{hex}/layer.tar"), ""] {
            assert_eq!(digest_in(name), None, "{name}");
        }
    }
}
