//! Who sent which part of a blob. When the whole is not the locked one, this tells whether one source can be blamed,
//! and later, beside the right bytes, which one.

use crate::base::{Descriptor, Digest};

/// Who brought a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// An earlier run, or another process: nobody knows from whom.
    Earlier,
    /// The source of this number.
    Lane(usize),
}

/// Up to `end`, and the digest of everything up to there.
#[derive(Debug, Clone, Copy)]
struct Part {
    who: Who,
    end: u64,
    digest: Digest,
}

/// The parts of one blob, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts(Vec<Part>);

impl Parts {
    /// Takes note that `lane` went on from `kept` to `whole` (both described from the first byte).
    pub(super) fn note(&mut self, kept: Descriptor, lane: usize, whole: Descriptor) {
        self.keep(kept);
        if whole.size > kept.size {
            match self.0.last_mut() {
                Some(last) if last.who == Who::Lane(lane) => (last.end, last.digest) = (whole.size, whole.digest),
                _ => self.0.push(Part { who: Who::Lane(lane), end: whole.size, digest: whole.digest }),
            }
        }
    }

    /// Forgets what is not there any more. What is there and was not noted has come from somebody else.
    pub(super) fn keep(&mut self, kept: Descriptor) {
        let known = self.0.last().is_some_and(|last| (last.end, last.digest) == (kept.size, kept.digest));
        if known {
            return;
        }
        self.0.clear();
        if kept.size > 0 {
            self.0.push(Part { who: Who::Earlier, end: kept.size, digest: kept.digest });
        }
    }

    /// Whether every byte is from this source.
    pub(super) fn are_all_from(&self, lane: usize) -> bool {
        self.0.iter().all(|part| part.who == Who::Lane(lane))
    }

    /// Whether no other source has a part in it.
    pub(super) fn concern_only(&self, lane: usize) -> bool {
        self.0.iter().all(|part| matches!(part.who, Who::Earlier) || part.who == Who::Lane(lane))
    }

    /// Who has a part in it.
    pub(super) fn owners(&self) -> impl Iterator<Item = Who> {
        self.0.iter().map(|part| part.who)
    }

    /// Takes note that `lane` brought the rest, which made it whole.
    pub(super) fn finish(&mut self, lane: usize, whole: Descriptor) {
        let ended = self.0.last().map_or(0, |last| last.end);
        if ended < whole.size {
            self.0.push(Part { who: Who::Lane(lane), end: whole.size, digest: whole.digest });
        }
    }

    /// Where parts end.
    pub(super) fn ends(&self) -> Vec<u64> {
        self.0.iter().map(|part| part.end).collect()
    }

    /// Who sent the first part that is wrong, and from which byte to which, beside the digests that the right bytes
    /// have up to each of [`Parts::ends`].
    pub(super) fn first_wrong(&self, right: &[Digest]) -> Option<(Who, u64, u64)> {
        let wrong = self.0.iter().zip(right).position(|(part, right)| part.digest != *right)?;
        let begin = wrong.checked_sub(1).map_or(0, |before| self.0[before].end);
        Some((self.0[wrong].who, begin, self.0[wrong].end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &[u8] = b"the bytes that are locked";

    fn upto(bytes: &[u8], end: usize) -> Descriptor {
        Descriptor::of(&bytes[..end])
    }

    fn right(parts: &Parts) -> Vec<Digest> {
        parts.ends().into_iter().map(|end| upto(RIGHT, usize::try_from(end).unwrap()).digest).collect()
    }

    #[test]
    fn the_one_who_sent_the_wrong_part_is_found() {
        let sent = b"the bytes XXXX are locked";
        for (liar, cuts) in [(0, [14, 20]), (1, [5, 16]), (2, [3, 9])] {
            let mut parts = Parts::default();
            parts.note(upto(sent, 0), 0, upto(sent, cuts[0]));
            parts.note(upto(sent, cuts[0]), 1, upto(sent, cuts[1]));
            parts.note(upto(sent, cuts[1]), 2, upto(sent, sent.len()));
            assert!(!parts.are_all_from(0));
            let ends = parts.ends();
            let begin = if liar == 0 { 0 } else { ends[liar - 1] };
            assert_eq!(parts.first_wrong(&right(&parts)), Some((Who::Lane(liar), begin, ends[liar])));
        }
    }

    #[test]
    fn one_source_in_several_attempts_is_one_part() {
        let mut parts = Parts::default();
        parts.note(upto(RIGHT, 0), 3, upto(RIGHT, 4));
        parts.note(upto(RIGHT, 4), 3, upto(RIGHT, 9));
        assert!(parts.are_all_from(3));
        assert_eq!((parts.ends(), parts.first_wrong(&right(&parts))), (vec![9], None));
    }

    #[test]
    fn what_an_earlier_run_left_is_nobodys() {
        let old = b"what was there before, it";
        let mut parts = Parts::default();
        parts.note(upto(old, 8), 1, upto(&[&old[..8], &RIGHT[8..]].concat(), RIGHT.len()));
        assert!(!parts.are_all_from(1));
        assert_eq!(parts.first_wrong(&right(&parts)), Some((Who::Earlier, 0, 8)));
    }

    #[test]
    fn a_part_that_was_changed_behind_our_back_is_nobodys() {
        let mut parts = Parts::default();
        parts.note(upto(RIGHT, 0), 1, upto(RIGHT, 10));
        parts.keep(upto(b"something else", 10));
        assert!(!parts.are_all_from(1));
        parts.keep(upto(RIGHT, 0));
        assert!(parts.are_all_from(1), "nothing is left to doubt");
        assert!(parts.ends().is_empty());
    }
}
