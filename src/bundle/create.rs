//! From a complete lab to a bundle. Every blob is read once: it is hashed on its way.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    base::{
        Descriptor, Digest, Event, Hasher, Reporter,
        pipe::{Pipe, piped},
        report::next_transfer_id,
    },
    lockfile::Lock,
    plan::{Complete, PlanError},
    store::{NamedImage, REF_NAME},
};

use super::{
    BundleError, Head, Identity, LabFileBytes, Program, document,
    lab::files_problem,
    layout::{END, INDEX, Layout, Member, OCI_LAYOUT, OCI_LAYOUT_TEXT},
    output::Output,
    program,
};

/// What goes into a bundle.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// The lab's folder, as [`super::read_lab`] gives it.
    pub files: Vec<LabFileBytes>,
    /// Programs to take along: ztlab for each platform.
    pub programs: Vec<PathBuf>,
    /// Leave out what this lab has.
    pub since: Option<Lock>,
}

/// A bundle that can be written: everything of it is known, so is its identity.
#[derive(Debug)]
pub struct Draft<'a> {
    lab: &'a Complete,
    head: Head,
    layout: Layout,
    /// Members that are in memory, by name.
    documents: BTreeMap<String, Vec<u8>>,
    programs: BTreeMap<String, PathBuf>,
    labels: BTreeMap<Digest, String>,
}

impl<'a> Draft<'a> {
    /// Plans a bundle. Reads the lab's documents and the programs, and no layer.
    ///
    /// # Errors
    /// When a program is none, two are for one platform, or a document cannot be read.
    pub fn new(lab: &'a Complete, contents: Contents) -> Result<Self, BundleError> {
        let lock = lab.lock();
        if let Some(problem) = files_problem(&contents.files.iter().map(|file| file.entry.clone()).collect::<Vec<_>>())
        {
            return Err(BundleError::File { path: PathBuf::from("the lab"), problem });
        }
        let identity = identity(lock);
        let files: Vec<_> = contents.files.iter().map(|file| file.entry.clone()).collect();
        let manifest = document::lab_manifest(&identity, &files);

        let left_out: BTreeSet<Descriptor> = contents.since.iter().flat_map(blobs).collect();
        let mut members: BTreeSet<Descriptor> = lab.descriptors().filter(|blob| !left_out.contains(blob)).collect();
        let index = index(lab, &members, &manifest)?;

        let mut documents = BTreeMap::new();
        let bytes = contents.files.into_iter().map(|file| file.bytes);
        for bytes in bytes.chain([manifest, document::EMPTY.to_vec()]) {
            let descriptor = Descriptor::of(&bytes);
            members.insert(descriptor);
            documents.insert(super::layout::blob_name(&descriptor), bytes);
        }
        let (programs, paths) = describe_programs(&contents.programs)?;
        let head = Head {
            lab: identity,
            since: contents.since.as_ref().map(self::identity),
            index: Descriptor::of(&index),
            programs,
            files,
            blobs: members.into_iter().collect(),
        };
        let text = head.text();
        let layout = Layout::new(&head, &text);
        documents.insert(super::layout::HEAD.to_owned(), text);
        documents.insert(OCI_LAYOUT.to_owned(), OCI_LAYOUT_TEXT.to_vec());
        documents.insert(INDEX.to_owned(), index);
        Ok(Self { lab, head, layout, documents, programs: paths, labels: labels(lock) })
    }

    /// What it will say of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// SHA-256 of the first member; it covers every other byte.
    pub fn id(&self) -> Digest {
        self.layout.members[0].descriptor.digest
    }

    /// Length of the whole in bytes.
    pub fn size(&self) -> u64 {
        self.layout.size
    }

    /// Writes it, in parts of `split` bytes when that is given. Blocks. Returns the files.
    ///
    /// # Errors
    /// When a blob has other bytes than its digest says, or something cannot be read or written; then no file of
    /// the bundle's name is there that was not there before.
    pub fn write(&self, path: &Path, split: Option<u64>, reporter: &dyn Reporter) -> Result<Vec<PathBuf>, BundleError> {
        let mut output = Output::new(path, self.layout.size, split)?;
        let bytes = self.layout.members.iter().map(|member| member.descriptor.size).sum();
        reporter.report(Event::TransfersPlanned { transfers: self.layout.members.len(), bytes });
        piped(
            |pipe| {
                for member in &self.layout.members {
                    self.copy(member, pipe, reporter)?;
                }
                zeros(pipe, END)
            },
            |bytes| output.write(bytes),
        )?;
        output.finish()
    }

