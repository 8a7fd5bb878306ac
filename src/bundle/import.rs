//! From a bundle into the store, and the same way without a store.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use crate::{
    base::{Descriptor, Digest, Event, Reporter, human_bytes, report::next_transfer_id},
    plan::Plan,
    store::{FillError, Slot, Store, StoreError, Whole},
};

use super::{Bundle, BundleError, Member};

/// Blobs that wait for their names, at most: each holds two files open.
const WAITING: usize = 32;

/// What an import took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Blobs that were not in the store.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Bundle {
    /// Reads every byte and compares it. Blocks.
    ///
    /// # Errors
    /// The first member that is damaged.
    pub fn verify(&self, reporter: &dyn Reporter) -> Result<(), BundleError> {
        let members = self.members();
        let bytes = members.iter().map(|member| member.descriptor.size).sum();
        reporter.report(Event::TransfersPlanned { transfers: members.len(), bytes });
        for member in members {
            self.read_one(member, reporter)?;
        }
        self.inner.check_end()
    }

    fn read_one(&self, member: &Member, reporter: &dyn Reporter) -> Result<(), BundleError> {
        let id = next_transfer_id();
        let total = Some(member.descriptor.size);
        reporter.report(Event::TransferStarted { id, name: self.label(member), total });
        self.inner.check_member(member, |bytes| reporter.report(Event::TransferProgress { id, bytes }))?;
        reporter.report(Event::TransferFinished { id });
        Ok(())
    }

    /// Looks whether the store has what a bundle made with `--since` leaves out.
    ///
    /// # Errors
    /// [`BundleError::Base`], with what is missing.
    pub fn check_base(&self, store: &Store) -> Result<(), BundleError> {
        let Some(since) = &self.head().since else { return Ok(()) };
        let present = store.present()?;
        let lacking = |blob: &Descriptor| present.get(&blob.digest) != Some(&blob.size);
        let missing: Vec<Descriptor> = self.left_out().into_iter().filter(lacking).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: BTreeMap<Digest, u64> = missing.iter().map(|blob| (blob.digest, blob.size)).collect();
        let plan = Plan::new(self.lock(), &present, &[]);
        let mut by_artifact: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for blob in plan.missing.iter().filter(|blob| missing.contains_key(&blob.descriptor.digest)) {
            for name in &blob.needed_by {
                let (count, bytes) = by_artifact.entry(name).or_default();
                (*count, *bytes) = (*count + 1, *bytes + blob.descriptor.size);
            }
        }
        let line = |(name, (count, bytes)): (&str, (usize, u64))| {
            format!("  {name}: {count} {}, {}", if count == 1 { "blob" } else { "blobs" }, human_bytes(bytes))
        };
        Err(BundleError::Base {
            base: since.id,
            name: since.name.clone(),
            count: format!("{} blobs ({})", missing.len(), human_bytes(missing.values().sum())),
            listed: by_artifact.into_iter().map(line).collect::<Vec<_>>().join("\n"),
        })
    }

    /// Takes every locked blob that the store lacks, and checks everything else that it comes by. Blobs that are in
    /// the store already are not read; what an earlier run left is gone on with. Blocks.
    ///
    /// # Errors
    /// The first member that is damaged; nothing of it has a name in the store then. Any I/O error.
    pub fn import(&self, store: &Store, reporter: &dyn Reporter) -> Result<Taken, BundleError> {
        let present = store.present()?;
        let is_here = |member: &&Member| present.get(&member.descriptor.digest) == Some(&member.descriptor.size);
        let todo: Vec<&Member> =
            self.members().iter().filter(|member| !(self.is_locked(member) && is_here(member))).collect();
        let bytes = todo.iter().map(|member| member.descriptor.size).sum();
        reporter.report(Event::TransfersPlanned { transfers: todo.len(), bytes });
        let (hand_over, whole) = sync_channel(WAITING);
        thread::scope(|scope| {
            let naming = scope.spawn(move || name_all(store, &whole));
            let taken = self.take_all(store, &hand_over, reporter, &|member| is_here(&member));
            drop(hand_over);
            match naming.join() {
                Ok(Ok(())) => taken,
                Ok(Err(error)) => Err(error.into()),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn take_all(
        &self,
        store: &Store,
        hand_over: &SyncSender<Whole>,
        reporter: &dyn Reporter,
        is_here: &dyn Fn(&Member) -> bool,
    ) -> Result<Taken, BundleError> {
        let mut taken = Taken::default();
        for member in self.members() {
            if !self.is_locked(member) {
                self.read_one(member, reporter)?;
                continue;
            }
            self.inner.check_frame(member)?;
            if is_here(member) {
                continue;
            }
            if let Some(whole) = self.take_one(member, store, reporter)? {
                taken = Taken { blobs: taken.blobs + 1, bytes: taken.bytes + member.descriptor.size };
                if hand_over.send(whole).is_err() {
                    // Naming has failed; its own error is told.
                    break;
                }
            }
        }
        self.inner.check_end()?;
        Ok(taken)
    }

    /// One blob, whole and checked; `None` when another process has brought it meanwhile.
    fn take_one(&self, member: &Member, store: &Store, reporter: &dyn Reporter) -> Result<Option<Whole>, BundleError> {
        let blob = member.descriptor;
        let id = next_transfer_id();
        reporter.report(Event::TransferStarted { id, name: self.label(member), total: Some(blob.size) });
        let mut resumed = true;
        loop {
            let Slot::Empty(mut ingest) = store.begin(blob.into(), &blob.digest.hex(), reporter)? else {
                return Ok(None);
            };
            if ingest.written() > 0 && resumed {
                reporter.report(Event::TransferResumed { id, bytes: ingest.written() });
            }
            let begun = ingest.written();
            let took = |bytes| reporter.report(Event::TransferProgress { id, bytes });
            match ingest.append_from(self.reader(member, begun), took) {
                Ok(()) => {}
                Err(FillError::Source(error)) => return Err(BundleError::Read(error)),
                Err(FillError::Store(error)) => return Err(error.into()),
            }
            match ingest.check() {
                Ok(whole) => {
                    reporter.report(Event::TransferFinished { id });
                    return Ok(Some(whole));
                }
                // The half that an earlier run left may be what is wrong.
                Err(StoreError::WrongDigest { .. }) if begun > 0 && resumed => resumed = false,
                Err(StoreError::WrongDigest { found, size, .. }) => {
                    reporter.report(Event::TransferFailed { id, error: "other bytes".to_owned(), retrying: false });
                    return Err(self.inner.damaged(member, Descriptor { digest: found, size }));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Gives whole blobs their names, as many together as have come: they share one wait for the disk.
fn name_all(store: &Store, whole: &Receiver<Whole>) -> Result<(), StoreError> {
    while let Ok(first) = whole.recv() {
        let group: Vec<Whole> = std::iter::once(first).chain(whole.try_iter()).collect();
        for named in store.publish(group) {
            named?;
        }
    }
    Ok(())
}
