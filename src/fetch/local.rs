//! Another store's folder, or any OCI image layout, as a source: a USB disk, a colleague's copy.

use std::{io::Read, path::Path};

use crate::{
    base::{Event, Reporter, report::next_transfer_id},
    plan::PlannedBlob,
    store::{Slot, Store, StoreError, StoredBlob},
};

/// Read size.
const PIECE: usize = 512 * 1024;

/// Copies what the folder has, verifying every byte, and returns what is still missing. Blocks.
///
/// A blob that is damaged over there is warned about and stays missing.
///
/// # Errors
/// When our own store fails.
pub fn copy_from(
    folder: &Path,
    store: &Store,
    missing: Vec<PlannedBlob>,
    reporter: &dyn Reporter,
) -> Result<Vec<PlannedBlob>, StoreError> {
    let mut still_missing = Vec::new();
    for blob in missing {
        let path = folder.join("blobs/sha256").join(blob.descriptor.digest.hex());
        let there = fs_err::metadata(&path).is_ok_and(|metadata| metadata.len() == blob.descriptor.size);
        if !there {
            still_missing.push(blob);
            continue;
        }
        match copy(&path, store, &blob, reporter) {
            Ok(_) => {}
            Err(error) if error.is_local() => return Err(error),
            Err(error) => {
                let text = format!("{} in {} is damaged: {error}", blob.label, folder.display());
                reporter.report(Event::Warning { text });
                still_missing.push(blob);
            }
        }
    }
    Ok(still_missing)
}

fn copy(path: &Path, store: &Store, blob: &PlannedBlob, reporter: &dyn Reporter) -> Result<StoredBlob, StoreError> {
    let descriptor = blob.descriptor;
    let mut ingest = match store.begin(descriptor.into(), &descriptor.digest.hex(), reporter)? {
        Slot::Present(blob) => return Ok(blob),
        Slot::Empty(ingest) => ingest,
    };
    let id = next_transfer_id();
    reporter.report(Event::TransferStarted { id, name: blob.label.clone(), total: Some(descriptor.size) });
    ingest.restart()?;
    let mut file = fs_err::File::open(path)?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        ingest.append(&piece[..count])?;
        reporter.report(Event::TransferProgress { id, bytes: count as u64 });
    }
    let finished = ingest.finish();
    match &finished {
        Ok(_) => reporter.report(Event::TransferFinished { id }),
        Err(error) => reporter.report(Event::TransferFailed { id, error: error.to_string(), retrying: false }),
    }
    finished
}
