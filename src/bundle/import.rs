//! From a bundle into the store, and the same way without a store.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
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
/// Threads that read, hash and write. Two are ahead of every stick and of most disks.
const TAKERS: usize = 2;
/// What a thread moves at once: small enough for a core's own cache, large enough for a stick.
const PIECE: usize = 256 * 1024;

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
    /// A member that is damaged; nothing of it has a name in the store then. Any I/O error.
    pub fn import(&self, store: &Store, reporter: &dyn Reporter) -> Result<Taken, BundleError> {
        let present = store.present()?;
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let taking = Taking { bundle: self, store, reporter, present, next, stop };
        let todo: Vec<&Member> = self.members().iter().filter(|member| !taking.is_here(member)).collect();
        let bytes = todo.iter().map(|member| member.descriptor.size).sum();
        reporter.report(Event::TransfersPlanned { transfers: todo.len(), bytes });
        let (hand_over, whole) = sync_channel(WAITING);
        thread::scope(|scope| {
            let naming = scope.spawn(move || name_all(store, &whole));
            let takers: Vec<_> = (0..TAKERS)
                .map(|_| {
                    scope.spawn({
                        let (taking, hand_over) = (&taking, hand_over.clone());
                        move || taking.run(&hand_over)
                    })
                })
                .collect();
            drop(hand_over);
            let mut sum = Taken::default();
            let mut failed: Option<(usize, BundleError)> = None;
            for taker in takers {
                match joined(taker) {
                    Ok(taken) => sum = Taken { blobs: sum.blobs + taken.blobs, bytes: sum.bytes + taken.bytes },
                    Err(other) if failed.as_ref().is_some_and(|(place, _)| *place < other.0) => {}
                    Err(first) => failed = Some(first),
                }
            }
            joined(naming)?;
            match failed {
                Some((_, error)) => Err(error),
                None => self.inner.check_end().map(|()| sum),
            }
        })
    }
}

/// An import, seen by the threads that share its members.
struct Taking<'import> {
    bundle: &'import Bundle,
    store: &'import Store,
    reporter: &'import dyn Reporter,
    /// Lengths of the blobs that the store had before.
    present: BTreeMap<Digest, u64>,
    /// The member that nobody has begun.
    next: AtomicUsize,
    /// Somebody has failed.
    stop: AtomicBool,
}

impl Taking<'_> {
    /// Takes members until none is left. An error comes with its member's place.
    fn run(&self, hand_over: &SyncSender<Whole>) -> Result<Taken, (usize, BundleError)> {
        let mut taken = Taken::default();
        let mut piece = vec![0; PIECE];
        while !self.stop.load(Ordering::Relaxed) {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(member) = self.bundle.members().get(place) else { break };
            let whole = self.take(member, &mut piece).map_err(|error| {
                self.stop.store(true, Ordering::Relaxed);
                (place, error)
            })?;
            let Some(whole) = whole else { continue };
            taken = Taken { blobs: taken.blobs + 1, bytes: taken.bytes + member.descriptor.size };
            if hand_over.send(whole).is_err() {
                // Naming has failed; its own error is told.
                break;
            }
        }
        Ok(taken)
    }

    /// Whether it is a locked blob that the store had before.
    fn is_here(&self, member: &Member) -> bool {
        let Descriptor { digest, size } = member.descriptor;
        self.bundle.is_locked(member) && self.present.get(&digest) == Some(&size)
    }

    /// Checks a member, and takes it when it is a locked blob that the store lacks.
    fn take(&self, member: &Member, piece: &mut [u8]) -> Result<Option<Whole>, BundleError> {
        if !self.bundle.is_locked(member) {
            return self.bundle.read_one(member, self.reporter).map(|()| None);
        }
        self.bundle.inner.check_frame(member)?;
        if self.is_here(member) { Ok(None) } else { self.take_blob(member, piece) }
    }

    /// One blob, whole and checked; `None` when another process has brought it meanwhile.
    fn take_blob(&self, member: &Member, piece: &mut [u8]) -> Result<Option<Whole>, BundleError> {
        let Self { bundle, store, reporter, .. } = self;
        let blob = member.descriptor;
        let id = next_transfer_id();
        reporter.report(Event::TransferStarted { id, name: bundle.label(member), total: Some(blob.size) });
        let mut resumed = true;
        loop {
            let Slot::Empty(mut ingest) = store.begin(blob.into(), &blob.digest.hex(), *reporter)? else {
                return Ok(None);
            };
            if ingest.written() > 0 && resumed {
                reporter.report(Event::TransferResumed { id, bytes: ingest.written() });
            }
            let begun = ingest.written();
            let took = |bytes| reporter.report(Event::TransferProgress { id, bytes });
            match ingest.append_from(piece, bundle.reader(member, begun), took) {
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
                    return Err(bundle.inner.damaged(member, Descriptor { digest: found, size }));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
