//! A bundle that is read: everything that its head and lock say is checked when it is opened, before a blob is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use crate::{
    base::{Descriptor, Digest},
    lockfile::{self, CheckedLock, Lock},
};

use super::{
    BundleError, Head, LabFileBytes, Member,
    create::{blobs, labels},
    document,
    head::MAX_HEAD,
    lab::{LOCK, files_problem},
    layout::{self, BLOCK, Layout},
    members::Members,
    parts::Source,
};

/// An open bundle.
#[derive(Debug)]
pub struct Bundle {
    pub(super) inner: Members,
    head: Head,
    lock: CheckedLock,
    files: Vec<LabFileBytes>,
}

impl Bundle {
    /// Opens a bundle: the file, the first of its parts, or their folder. Reads its head, and the lab's own files.
    /// `expected`: its identity, when somebody said it. Blocks.
    ///
    /// # Errors
    /// When it is none, another one, or what was read of it is damaged; when parts do not fit together.
    pub fn open(path: &Path, expected: Option<Digest>) -> Result<Self, BundleError> {
        let source = Source::open(path)?;
        let (head, text) = read_head(&source, path)?;
        let layout = Layout::new(&head, &text);
        let id = layout.members[0].descriptor.digest;
        if let Some(expected) = expected.filter(|expected| *expected != id) {
            return Err(BundleError::OtherBundle { expected, found: id });
        }
        check_length(&source, &layout)?;
        if let Some(problem) = files_problem(&head.files) {
            return Err(BundleError::Members { problem });
        }
        let mut inner = Members { source, layout, labels: BTreeMap::new() };
        inner.check_frame(&inner.layout.members[0])?;
        let files = read_files(&inner, &head)?;
        let lock = read_lock(&head, &files)?;
        inner.labels = labels(&lock);
        check_members(&head, &lock, &inner.labels)?;
        Ok(Self { inner, head, lock, files })
    }

    /// SHA-256 of the first member; it covers every other byte.
    pub fn id(&self) -> Digest {
        self.inner.layout.members[0].descriptor.digest
    }

    /// What it says of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Its lock; its digest is the lab id that the head says.
    pub fn lock(&self) -> &CheckedLock {
        &self.lock
    }

    /// Its lab's folder.
    pub fn files(&self) -> &[LabFileBytes] {
        &self.files
    }

    /// All members in their order.
    pub fn members(&self) -> &[Member] {
        &self.inner.layout.members
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.inner.layout.size
    }

    /// Files that it is in.
    pub fn parts(&self) -> usize {
        self.inner.source.count()
    }

    /// Blobs of the lab that are not in it: those of the lab that it was made since.
    pub fn left_out(&self) -> Vec<Descriptor> {
        let there: BTreeSet<&Descriptor> = self.head.blobs.iter().collect();
        blobs(&self.lock).into_iter().filter(|blob| !there.contains(blob)).collect()
    }

    /// Whether the lab's lock names this member.
    pub(super) fn is_locked(&self, member: &Member) -> bool {
        self.inner.labels.contains_key(&member.descriptor.digest)
    }

    /// The member of this blob.
    pub fn member(&self, blob: Descriptor) -> Option<&Member> {
        self.inner.member(blob)
    }

    /// What people call a member.
    pub fn label(&self, member: &Member) -> String {
        self.inner.label(member)
    }

    /// The bytes of a member from `skip` on. Not checked: whoever takes them compares their digest.
    pub fn reader<'a>(&'a self, member: &Member, skip: u64) -> impl FnMut(&mut [u8]) -> io::Result<usize> + use<'a> {
        self.inner.reader(member, skip)
    }
}

/// The lab's own files, each against its digest.
fn read_files(members: &Members, head: &Head) -> Result<Vec<LabFileBytes>, BundleError> {
    let mut files = Vec::new();
    for entry in &head.files {
        let absent = || BundleError::Members { problem: format!("{} is listed and not in it", entry.path) };
        let member = members.member(entry.file).ok_or_else(absent)?;
        members.check_frame(member)?;
        let mut bytes = vec![0; usize::try_from(entry.file.size).unwrap_or_default()];
        members.source.read_exact_at(&mut bytes, member.data_at()).map_err(BundleError::Read)?;
        let found = Descriptor::of(&bytes);
        if found != entry.file {
            let said = |descriptor: Descriptor| format!("{} ({} bytes)", descriptor.digest, descriptor.size);
            let what = format!(" ({})", entry.path);
            return Err(members.error(member, &what, said(entry.file), said(found)));
        }
        files.push(LabFileBytes { entry: entry.clone(), bytes });
    }
    Ok(files)
}

