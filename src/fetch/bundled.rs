//! A bundle as a source: `ztlab bundle create` wrote it. Its members are where its head says, so what is missing is read
//! and nothing else.

use std::{io::Read, path::Path};

use crate::{bundle::Bundle, plan::PlannedBlob, store::StoreError};

use super::from::{Offer, Place};

/// A closure that reads.
struct Reader<R>(R);

impl<R: FnMut(&mut [u8]) -> std::io::Result<usize>> Read for Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        (self.0)(bytes)
    }
}

/// Takes what the bundle has. Blocks.
pub(super) fn take(path: &Path, place: &Place<'_>, missing: Vec<PlannedBlob>) -> Result<Vec<PlannedBlob>, StoreError> {
    let bundle = match Bundle::open(path, None) {
        Ok(bundle) => bundle,
        Err(error) => {
            place.pass_over(&error.to_string());
            return Ok(missing);
        }
    };
    let mut left = Vec::new();
    for blob in missing {
        let Some(member) = bundle.member(blob.descriptor) else {
            left.push(blob);
            continue;
        };
        match place.take(&blob, Reader(bundle.reader(member, 0)))? {
            Offer::Taken => {}
            Offer::Refused => left.push(blob),
        }
    }
    Ok(left)
}
