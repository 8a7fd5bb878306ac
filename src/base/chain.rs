//! How a runtime that keeps unpacked layers names them: by everything that is under them.

use super::Digest;

/// The chain id of each layer from the bottom up (OCI image-spec v1.1, config.md, "Layer ChainID").
///
/// A runtime has a layer when it has the layer's chain: the same files on another base are another layer.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let chain = chains.last().map_or(*diff_id, |below| Digest::of(format!("{below} {diff_id}").as_bytes()));
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_the_layer_and_all_below_it() {
        let [one, two] = [Digest::of(b"1"), Digest::of(b"2")];
        let chains = chain_ids(&[one, two]);
        assert_eq!(chains[0], one, "the lowest layer is its own chain");
        assert_eq!(chains[1], Digest::of(format!("{one} {two}").as_bytes()));
        assert_ne!(chain_ids(&[two, one])[1], chains[1], "the order counts");
        assert_eq!(chain_ids(&[]), []);
    }
}
