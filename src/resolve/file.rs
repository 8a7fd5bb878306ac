//! Files and archives: read once, by streaming into the store.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{Descriptor, Expected},
    fetch::{Wanted, blocking},
    lockfile::{FileEntry, ToolEntry},
};

use super::{ResolveError, Room};

impl Room<'_> {
    /// Brings a file into the store and says what it is.
    pub(super) async fn download(
        self,
        url: &str,
        expected: Expected,
        label: String,
    ) -> Result<Descriptor, ResolveError> {
        let locations = self.client.file_locations(url)?;
        Ok(self.client.blob(self.store, &Wanted { expected, label }, &locations).await?.descriptor())
    }

    pub(super) async fn file(self, name: &str, mut entry: FileEntry) -> Result<FileEntry, ResolveError> {
        let archive = self.download(&entry.want, entry.expected(), format!("file.{name}")).await?;
        (entry.digest, entry.size) = (Some(archive.digest), Some(archive.size));
        let paths: BTreeSet<String> = entry.member.values().map(|member| member.path.clone()).collect();
        let found = self.members(archive, paths).await?;
        for (member_name, member) in &mut entry.member {
            if let Some(found) = found.get(&member.path) {
                check(format!("file.{name} member {member_name}"), member.expected(), *found)?;
                (member.digest, member.size) = (Some(found.digest), Some(found.size));
            }
        }
        Ok(entry)
    }

    pub(super) async fn tool(self, name: &str, mut entry: ToolEntry) -> Result<ToolEntry, ResolveError> {
        for (platform, pin) in &mut entry.platforms {
            let wanted = pin.program().is_some() && pin.expected().complete().is_some();
            if wanted && (entry.member.is_none() || pin.program.is_some()) {
                continue;
            }
            let label = format!("tool.{name} {platform}");
            let download = self.download(&pin.url, pin.expected(), label.clone()).await?;
            (pin.digest, pin.size) = (Some(download.digest), Some(download.size));
            if let Some(path) = &entry.member {
                let found = self.members(download, BTreeSet::from([path.clone()])).await?;
                if let Some(found) = found.get(path) {
                    check(label, pin.program.unwrap_or(Expected::NOTHING), *found)?;
                    pin.program = Some(Expected::from(*found));
                }
            }
        }
        Ok(entry)
    }

    async fn members(
        self,
        archive: Descriptor,
        paths: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Descriptor>, ResolveError> {
        let (store, reporter) = (self.store.clone(), self.client.shared_reporter());
        let Some(stored) = store.blob(archive).filter(|_| !paths.is_empty()) else { return Ok(BTreeMap::new()) };
        Ok(blocking(move || store.members(&stored, &paths, reporter.as_ref())).await?)
    }
}

/// What was known before must be so.
pub(super) fn check(what: String, expected: Expected, found: Descriptor) -> Result<(), ResolveError> {
    if expected.admits(&found) { Ok(()) } else { Err(ResolveError::Differs { what, expected, found }) }
}
