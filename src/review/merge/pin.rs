//! Digests and sizes of one request, known to two sides.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{Digest, Expected, Platform},
    lockfile::{Download, FileEntry, ImageEntry, ImagePin, ManifestEntry, MemberPin, ToolEntry, ToolPin, WheelEntry},
};

/// The rule of every three-way merge: who changed nothing has nothing to say. The outer `None` is a conflict.
pub(super) fn three<T: PartialEq + Clone>(base: Option<&T>, ours: Option<&T>, theirs: Option<&T>) -> Option<Option<T>> {
    if ours == theirs || theirs == base {
        Some(ours.cloned())
    } else if ours == base {
        Some(theirs.cloned())
    } else {
        None
    }
}

/// An entry whose request both sides share.
pub(super) trait Pinned: Clone + PartialEq {
    /// The pins of both sides in one entry; `None` when they contradict each other. `base` is there only when it has
    /// the same request.
    fn united(base: Option<&Self>, ours: &Self, theirs: &Self) -> Option<Self>;
}

/// What is known of some bytes.
pub(super) trait Pin: Clone + PartialEq {
    fn digest(&self) -> Option<Digest>;

    /// This, with the other's knowledge where it has a gap.
    fn filled(&self, other: &Self) -> Self;
}

/// One pin. Two sides that filled different gaps agree; a size or a check that belongs to another digest is no
/// knowledge about this one.
fn pin<P: Pin>(base: Option<&P>, ours: &P, theirs: &P) -> Option<P> {
    if let Some(decided) = three(base, Some(ours), Some(theirs)) {
        return decided;
    }
    let filled = ours.filled(theirs);
    let one_bytes = ours.digest() == theirs.digest() || filled == *ours || filled == *theirs;
    (filled == theirs.filled(ours) && one_bytes).then_some(filled)
}

/// Pins by platform or member. A gap is no decision: what one side knows stays.
pub(super) fn maps<K: Ord + Clone, P: Pin>(
    base: Option<&BTreeMap<K, P>>,
    ours: &BTreeMap<K, P>,
    theirs: &BTreeMap<K, P>,
) -> Option<BTreeMap<K, P>> {
    let keys: BTreeSet<&K> = ours.keys().chain(theirs.keys()).collect();
    let mut united = BTreeMap::new();
    for key in keys {
        let one = match (ours.get(key), theirs.get(key)) {
            (Some(ours), Some(theirs)) => pin(base.and_then(|base| base.get(key)), ours, theirs)?,
            (Some(known), None) | (None, Some(known)) => known.clone(),
            (None, None) => continue,
        };
        united.insert(key.clone(), one);
    }
    Some(united)
}

impl Pin for Expected {
    fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn filled(&self, other: &Self) -> Self {
        Self { digest: self.digest.or(other.digest), size: self.size.or(other.size) }
    }
}

impl Pin for ToolPin {
    fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn filled(&self, other: &Self) -> Self {
        Self {
            url: self.url.clone(),
            digest: self.digest.or(other.digest),
            size: self.size.or(other.size),
            program: self.program.or(other.program),
            checked: self.checked.clone().or(other.checked.clone()),
        }
    }
}

impl Pin for MemberPin {
    fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn filled(&self, other: &Self) -> Self {
        Self { path: self.path.clone(), digest: self.digest.or(other.digest), size: self.size.or(other.size) }
    }
}

impl Pin for Download {
    fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn filled(&self, other: &Self) -> Self {
        Self {
            url: self.url.clone().or(other.url.clone()),
            digest: self.digest.or(other.digest),
            size: self.size.or(other.size),
        }
    }
}

/// An image's pin is whole or it is not there.
impl Pin for ImagePin {
    fn digest(&self) -> Option<Digest> {
        Some(self.manifest.digest)
    }

    fn filled(&self, _other: &Self) -> Self {
        self.clone()
    }
}

impl Pin for FileEntry {
    fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn filled(&self, other: &Self) -> Self {
        Self {
            digest: self.digest.or(other.digest),
            size: self.size.or(other.size),
            checked: self.checked.clone().or(other.checked.clone()),
            ..self.clone()
        }
    }
}

impl Pin for ManifestEntry {
    fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn filled(&self, other: &Self) -> Self {
        Self {
            digest: self.digest.or(other.digest),
            size: self.size.or(other.size),
            checked: self.checked.clone().or(other.checked.clone()),
            ..self.clone()
        }
    }
}

impl Pinned for ToolEntry {
    fn united(base: Option<&Self>, ours: &Self, theirs: &Self) -> Option<Self> {
        let platforms = maps(base.map(|base| &base.platforms), &ours.platforms, &theirs.platforms)?;
        Some(Self { platforms, ..ours.clone() })
    }
}

impl Pinned for FileEntry {
    fn united(base: Option<&Self>, ours: &Self, theirs: &Self) -> Option<Self> {
        let outer = |entry: &Self| Self { member: BTreeMap::new(), ..entry.clone() };
        let archive = pin(base.map(outer).as_ref(), &outer(ours), &outer(theirs))?;
        // Members of an archive that only one side has belong to that side.
        let member = if ours.digest == theirs.digest {
            maps(base.map(|base| &base.member), &ours.member, &theirs.member)?
        } else if archive.digest == ours.digest {
            ours.member.clone()
        } else {
            theirs.member.clone()
        };
        Some(Self { member, ..archive })
    }
}

impl Pinned for ManifestEntry {
    fn united(base: Option<&Self>, ours: &Self, theirs: &Self) -> Option<Self> {
        pin(base, ours, theirs)
    }
}

impl Pinned for WheelEntry {
    fn united(base: Option<&Self>, ours: &Self, theirs: &Self) -> Option<Self> {
        let platforms = maps(base.map(|base| &base.platforms), &ours.platforms, &theirs.platforms)?;
        Some(Self { platforms, ..ours.clone() })
    }
}

impl Pinned for ImageEntry {
    fn united(base: Option<&Self>, ours: &Self, theirs: &Self) -> Option<Self> {
        let digest = |entry: &Self| entry.index.and_then(|index| index.digest);
        if let (Some(we), Some(they)) = (digest(ours), digest(theirs))
            && we != they
        {
            // The platforms of an image come from one index: whoever moved it brings its own.
            let was = base.and_then(digest)?;
            return match (we == was, they == was) {
                (true, _) => Some(theirs.clone()),
                (_, true) => Some(ours.clone()),
                _ => None,
            };
        }
        let index = match (ours.index, theirs.index) {
            (Some(ours), Some(theirs)) => Some(pin(base.and_then(|base| base.index.as_ref()), &ours, &theirs)?),
            (ours, theirs) => ours.or(theirs),
        };
        let platforms: BTreeMap<Platform, ImagePin> =
            maps(base.map(|base| &base.platforms), &ours.platforms, &theirs.platforms)?;
        let mut hints = maps(base.map(|base| &base.hints), &ours.hints, &theirs.hints)?;
        hints.retain(|platform, _| !platforms.contains_key(platform));
        Some(Self { index, platforms, hints, ..ours.clone() })
    }
}
