//! Locked members of archives that are in the store: read out, not downloaded.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{Descriptor, Reporter},
    lockfile::Origin,
    plan::PlannedBlob,
    store::{ArchiveError, Store, StoreError},
};

use super::schedule::{BlobError, Failure};

/// Reads missing members out of their archives. Blocks. Returns those that could not be had.
pub fn extract_members(store: &Store, missing: Vec<PlannedBlob>, reporter: &dyn Reporter) -> Vec<Failure> {
    let mut by_archive: BTreeMap<Descriptor, Vec<(String, PlannedBlob)>> = BTreeMap::new();
    for blob in missing {
        let member = blob.origins.iter().find_map(|origin| match origin {
            Origin::Member { archive, path } => Some((*archive, path.clone())),
            _ => None,
        });
        if let Some((archive, path)) = member {
            by_archive.entry(archive).or_default().push((path, blob));
        }
    }
    by_archive.into_iter().flat_map(|(archive, wanted)| extract(store, archive, wanted, reporter)).collect()
}

fn extract(
    store: &Store,
    archive: Descriptor,
    wanted: Vec<(String, PlannedBlob)>,
    reporter: &dyn Reporter,
) -> Vec<Failure> {
    let Some(stored) = store.blob(archive) else {
        let absent = || BlobError::ArchiveAbsent { archive: archive.digest };
        return wanted.into_iter().map(|(_, blob)| Failure { blob, error: absent() }).collect();
    };
    let paths: BTreeSet<String> = wanted.iter().map(|(path, _)| path.clone()).collect();
    let found = store.members(&stored, &paths, reporter);
    let mut failures = Vec::new();
    for (path, blob) in wanted {
        match &found {
            Ok(found) if found.get(&path) == Some(&blob.descriptor) => {}
            Ok(found) => {
                let expected = blob.descriptor.digest;
                let found = found.get(&path).map_or(archive.digest, |found| found.digest);
                failures.push(Failure { blob, error: BlobError::MemberDiffers { path, expected, found } });
            }
            Err(ArchiveError::Store(StoreError::Full(_))) => {
                failures.push(Failure { blob, error: BlobError::DiskFull })
            }
            Err(error) => failures.push(Failure { blob, error: BlobError::Archive(error.to_string()) }),
        }
    }
    failures
}