fn read_lock(head: &Head, files: &[LabFileBytes]) -> Result<CheckedLock, BundleError> {
    let refuse = |problem: String| BundleError::Members { problem };
    let bytes = files.iter().find(|file| file.entry.path == LOCK).map(|file| file.bytes.clone());
    let text = String::from_utf8(bytes.unwrap_or_default()).map_err(|_| refuse("its lock is no text".to_owned()))?;
    let lock: Lock = lockfile::parse(&text).map_err(|error| BundleError::Lock(Box::new(error)))?;
    let head = &head.lab;
    if (lock.lab_id(), &lock.name) != (head.id, &head.name) {
        return Err(refuse(format!(
            "it says lab {} ({}), its lock is {} ({})",
            head.id,
            head.name,
            lock.lab_id(),
            lock.name
        )));
    }
    CheckedLock::new(lock).map_err(|error| refuse(format!("its lock is not complete: {error}")))
}

/// Nothing is in it that the lock and the lab's folder do not ask for, and nothing is left out without a reason.
fn check_members(head: &Head, lock: &Lock, labels: &BTreeMap<Digest, String>) -> Result<(), BundleError> {
    let refuse = |problem: String| Err(BundleError::Members { problem });
    let manifest = document::lab_manifest(&head.lab, &head.files);
    let own = [Descriptor::of(&manifest), Descriptor::of(document::EMPTY)];
    let files = head.files.iter().map(|entry| entry.file);
    let own: BTreeSet<Descriptor> = own.into_iter().chain(files).collect();
    let locked = blobs(lock);
    let there: BTreeSet<Descriptor> = head.blobs.iter().copied().collect();
    if let Some(foreign) = there.iter().find(|blob| !own.contains(blob) && !locked.contains(blob)) {
        return refuse(format!(
            "blob {} ({} bytes) is in it, and its lock does not name it",
            foreign.digest, foreign.size
        ));
    }
    if let Some(missing) = own.difference(&there).next() {
        return refuse(format!("blob {} of the lab's own folder is not in it", missing.digest));
    }
    match (locked.difference(&there).next(), &head.since) {
        (Some(missing), None) => {
            let label = labels.get(&missing.digest).cloned().unwrap_or_default();
            refuse(format!("its lock names {} ({label}), and it is not in it", missing.digest))
        }
        _ => Ok(()),
    }
}

/// The head and its text.
fn read_head(source: &Source, path: &Path) -> Result<(Head, Vec<u8>), BundleError> {
    let none = |problem: &str| BundleError::None { path: path.to_owned(), problem: problem.to_owned() };
    let mut header = [0; BLOCK as usize];
    source.read_exact_at(&mut header, 0).map_err(|_| none("it is shorter than any"))?;
    let size = tar::Header::from_byte_slice(&header).entry_size().ok().filter(|size| *size <= MAX_HEAD);
    let expected = layout::head_header(size.unwrap_or_default());
    let differing = expected.iter().zip(&header).filter(|(one, other)| one != other).count();
    match size {
        Some(size) if differing == 0 => {
            let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
            let cut = |error: io::Error| BundleError::Head { problem: error.to_string() };
            source.read_exact_at(&mut text, BLOCK).map_err(cut)?;
            Ok((Head::parse(&text)?, text))
        }
        // A flipped bit or two: a bundle all the same. Anything else is some other file.
        _ if differing <= 16 => {
            Err(BundleError::Head { problem: format!("{differing} bytes of its header are others") })
        }
        _ => Err(none("it does not begin with ztlab/bundle.json")),
    }
}

fn check_length(source: &Source, layout: &Layout) -> Result<(), BundleError> {
    if source.is_split() {
        return source.check_parts(layout);
    }
    let found = source.size();
    if found == layout.size {
        return Ok(());
    }
    let cut = layout.members.iter().rfind(|member| member.at < found).filter(|_| found < layout.size);
    let member = cut.map_or_else(|| "the end of the bundle".to_owned(), |member| member.name.clone());
    Err(BundleError::Member {
        member,
        expected: format!("a bundle of {} bytes", layout.size),
        found: format!("{found} bytes"),
        parts: Vec::new(),
    })
}
