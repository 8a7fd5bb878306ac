//! Files and archives: upstream's checksum first where there is one, then the bytes, by streaming into the store.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{Descriptor, Digest, Expected, Platform},
    fetch::{FetchError, Wanted, blocking},
    intent::for_platform,
    lockfile::{FileEntry, ManifestEntry, MemberPin, ToolEntry, ToolPin},
};

use super::{ResolveError, Room, checksum};

/// A file to be settled.
struct Sought<'a> {
    /// `tool.minikube darwin-arm64`
    what: String,
    url: &'a str,
    /// What the lock knows: the bytes must meet it.
    expected: Expected,
    /// Upstream's checksum, for this platform.
    checksum: Option<String>,
    /// What the lock said before it was told to ask again: the bytes may differ from it.
    before: Option<Descriptor>,
    /// Whether the bytes themselves are needed, because members have to be read out of them.
    open: bool,
}

/// What a file is.
struct Settled {
    found: Descriptor,
    /// The checksum file that says the same.
    checked: Option<String>,
    /// Whether upstream's checksum made it needless to look at the bytes again.
    as_before: bool,
}

impl Room<'_> {
    pub(super) async fn file(self, name: &str, mut entry: FileEntry) -> Result<FileEntry, ResolveError> {
        let label = format!("file.{name}");
        let before = self.before.and_then(|lock| lock.file.get(name)).filter(|before| before.want == entry.want);
        let known = before.filter(|before| same_members(&before.member, &entry.member));
        let settled = self
            .settle(Sought {
                what: label.clone(),
                url: &entry.want,
                expected: entry.expected(),
                checksum: entry.checksum.clone(),
                before: known.and_then(|before| before.expected().complete()),
                open: entry.member.values().any(|member| member.expected().complete().is_none()) && known.is_none(),
            })
            .await?;
        (entry.digest, entry.size) = (Some(settled.found.digest), Some(settled.found.size));
        entry.checked = settled.checked;
        if let Some(before) = known.filter(|_| settled.as_before) {
            entry.member = before.member.clone();
        } else if entry.member.values().any(|member| member.expected().complete().is_none()) {
            let paths: BTreeSet<String> = entry.member.values().map(|member| member.path.clone()).collect();
            let found = self.members(settled.found, paths).await?;
            for (member_name, member) in &mut entry.member {
                if let Some(found) = found.get(&member.path) {
                    check(format!("{label} member {member_name}"), member.expected(), *found)?;
                    (member.digest, member.size) = (Some(found.digest), Some(found.size));
                }
            }
        }
        let same = before.is_some_and(|before| before.expected() == entry.expected());
        self.judge_file(&label, &entry.want, same).await?;
        Ok(entry)
    }

    pub(super) async fn manifest(self, name: &str, mut entry: ManifestEntry) -> Result<ManifestEntry, ResolveError> {
        let label = format!("manifest.{name}");
        let before = self.before.and_then(|lock| lock.manifest.get(name)).filter(|before| before.want == entry.want);
        let settled = self
            .settle(Sought {
                what: label.clone(),
                url: &entry.want,
                expected: entry.expected(),
                checksum: entry.checksum.clone(),
                before: before.and_then(|before| before.expected().complete()),
                open: false,
            })
            .await?;
        (entry.digest, entry.size) = (Some(settled.found.digest), Some(settled.found.size));
        entry.checked = settled.checked;
        let same = before.is_some_and(|before| before.expected() == entry.expected());
        self.judge_file(&label, &entry.want, same).await?;
        Ok(entry)
    }

    pub(super) async fn tool(self, name: &str, mut entry: ToolEntry) -> Result<ToolEntry, ResolveError> {
        let before = self.before.and_then(|lock| lock.tool.get(name));
        let before = before.filter(|before| before.want == entry.want && before.member == entry.member);
        for (platform, pin) in &mut entry.platforms {
            let checksum = entry.checksum.as_ref().map(|checksum| for_platform(checksum, *platform));
            let opened = entry.member.is_none() || pin.program.is_some_and(|program| program.complete().is_some());
            let compared = checksum.is_none() || pin.checked.is_some();
            if pin.expected().complete().is_some() && opened && compared {
                continue;
            }
            let before = before.and_then(|before| before.platforms.get(platform));
            self.tool_pin(name, *platform, pin, (checksum, entry.member.as_deref()), before).await?;
        }
        Ok(entry)
    }

    async fn tool_pin(
        self,
        name: &str,
        platform: Platform,
        pin: &mut ToolPin,
        (checksum, member): (Option<String>, Option<&str>),
        before: Option<&ToolPin>,
    ) -> Result<(), ResolveError> {
        let label = format!("tool.{name} {platform}");
        let complete = |expected: Option<Expected>| expected.and_then(|expected| expected.complete()).is_some();
        let open = member.is_some() && !complete(pin.program);
        let known = before.filter(|before| member.is_none() || complete(before.program));
        let settled = self
            .settle(Sought {
                what: label.clone(),
                url: &pin.url,
                expected: pin.expected(),
                checksum,
                before: known.and_then(|before| before.expected().complete()),
                open: open && known.is_none(),
            })
            .await?;
        (pin.digest, pin.size) = (Some(settled.found.digest), Some(settled.found.size));
        pin.checked = settled.checked;
        if let Some(before) = known.filter(|_| settled.as_before) {
            pin.program = before.program;
        } else if let (true, Some(path)) = (open, member) {
            let found = self.members(settled.found, BTreeSet::from([path.to_owned()])).await?;
            if let Some(found) = found.get(path) {
                check(label.clone(), pin.program.unwrap_or(Expected::NOTHING), *found)?;
                pin.program = Some(Expected::from(*found));
            }
        }
        let same = before.is_some_and(|before| before.expected() == pin.expected());
        self.judge_file(&label, &pin.url, same).await
    }

    /// Asks upstream's checksum, where there is one, and for the bytes unless they are known by it.
    async fn settle(self, sought: Sought<'_>) -> Result<Settled, ResolveError> {
        let published = match &sought.checksum {
            Some(address) => Some((address, self.published(address, sought.url, &sought.what).await?)),
            None => None,
        };
        if let (Some((address, published)), Some(locked)) = (published, sought.expected.digest)
            && published != locked
        {
            return Err(ResolveError::Checksum {
                what: sought.what.into(),
                checksum: address.as_str().into(),
                published,
                other: "the lock".into(),
                found: locked,
            });
        }
        let checked = published.map(|(address, _)| address.clone());
        if let (Some((_, published)), Some(before)) = (published, sought.before)
            && published == before.digest
            && sought.expected.admits(&before)
        {
            return Ok(Settled { found: before, checked, as_before: true });
        }
        if let (Some(found), false) = (sought.expected.complete(), sought.open) {
            return Ok(Settled { found, checked, as_before: false });
        }
        let digest = published.map(|(_, digest)| digest).or(sought.expected.digest);
        let expected = Expected { digest, ..sought.expected };
        let found = self.download(sought.url, expected, sought.what.clone()).await;
        let found = match (found, published) {
            (Err(ResolveError::Fetch(FetchError::WrongDigest { url, found, .. })), Some((address, published))) => {
                let (what, checksum) = (sought.what.into(), address.as_str().into());
                return Err(ResolveError::Checksum { what, checksum, published, other: url.into(), found });
            }
            (found, _) => found?,
        };
        Ok(Settled { found, checked, as_before: false })
    }

    /// The digest that upstream publishes for a file.
    async fn published(self, address: &str, url: &str, what: &str) -> Result<Digest, ResolveError> {
        let document = self.asked_document(address, None).await?;
        let text = String::from_utf8_lossy(&document.bytes).into_owned();
        let path = url.split(['?', '#']).next().unwrap_or(url);
        let file = path.rsplit('/').next().unwrap_or(path);
        checksum::published(&text, file).map_err(|problem| ResolveError::NoChecksum {
            what: what.to_owned(),
            checksum: address.to_owned(),
            file: file.to_owned(),
            problem,
        })
    }

    /// Brings a file into the store and says what it is. One address is asked once in a run.
    pub(super) async fn download(
        self,
        url: &str,
        expected: Expected,
        label: String,
    ) -> Result<Descriptor, ResolveError> {
        let locations = self.client.file_locations(url)?;
        let place = self.asked.download(url);
        let wanted = Wanted { expected, label: label.clone() };
        let bring = || async { Ok(self.client.blob(self.store, &wanted, &locations).await?.descriptor()) };
        let found = *place.get_or_try_init::<ResolveError, _, _>(bring).await?;
        check(label, expected, found)?;
        Ok(found)
    }

    /// Refuses a file that was published too recently. What the lock had before is not judged again.
    async fn judge_file(self, what: &str, url: &str, same: bool) -> Result<(), ResolveError> {
        let Some(limit) = self.age.filter(|_| !same) else { return Ok(()) };
        let published = self.client.last_modified(&self.client.file_locations(url)?).await?;
        limit.judge(what, published, self.now)
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

/// Whether the members that are asked for are the ones that were pinned, wholly.
fn same_members(before: &BTreeMap<String, MemberPin>, now: &BTreeMap<String, MemberPin>) -> bool {
    before.len() == now.len()
        && now.iter().all(|(name, member)| {
            before.get(name).is_some_and(|pin| pin.path == member.path && pin.expected().complete().is_some())
        })
}

/// What was known before must be so.
pub(super) fn check(what: String, expected: Expected, found: Descriptor) -> Result<(), ResolveError> {
    if expected.admits(&found) { Ok(()) } else { Err(ResolveError::Differs { what, expected, found }) }
}
