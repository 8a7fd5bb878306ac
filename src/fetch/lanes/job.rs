//! One blob on its way, and whom it was asked of.

use std::collections::BTreeMap;

use crate::{
    base::{Descriptor, Digest, report::next_transfer_id},
    fetch::{Failure, FetchError},
    plan::PlannedBlob,
};

use super::{
    lane::{Kind, Lane},
    parts::Parts,
    policy::{BlobView, Stand},
};

/// Failures of one source with one blob before others are preferred.
pub(super) const TRIES: u32 = 2;
/// Nothing more is asked there for this blob.
pub(super) const NEVER: u32 = u32::MAX;

/// A blob on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) blob: PlannedBlob,
    pub(super) id: u64,
    /// Whether its beginning was told.
    pub(super) told: bool,
    /// Who sent what of it is in the partial file.
    pub(super) parts: Parts,
    /// Two sources made a whole that was wrong: now one has to bring all of it.
    pub(super) alone: bool,
    /// The parts of that whole; one of them was wrong.
    pub(super) suspects: Option<Parts>,
    /// Failures by source.
    pub(super) tries: BTreeMap<usize, u32>,
    last: Option<FetchError>,
}

/// One blob for one source.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) job: Job,
    pub(super) lane: usize,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// No other source is left for it.
    pub(super) last: bool,
    /// Whether people should be told whose bytes these are.
    pub(super) choice: bool,
}

impl Assignment {
    pub(super) fn is_upstream(&self) -> bool {
        self.kind == Kind::Upstream
    }
}

impl Job {
    /// A blob that nobody was asked for yet.
    pub(super) fn new(blob: PlannedBlob) -> Self {
        let tries = BTreeMap::new();
        let (parts, suspects) = (Parts::default(), None);
        Self { blob, id: next_transfer_id(), told: false, parts, alone: false, suspects, tries, last: None }
    }

    pub(super) fn stand(&self, index: usize, lane: &Lane) -> Stand {
        let tries = self.tries.get(&index).copied().unwrap_or(0);
        if lane.health.is_gone() || tries == NEVER || !lane.kind.may_have(&self.blob) {
            Stand::Never
        } else if !lane.offers(&self.blob.descriptor.digest) {
            // Another laptop may be asked for it instead; the server will name it, or itself, in a while.
            if lane.peer().is_some() { Stand::Never } else { Stand::Later }
        } else if tries >= TRIES {
            Stand::Unlikely
        } else {
            Stand::May
        }
    }

    pub(super) fn view(&self, lanes: &[Lane]) -> BlobView {
        let stands = lanes.iter().enumerate().map(|(index, lane)| self.stand(index, lane)).collect();
        BlobView { size: self.blob.descriptor.size, stands }
    }

    /// Whether a whole was wrong that several have sent parts of; `last` is who ended it. A page of HTML counts: its
    /// beginning may be another source's.
    pub(super) fn is_mixed(&self, last: usize, error: &FetchError) -> bool {
        matches!(error, FetchError::WrongDigest { .. } | FetchError::Html { .. }) && !self.parts.are_all_from(last)
    }

    /// One source alone brings it next, and its right bytes show whose part was wrong.
    pub(super) fn bring_alone(&mut self, last: usize, error: &FetchError) {
        let digest = match error {
            FetchError::WrongDigest { found, .. } => *found,
            // Any that is not the right one.
            _ => Digest::of(b""),
        };
        let mut suspects = std::mem::take(&mut self.parts);
        suspects.finish(last, Descriptor { digest, size: self.blob.descriptor.size });
        (self.alone, self.suspects) = (true, Some(suspects));
        self.tries.remove(&last);
    }

    /// Remembers the failure that says most: wrong bytes before anything else.
    pub(super) fn remember(&mut self, error: FetchError) {
        if !self.last.as_ref().is_some_and(FetchError::is_integrity) {
            self.last = Some(error);
        }
    }

    /// What to say when nobody is left.
    pub(super) fn failure(self) -> Failure {
        let nobody =
            || FetchError::Address { text: self.blob.label.clone(), problem: "nobody publishes it".to_owned() };
        let error = self.last.unwrap_or_else(nobody).into();
        Failure { blob: self.blob, error }
    }
}
