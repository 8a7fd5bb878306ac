//! `ztlab store du`: who needs how much. What several need is there once, and counted once.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::{Descriptor, Digest},
    store::Roots,
};

use super::{
    Context, LabState,
    known::{self, Standing},
};

/// What `store du` shows. All figures are bytes on disk unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// By kind of artifact, over all known labs.
    pub kinds: Vec<KindUsage>,
    /// By lab.
    pub labs: Vec<LabUsage>,
    /// Blobs.
    pub blobs: usize,
    /// Their bytes, each blob once.
    pub bytes: u64,
    /// Bytes of blobs that several kinds need.
    pub shared_by_kinds: u64,
    /// Bytes of blobs that several labs need.
    pub shared_by_labs: u64,
    /// Bytes that no known lab reaches, partial downloads and other leftovers included: `gc` removes them.
    pub garbage: u64,
}

/// One kind of artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KindUsage {
    /// `image`, `tool`, …
    pub kind: String,
    /// Blobs that are here.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, what another kind needs as well.
    pub shared: u64,
}

/// One lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabUsage {
    /// Its name.
    pub name: String,
    /// Its lock.
    pub lock: std::path::PathBuf,
    /// What became of the lock.
    #[serde(flatten)]
    pub standing: Standing,
    /// Blobs that are here.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, what another lab needs as well.
    pub shared: u64,
    /// Blobs that it needs and that are not here.
    pub missing: usize,
}

/// Counts. Blocks: touched blobs are read again.
///
/// # Errors
/// When the store cannot be read, or nobody can say what a lab needs.
pub fn du(context: &Context) -> miette::Result<Usage> {
    let store = context.open_store()?;
    let present = store.present()?;
    let states = known::known_labs(context, &store)?;
    let garbage = store.garbage(&Roots::of(states.iter().map(|state| &state.lab)))?;
    Ok(count(&present, &states, garbage.bytes()))
}

fn count(present: &BTreeMap<Digest, u64>, states: &[LabState], garbage: u64) -> Usage {
    let here = |blob: &Descriptor| present.get(&blob.digest) == Some(&blob.size);
    let mut by_kind: BTreeMap<String, BTreeSet<Descriptor>> = BTreeMap::new();
    for state in states {
        for (artifact, blobs) in &state.lab.artifacts {
            let kind = artifact.split('.').next().unwrap_or_default().to_owned();
            by_kind.entry(kind).or_default().extend(blobs.iter().filter(|blob| here(blob)));
        }
    }
    let by_lab: Vec<BTreeSet<Descriptor>> =
        states.iter().map(|state| state.lab.blobs().into_iter().filter(here).collect()).collect();
    let several_kinds = in_several(by_kind.values());
    let several_labs = in_several(&by_lab);
    let kinds = by_kind.into_iter().map(|(kind, blobs)| KindUsage {
        kind,
        blobs: blobs.len(),
        bytes: sum(&blobs),
        shared: sum(blobs.intersection(&several_kinds)),
    });
    let labs = states.iter().zip(&by_lab).map(|(state, blobs)| LabUsage {
        name: state.name.clone(),
        lock: state.lock.clone(),
        standing: state.standing.clone(),
        blobs: blobs.len(),
        bytes: sum(blobs),
        shared: sum(blobs.intersection(&several_labs)),
        missing: state.lab.blobs().len() - blobs.len(),
    });
    Usage {
        kinds: kinds.collect(),
        labs: labs.collect(),
        blobs: present.len(),
        bytes: present.values().sum(),
        shared_by_kinds: sum(&several_kinds),
        shared_by_labs: sum(&several_labs),
        garbage,
    }
}

fn sum<'blobs>(blobs: impl IntoIterator<Item = &'blobs Descriptor>) -> u64 {
    blobs.into_iter().map(|blob| blob.size).sum()
}

/// What is in more than one of these.
fn in_several<'sets>(sets: impl IntoIterator<Item = &'sets BTreeSet<Descriptor>>) -> BTreeSet<Descriptor> {
    let mut seen: BTreeMap<Descriptor, usize> = BTreeMap::new();
    for blob in sets.into_iter().flatten() {
        *seen.entry(*blob).or_default() += 1;
    }
    seen.into_iter().filter(|(_, times)| *times > 1).map(|(blob, _)| blob).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KnownLab;

    #[test]
    fn what_several_need_is_counted_once_and_said() {
        let [base, layer, tool, other] = [&b"base"[..], b"a layer", b"tool", b"other"].map(Descriptor::of);
        let absent = Descriptor::of(b"absent");
        let state = |name: &str, artifacts: &[(&str, &[Descriptor])]| {
            let artifacts = artifacts.iter().map(|(name, blobs)| ((*name).to_owned(), blobs.to_vec())).collect();
            let (id, lock) = (Digest::of(name.as_bytes()), format!("/{name}/lock/ztlab.lock").into());
            let lab = KnownLab { lock, name: name.to_owned(), id, artifacts, images: Vec::new() };
            LabState { name: lab.name.clone(), lock: lab.lock.clone(), lab, standing: Standing::Current }
        };
        let states = [
            state("one", &[("image.a", &[base, layer]), ("app.b", &[base]), ("tool.t", &[tool, absent])]),
            state("two", &[("image.a", &[base]), ("image.c", &[base])]),
        ];
        let present = [base, layer, tool, other].iter().map(|blob| (blob.digest, blob.size)).collect();
        let usage = count(&present, &states, 5);
        let kind = |name: &str| usage.kinds.iter().find(|kind| kind.kind == name).unwrap();
        assert_eq!((kind("image").blobs, kind("image").bytes, kind("image").shared), (2, 11, 4));
        assert_eq!((kind("app").bytes, kind("app").shared), (4, 4));
        assert_eq!((kind("tool").bytes, kind("tool").shared), (4, 0));
        assert_eq!((usage.bytes, usage.shared_by_kinds, usage.shared_by_labs, usage.garbage), (20, 4, 4, 5));
        let lab = |number: usize| (usage.labs[number].bytes, usage.labs[number].shared, usage.labs[number].missing);
        assert_eq!((lab(0), lab(1)), ((15, 4, 1), (4, 4, 0)));
        // Kinds overlap, and so do labs: what they share is what the sums have too much.
        let sum: u64 = usage.kinds.iter().map(|kind| kind.bytes).sum();
        assert_eq!(sum - usage.shared_by_kinds + 5, usage.bytes);
    }
}
