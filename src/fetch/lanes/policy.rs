//! Which blob from which source next, and when a transfer should change its source. Pure: values in, a decision out;
//! no socket, no clock, no lock.
//!
//! A blob goes to the free source that is expected to be done with it first: what it still has to send, and this blob,
//! at its measured speed. But only if it would be done before all sources together are done with everything, or before
//! a faster one that is busy now: so a source that is ten times as fast gets about ten times the bytes, and a slow one
//! gets none of the last blobs, which would be waited for.

use std::time::Duration;

use super::LanePolicy;

/// What a source is taken to do before anything was measured, when nobody else was measured either.
const UNKNOWN_RATE: f64 = 1_000_000.0;
/// Another source has to promise to be done in this part of the time, or the change is not worth a new connection and
/// hashing the kept part once more.
const WORTH_MOVING: f64 = 3.0;

/// How near a source is to being asked. While one of an earlier rank may have the blob, later ones are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A person named it.
    Named,
    /// Upstream, unless it was named itself.
    Reserve,
    /// It failed too often; asked once more before a blob is given up.
    Benched,
}

/// A source as the decision sees it.
#[derive(Debug, Clone)]
pub(super) struct LaneView {
    pub(super) rank: Rank,
    /// Bytes per second; nothing before it was measured.
    pub(super) rate: Option<f64>,
    /// Bytes of its transfers under way that have not come yet.
    pub(super) outstanding: u64,
    /// Transfers under way.
    pub(super) busy: usize,
    /// Transfers that it may have at once.
    pub(super) places: usize,
    /// How long nothing has come from it at all, while something was asked of it.
    pub(super) silent: Duration,
    /// It failed a moment ago and is left alone for now.
    pub(super) rests: bool,
    /// How dear its bytes are beside those of others: one that costs 4 is used only where the others would take four
    /// times as long.
    pub(super) cost: f64,
}

impl LaneView {
    /// Seconds until it would have sent so many more bytes.
    fn done_after(&self, bytes: u64, unknown: f64) -> f64 {
        (self.outstanding + bytes) as f64 / self.rate.unwrap_or(unknown).max(1.0) * self.cost
    }
}

/// What may still be asked for one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// Yes.
    May,
    /// It failed with this blob, or says that it does not have it yet: only when nobody else is left.
    Unlikely,
    /// Not now. While that may change, nobody of a later rank is asked.
    Later,
    /// No more.
    Never,
}

/// A blob that nobody brings yet.
#[derive(Debug, Clone)]
pub(super) struct BlobView {
    /// Bytes that are still to come.
    pub(super) size: u64,
    /// One for each source.
    pub(super) stands: Vec<Stand>,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Bring this blob from this source. `last`: no other source is left for it.
    Begin { blob: usize, lane: usize, last: bool },
    /// No source is left for this blob.
    GiveUp { blob: usize },
    /// Nothing now; something under way, or a rest, has to end first.
    Wait,
    /// There is no blob.
    Nothing,
}

/// Decides what to do next. Blobs come in order of preference; `waiting` are the bytes of all of them.
pub(super) fn next(blobs: impl IntoIterator<Item = BlobView>, waiting: u64, lanes: &[LaneView]) -> Step {
    let mut step = Step::Nothing;
    for (index, blob) in blobs.into_iter().enumerate() {
        match choose(&blob, waiting, lanes) {
            Choice::Lane { lane, last } => return Step::Begin { blob: index, lane, last },
            Choice::Nobody => return Step::GiveUp { blob: index },
            Choice::Wait => step = Step::Wait,
        }
    }
    step
}

enum Choice {
    Lane { lane: usize, last: bool },
    Nobody,
    Wait,
}

fn choose(blob: &BlobView, waiting: u64, lanes: &[LaneView]) -> Choice {
    let asked = candidates(blob, lanes);
    let Some(rank) = asked.iter().map(|(_, rank)| *rank).min() else { return Choice::Nobody };
    let last = asked.len() == 1;
    // Who is the only one left is asked with its own pauses between attempts; a rest would come on top of them.
    let ready = asked
        .into_iter()
        .filter(|(lane, found)| *found == rank && blob.stands[*lane] != Stand::Later && (last || !lanes[*lane].rests));
    let (free, full): (Vec<usize>, Vec<usize>) =
        ready.map(|(lane, _)| lane).partition(|lane| lanes[*lane].busy < lanes[*lane].places);
    let Some((lane, done)) = soonest(&free, blob.size, lanes) else { return Choice::Wait };
    let busy = soonest(&full, blob.size, lanes).map_or(f64::INFINITY, |(_, done)| done);
    let everything = everything_done(free.iter().chain(&full).map(|lane| &lanes[*lane]), waiting, fastest(lanes));
    // Else it would be the last one under way, and a faster one that is busy now would have been done before it.
    if done <= busy.max(everything) { Choice::Lane { lane, last } } else { Choice::Wait }
}

