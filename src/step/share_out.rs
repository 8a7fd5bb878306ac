//! Which image goes into which stream. Pure.
//!
//! A runtime unpacks one layer of a stream at a time, so two streams keep two cores of the node busy. Images with a
//! common base belong together: in two streams at once the base would be sent twice, and one of them would unpack it
//! for nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Descriptor, Digest};

/// Shares images out over so many streams, so that the streams end at about the same time. `needed` are the layers of
/// each image that have to be sent. The answer holds the images' numbers; no stream is empty.
pub(super) fn share_out(needed: &[Vec<Descriptor>], streams: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..needed.len()).collect();
    order.sort_by_key(|image| std::cmp::Reverse(needed[*image].iter().map(|layer| layer.size).sum::<u64>()));
    let mut shares = vec![Vec::new(); streams.max(1)];
    for image in &order {
        let cheapest = (0..shares.len()).min_by_key(|stream| {
            let with: Vec<usize> = shares[*stream].iter().chain([image]).copied().collect();
            (weight(needed, &with), *stream)
        });
        if let Some(stream) = cheapest {
            shares[stream].push(*image);
        }
    }
    improve(needed, &mut shares);
    for share in &mut shares {
        share.sort_by_key(|image| order.iter().position(|other| other == image));
    }
    shares.retain(|share| !share.is_empty());
    shares
}

/// Moves single images and whole families (those with a common lowest layer) as long as that helps. Each move lowers
/// the longest stream or, with that unchanged, the sum, so it ends.
fn improve(needed: &[Vec<Descriptor>], shares: &mut Vec<Vec<usize>>) {
    let mut families: BTreeMap<Digest, Vec<usize>> = BTreeMap::new();
    for (image, layers) in needed.iter().enumerate() {
        if let Some(base) = layers.first() {
            families.entry(base.digest).or_default().push(image);
        }
    }
    let single = (0..needed.len()).map(|image| vec![image]);
    let moves: Vec<Vec<usize>> = single.chain(families.into_values().filter(|family| family.len() > 1)).collect();
    let mut best = cost(needed, shares);
    let mut found = true;
    while found {
        found = false;
        for images in &moves {
            for stream in 0..shares.len() {
                let mut moved: Vec<Vec<usize>> = shares
                    .iter()
                    .map(|share| share.iter().copied().filter(|image| !images.contains(image)).collect())
                    .collect();
                moved[stream].extend(images);
                let cost = cost(needed, &moved);
                if cost < best {
                    (*shares, best, found) = (moved, cost, true);
                }
            }
        }
    }
}

/// The longest stream, and all of them together.
fn cost(needed: &[Vec<Descriptor>], shares: &[Vec<usize>]) -> (u64, u64) {
    let weights = shares.iter().map(|share| weight(needed, share));
    (weights.clone().max().unwrap_or(0), weights.sum())
}

/// Bytes of a stream: each layer once.
fn weight(needed: &[Vec<Descriptor>], images: &[usize]) -> u64 {
    let layers: BTreeSet<Descriptor> = images.iter().flat_map(|image| needed[*image].iter().copied()).collect();
    layers.iter().map(|layer| layer.size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers by name and size.
    fn layers(layers: &[(&str, u64)]) -> Vec<Descriptor> {
        let layer = |(name, size): &(&str, u64)| Descriptor { digest: Digest::of(name.as_bytes()), size: *size };
        layers.iter().map(layer).collect()
    }

    #[test]
    fn streams_are_balanced_and_lose_nothing() {
        let needed = [layers(&[("a", 10)]), layers(&[("b", 60)]), layers(&[("c", 50)]), layers(&[("d", 5)])];
        let shares = share_out(&needed, 2);
        let mut weights: Vec<u64> = shares.iter().map(|share| weight(&needed, share)).collect();
        weights.sort_unstable();
        assert_eq!(weights, [60, 65]);
        let mut all: Vec<usize> = shares.concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    #[test]
    fn a_common_base_is_sent_once() {
        let needed = [
            layers(&[("debian", 100), ("a", 10)]),
            layers(&[("alpine", 90), ("x", 20)]),
            layers(&[("debian", 100), ("b", 10)]),
            layers(&[("alpine", 90), ("y", 15)]),
        ];
        let shares = share_out(&needed, 2);
        let sets: BTreeSet<BTreeSet<usize>> = shares.into_iter().map(|share| share.into_iter().collect()).collect();
        assert_eq!(sets, BTreeSet::from([BTreeSet::from([0, 2]), BTreeSet::from([1, 3])]));
    }

    #[test]
    fn one_small_base_under_everything_does_not_make_one_stream_of_it() {
        let needed: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| layers(&[("base", 1), (name, 50)])).collect();
        let shares = share_out(&needed, 2);
        assert_eq!(shares.iter().map(|share| weight(&needed, share)).collect::<Vec<_>>(), [101, 101]);
    }

    #[test]
    fn images_without_anything_to_send_are_in_some_stream() {
        assert_eq!(share_out(&[Vec::new(), Vec::new()], 2).concat().len(), 2);
        assert_eq!(share_out(&[layers(&[("a", 1)])], 2).len(), 1);
        assert!(share_out(&[], 2).is_empty());
    }
}