    fn copy(&self, member: &Member, pipe: &Pipe, reporter: &dyn Reporter) -> Result<(), BundleError> {
        let id = next_transfer_id();
        let Descriptor { digest, size } = member.descriptor;
        let name = self.labels.get(&digest).unwrap_or(&member.name).clone();
        reporter.report(Event::TransferStarted { id, name, total: Some(size) });
        push(pipe, &member.header())?;
        let mut source = self.open(member)?;
        let (mut hasher, mut copied) = (Hasher::default(), 0);
        while copied < size {
            let count = pipe
                .pass(size - copied, |block| source.read(block), |bytes| hasher.update(bytes))
                .map_err(BundleError::Read)?;
            if count == 0 {
                break;
            }
            copied += count as u64;
            reporter.report(Event::TransferProgress { id, bytes: count as u64 });
        }
        let found = hasher.finish();
        if copied != size || found != digest {
            return Err(BundleError::Member {
                member: self
                    .labels
                    .get(&digest)
                    .map_or_else(|| member.name.clone(), |label| format!("{} ({label})", member.name)),
                expected: format!("{digest} ({size} bytes)"),
                found: format!("{found} ({copied} bytes)"),
                parts: Vec::new(),
            });
        }
        zeros(pipe, member.padding())?;
        reporter.report(Event::TransferFinished { id });
        Ok(())
    }

    fn open(&self, member: &Member) -> Result<Box<dyn Read + '_>, BundleError> {
        if let Some(bytes) = self.documents.get(&member.name) {
            return Ok(Box::new(bytes.as_slice()));
        }
        if let Some(path) = self.programs.get(&member.name) {
            return Ok(Box::new(fs_err::File::open(path).map_err(BundleError::Read)?));
        }
        // Opened by its digest and length, not looked at again: it is hashed now.
        let path = self.lab.store().path_of(&member.descriptor.digest);
        match fs_err::File::open(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(PlanError::Gone(member.descriptor.digest).into())
            }
            Err(error) => Err(BundleError::Read(error)),
        }
    }
}

fn push(pipe: &Pipe, bytes: &[u8]) -> Result<(), BundleError> {
    let fill = |block: &mut [u8]| {
        block.copy_from_slice(bytes);
        Ok(bytes.len())
    };
    pipe.pass(bytes.len() as u64, fill, |_| ()).map(|_| ()).map_err(BundleError::Read)
}

fn zeros(pipe: &Pipe, count: u64) -> Result<(), BundleError> {
    if count == 0 {
        return Ok(());
    }
    let fill = |block: &mut [u8]| {
        block.fill(0);
        Ok(block.len())
    };
    pipe.pass(count, fill, |_| ()).map(|_| ()).map_err(BundleError::Read)
}

/// A lab's name and id.
pub(super) fn identity(lock: &Lock) -> Identity {
    Identity { name: lock.name.clone(), id: lock.lab_id() }
}

/// Every known blob of a lock.
pub(super) fn blobs(lock: &Lock) -> BTreeSet<Descriptor> {
    lock.artifacts().into_iter().flat_map(|artifact| artifact.blobs).map(|blob| blob.descriptor).collect()
}

/// What people call each blob.
pub(super) fn labels(lock: &Lock) -> BTreeMap<Digest, String> {
    let mut labels = BTreeMap::new();
    for artifact in lock.artifacts() {
        for blob in artifact.blobs {
            labels.entry(blob.descriptor.digest).or_insert_with(|| format!("{} {}", artifact.name, blob.role));
        }
    }
    labels
}

/// Looks at programs: what each is for, and the file by the name that it gets.
///
/// # Errors
/// When one is none, or two are for one platform.
pub fn describe_programs(paths: &[PathBuf]) -> Result<(Vec<Program>, BTreeMap<String, PathBuf>), BundleError> {
    let mut programs: Vec<Program> = Vec::new();
    let mut by_name = BTreeMap::new();
    for path in paths {
        let found = program::describe(path)?;
        if by_name.insert(found.name(), path.clone()).is_some() {
            let problem = format!("another one for {} is named as well", found.platform);
            return Err(BundleError::Program { path: path.clone(), problem });
        }
        programs.push(found);
    }
    programs.sort_by_key(|program| program.platform);
    Ok((programs, by_name))
}

/// `index.json` with every image whose blobs are all in the bundle, and the lab's own artifact.
fn index(lab: &Complete, members: &BTreeSet<Descriptor>, manifest: &[u8]) -> Result<Vec<u8>, BundleError> {
    let lock = lab.lock();
    let whole: BTreeSet<String> = lock
        .artifacts()
        .into_iter()
        .filter(|artifact| artifact.blobs.iter().all(|blob| members.contains(&blob.descriptor)))
        .map(|artifact| artifact.name)
        .collect();
    let pulled =
        lock.image.iter().filter(|(name, _)| whole.contains(&format!("image.{name}"))).filter_map(|(_, entry)| {
            let index = entry.index.and_then(|index| index.complete());
            Some(NamedImage {
                reference: entry.want.clone(),
                top: index.or(entry.platforms.values().next().map(|pin| pin.manifest))?,
            })
        });
    let built = lock.app.iter().filter(|(name, _)| whole.contains(&format!("app.{name}"))).filter_map(|(_, entry)| {
        Some(NamedImage { reference: entry.request.reference.clone(), top: entry.platforms.values().next()?.manifest })
    });
    let images: Vec<NamedImage> = pulled.chain(built).collect();
    Ok(lab.store().index_of(&images, vec![document::index_entry(manifest, REF_NAME)])?)
}