/// Seconds until these sources together are done with everything.
fn everything_done<'a>(ready: impl Iterator<Item = &'a LaneView>, waiting: u64, unknown: f64) -> f64 {
    let add =
        |(bytes, rate): (u64, f64), lane: &LaneView| (bytes + lane.outstanding, rate + lane.rate.unwrap_or(unknown));
    let (bytes, rate) = ready.fold((waiting, 0.0), add);
    bytes as f64 / rate.max(1.0)
}

/// The sources that may be asked, each with its rank for this blob.
fn candidates(blob: &BlobView, lanes: &[LaneView]) -> Vec<(usize, Rank)> {
    let rank = |(lane, stand): (usize, &Stand)| match stand {
        Stand::Never => None,
        Stand::Unlikely => Some((lane, Rank::Benched)),
        Stand::May | Stand::Later => Some((lane, lanes[lane].rank)),
    };
    blob.stands.iter().enumerate().filter_map(rank).collect()
}

/// Who would be done first, and after how many seconds. The one named first, when two would.
fn soonest(ready: &[usize], bytes: u64, lanes: &[LaneView]) -> Option<(usize, f64)> {
    let fastest = fastest(lanes);
    let done = ready.iter().map(|lane| (*lane, lanes[*lane].done_after(bytes, fastest)));
    done.reduce(|best, next| if next.1 < best.1 { next } else { best })
}

/// Who was not measured is taken to be as fast as the fastest: so it is tried early, and then measured.
fn fastest(lanes: &[LaneView]) -> f64 {
    lanes.iter().filter_map(|lane| lane.rate).reduce(f64::max).unwrap_or(UNKNOWN_RATE)
}

/// A transfer under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Underway {
    pub(super) lane: usize,
    /// How long it has been watched.
    pub(super) watched: Duration,
    /// How long nothing has come.
    pub(super) silent: Duration,
    /// Bytes per second.
    pub(super) rate: f64,
    /// Bytes to come.
    pub(super) remaining: u64,
}

/// Why a transfer should go on from another source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing comes any more.
    Silent,
    /// Another source would be done much sooner.
    Slow,
}

/// Whether a transfer should be taken from its source and given to another one that is ready for it.
pub(super) fn moves(transfer: Underway, blob: &BlobView, lanes: &[LaneView], limits: &LanePolicy) -> Option<Move> {
    let others = candidates(blob, lanes).into_iter().filter(|(lane, _)| *lane != transfer.lane);
    let ready = others.filter(|(lane, rank)| {
        let view = &lanes[*lane];
        *rank != Rank::Benched && !view.rests && blob.stands[*lane] == Stand::May && view.busy < view.places
    });
    let (named, reserve): (Vec<_>, Vec<_>) = ready.partition(|(_, rank)| *rank == Rank::Named);
    let lanes_of = |ready: &[(usize, Rank)]| ready.iter().map(|(lane, _)| *lane).collect::<Vec<_>>();
    // One of many transfers over a crowded air may starve for seconds (TCP waits twice as long after each loss) while
    // its neighbours come: for upstream, which thirty laptops would ask at once, the source as a whole has to be dead.
    let source = &lanes[transfer.lane];
    let is_dead = source.silent >= limits.silence;
    if transfer.silent >= limits.silence && !(named.is_empty() && (reserve.is_empty() || !is_dead)) {
        return Some(Move::Silent);
    }
    if transfer.watched < limits.watch {
        return None;
    }
    let left = transfer.remaining as f64 / transfer.rate.max(1.0);
    if left <= limits.watch.as_secs_f64() {
        // It is nearly there.
        return None;
    }
    let sooner =
        soonest(&lanes_of(&named), transfer.remaining, lanes).is_some_and(|(_, done)| done * WORTH_MOVING < left);
    // Upstream is spared, unless the source is as good as dead.
    let crawls = source.rate.unwrap_or(0.0).max(transfer.rate) < limits.floor as f64 && !reserve.is_empty();
    (sooner || crawls).then_some(Move::Slow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lane(rank: Rank, rate: Option<f64>) -> LaneView {
        LaneView { rank, rate, outstanding: 0, busy: 0, places: 8, silent: Duration::ZERO, rests: false, cost: 1.0 }
    }

    fn blob(size: u64, lanes: usize) -> BlobView {
        BlobView { size, stands: vec![Stand::May; lanes] }
    }

    fn decide(blobs: &[BlobView], lanes: &[LaneView]) -> Step {
        next(blobs.iter().cloned(), blobs.iter().map(|blob| blob.size).sum(), lanes)
    }

    fn any_lane() -> impl Strategy<Value = LaneView> {
        let rank = prop_oneof![Just(Rank::Named), Just(Rank::Reserve), Just(Rank::Benched)];
        let rate = proptest::option::of(1.0..1e9);
        (rank, rate, 0_u64..1 << 32, 0_usize..4, 1_usize..4, any::<bool>(), 1.0..8.0).prop_map(
            |(rank, rate, outstanding, busy, places, rests, cost)| LaneView {
                rank,
                rate,
                outstanding: if busy == 0 { 0 } else { outstanding },
                busy,
                places,
                silent: Duration::ZERO,
                rests,
                cost,
            },
        )
    }

    fn any_case() -> impl Strategy<Value = (Vec<BlobView>, Vec<LaneView>)> {
        let stand = prop_oneof![Just(Stand::May), Just(Stand::Unlikely), Just(Stand::Never)];
        proptest::collection::vec(any_lane(), 1..6).prop_flat_map(move |lanes| {
            let stands = proptest::collection::vec(stand.clone(), lanes.len());
            let blob = (0_u64..1 << 32, stands).prop_map(|(size, stands)| BlobView { size, stands });
            (proptest::collection::vec(blob, 0..8), Just(lanes))
        })
    }

    proptest! {
        #[test]
        fn what_begins_may_begin((blobs, lanes) in any_case()) {
            match decide(&blobs, &lanes) {
                Step::Begin { blob, lane, last } => {
                    let (stands, view) = (&blobs[blob].stands, &lanes[lane]);
                    prop_assert!(stands[lane] != Stand::Never);
                    prop_assert!(view.busy < view.places && (last || !view.rests));
                    let others = stands.iter().filter(|stand| **stand != Stand::Never).count();
                    prop_assert_eq!(last, others == 1);
                    let mine = if stands[lane] == Stand::Unlikely { Rank::Benched } else { view.rank };
                    for (other, stand) in stands.iter().enumerate() {
                        let nearer = *stand == Stand::May && lanes[other].rank < mine;
                        prop_assert!(!nearer, "source {} comes before {}", other, lane);
                    }
                }
                Step::GiveUp { blob } => {
                    prop_assert!(blobs[blob].stands.iter().all(|stand| *stand == Stand::Never));
                }
                Step::Wait => prop_assert!(!blobs.is_empty()),
                Step::Nothing => prop_assert!(blobs.is_empty()),
            }
        }

        /// Or a run would wait for ever.
        #[test]
        fn nobody_waits_when_nothing_is_under_way_and_nobody_rests((blobs, mut lanes) in any_case()) {
            for lane in &mut lanes {
                (lane.busy, lane.outstanding, lane.rests) = (0, 0, false);
            }
            prop_assert!(blobs.is_empty() || decide(&blobs, &lanes) != Step::Wait);
        }

        #[test]
        fn a_transfer_moves_only_to_somebody_who_is_ready(
            (mut blobs, lanes) in any_case(),
            rate in 0.0..1e9,
            remaining in 0_u64..1 << 40,
            watched in 0_u64..60,
            silent in 0_u64..60,
        ) {
            let limits = LanePolicy::default();
            let Some(blob) = blobs.pop() else { return Ok(()) };
            let seconds = Duration::from_secs;
            let transfer = Underway { lane: 0, watched: seconds(watched), silent: seconds(silent), rate, remaining };
            if moves(transfer, &blob, &lanes, &limits).is_some() {
                let ready = |(lane, view): (usize, &LaneView)| lane != 0 && !view.rests && view.busy < view.places
                    && view.rank != Rank::Benched && blob.stands[lane] == Stand::May;
                prop_assert!(lanes.iter().enumerate().any(ready));
                prop_assert!(seconds(silent) >= limits.silence || seconds(watched) >= limits.watch);
            }
        }

        /// List scheduling on machines of different speed: never worse than three times what is possible at all.
        #[test]
        fn blobs_are_spread_so_that_the_end_is_near_the_best_possible(
            mut sizes in proptest::collection::vec(1_u64..1_000_000, 1..60),
            rates in proptest::collection::vec(1_000.0_f64..1_000_000.0, 1..6),
        ) {
            sizes.sort_by_key(|size| std::cmp::Reverse(*size));
            let (took, _) = simulate(&sizes, &rates);
            let total: u64 = sizes.iter().sum();
            let fastest = rates.iter().copied().fold(0.0, f64::max);
            let possible = (total as f64 / rates.iter().sum::<f64>()).max(sizes[0] as f64 / fastest);
            prop_assert!(took <= 3.0 * possible, "{took} s, possible {possible} s");
        }
    }

    /// Runs the decisions with sources of these speeds, one transfer at a time each; seconds, and bytes of each.
    fn simulate(sizes: &[u64], rates: &[f64]) -> (f64, Vec<u64>) {
        let mut blobs: Vec<BlobView> = sizes.iter().map(|size| blob(*size, rates.len())).collect();
        let mut lanes: Vec<LaneView> =
            rates.iter().map(|rate| LaneView { places: 1, ..lane(Rank::Named, Some(*rate)) }).collect();
        let (mut now, mut bytes) = (0.0, vec![0; rates.len()]);
        // For each lane the end of its transfer.
        let mut ends: Vec<Option<f64>> = vec![None; rates.len()];
        loop {
            for (lane, end) in lanes.iter_mut().zip(&ends) {
                lane.outstanding = end.map_or(0, |end| ((end - now) * lane.rate.unwrap()) as u64);
                lane.busy = usize::from(end.is_some());
            }
            match decide(&blobs, &lanes) {
                Step::Begin { blob, lane, .. } => {
                    let size = blobs.remove(blob).size;
                    bytes[lane] += size;
                    ends[lane] = Some(now + size as f64 / rates[lane]);
                }
                Step::GiveUp { .. } => panic!("there are sources"),
                Step::Wait | Step::Nothing => {
                    let Some(first) = ends.iter().flatten().copied().reduce(f64::min) else { return (now, bytes) };
                    now = first;
                    ends.iter_mut().filter(|end| end.is_some_and(|end| end <= now)).for_each(|end| *end = None);
                }
            }
        }
    }

    #[test]
    fn bytes_follow_speed() {
        let (_, bytes) = simulate(&[10_000; 110], &[1_000_000.0, 100_000.0]);
        assert!((97..=103).contains(&(bytes[0] / 10_000)), "{bytes:?}");
    }

    #[test]
    fn a_slow_source_is_not_left_with_the_last_blob() {
        // One blob, a source that was measured to be slow and is free, a fast one that is busy for two seconds.
        let mut lanes = [lane(Rank::Named, Some(1_000.0)), lane(Rank::Named, Some(1_000_000.0))];
        (lanes[1].busy, lanes[1].places, lanes[1].outstanding) = (1, 1, 2_000_000);
        assert_eq!(decide(&[blob(1_000_000, 2)], &lanes), Step::Wait);
        assert_eq!(decide(&[blob(1_000, 2)], &lanes), Step::Begin { blob: 0, lane: 0, last: false });
    }

    #[test]
    fn who_was_not_measured_is_tried() {
        let mut lanes = [lane(Rank::Named, Some(5_000_000.0)), lane(Rank::Named, None)];
        (lanes[0].busy, lanes[0].outstanding) = (1, 1_000);
        assert_eq!(decide(&[blob(1_000, 2)], &lanes), Step::Begin { blob: 0, lane: 1, last: false });
    }

    #[test]
    fn upstream_is_left_alone_until_no_named_source_is_left() {
        let mut lanes = [lane(Rank::Named, None), lane(Rank::Reserve, Some(1e9))];
        lanes[0].rests = true;
        assert_eq!(decide(&[blob(1, 2)], &lanes), Step::Wait, "a rest is waited for");
        let lacking = BlobView { size: 1, stands: vec![Stand::Never, Stand::May] };
        assert_eq!(decide(&[lacking], &lanes), Step::Begin { blob: 0, lane: 1, last: true });
        lanes[0].rank = Rank::Benched;
        assert_eq!(decide(&[blob(1, 2)], &lanes), Step::Begin { blob: 0, lane: 1, last: false });
        let gone = BlobView { size: 1, stands: vec![Stand::May, Stand::Never] };
        lanes[0].rests = false;
        assert_eq!(decide(&[gone], &lanes), Step::Begin { blob: 0, lane: 0, last: true }, "and then once more");
    }

    #[test]
    fn what_is_named_later_is_waited_for_and_what_is_named_now_is_taken() {
        // The room's server, a laptop, upstream.
        let lanes = [lane(Rank::Named, None), lane(Rank::Named, None), lane(Rank::Reserve, Some(1e9))];
        let stands = |stands: [Stand; 3]| BlobView { size: 1, stands: stands.to_vec() };
        let unnamed = stands([Stand::Later, Stand::Never, Stand::May]);
        assert_eq!(decide(std::slice::from_ref(&unnamed), &lanes), Step::Wait, "upstream is spared");
        let named = stands([Stand::Later, Stand::May, Stand::May]);
        assert_eq!(decide(&[unnamed, named], &lanes), Step::Begin { blob: 1, lane: 1, last: false });
        let no_server = stands([Stand::Never, Stand::Never, Stand::May]);
        assert_eq!(decide(&[no_server], &lanes), Step::Begin { blob: 0, lane: 2, last: true });
    }

    #[test]
    fn a_drip_is_left_and_upstream_is_spared_for_anything_better() {
        let limits = LanePolicy::default();
        let lanes = [lane(Rank::Named, Some(100.0)), lane(Rank::Named, Some(1e6)), lane(Rank::Reserve, Some(1e9))];
        let drip =
            Underway { lane: 0, watched: limits.watch, silent: Duration::ZERO, rate: 100.0, remaining: 1_000_000 };
        let all = blob(1_000_000, 3);
        assert_eq!(moves(drip, &all, &lanes, &limits), Some(Move::Slow));
        assert_eq!(moves(Underway { watched: Duration::ZERO, ..drip }, &all, &lanes, &limits), None, "not at once");
        assert_eq!(moves(Underway { remaining: 10, ..drip }, &all, &lanes, &limits), None, "it is nearly there");
        let no_peer = BlobView { stands: vec![Stand::May, Stand::Never, Stand::May], ..all.clone() };
        assert_eq!(moves(drip, &no_peer, &lanes, &limits), Some(Move::Slow), "as good as dead");
        let poor = Underway { rate: limits.floor as f64 * 2.0, ..drip };
        assert_eq!(moves(poor, &no_peer, &lanes, &limits), None, "slow, and not upstream's concern");
        let alone = BlobView { stands: vec![Stand::May, Stand::Never, Stand::Never], ..all };
        let silent = Underway { silent: Duration::from_secs(3600), ..drip };
        assert_eq!(moves(silent, &alone, &lanes, &limits), None, "there is nobody else");
        let dead = [LaneView { silent: limits.silence, ..lanes[0].clone() }, lanes[1].clone(), lanes[2].clone()];
        assert_eq!(moves(silent, &no_peer, &dead, &limits), Some(Move::Silent));
    }

    #[test]
    fn one_transfer_that_starves_beside_others_does_not_send_a_room_to_upstream() {
        let limits = LanePolicy::default();
        let lanes = [lane(Rank::Named, Some(1e6)), lane(Rank::Named, Some(1e6)), lane(Rank::Reserve, Some(1e9))];
        let starved =
            Underway { lane: 0, watched: limits.silence, silent: limits.silence, rate: 0.0, remaining: 1 << 30 };
        let without_peer = BlobView { stands: vec![Stand::May, Stand::Never, Stand::May], ..blob(1 << 30, 3) };
        assert_eq!(moves(starved, &without_peer, &lanes, &limits), None);
        let with_peer = blob(1 << 30, 3);
        assert_eq!(
            moves(starved, &with_peer, &lanes, &limits),
            Some(Move::Silent),
            "another laptop costs nobody anything"
        );
    }
}
