//! Address ranges, as much as a gate needs: is this address inside?

use std::net::IpAddr;

/// Whether an address lies inside a range such as `10.244.0.0/16`; text that is neither never does.
pub fn contains(range: &str, address: &str) -> bool {
    let Some((network, length)) = range.split_once('/') else { return false };
    let (Ok(network), Ok(length), Ok(address)) = (network.parse(), length.parse::<u32>(), address.parse()) else {
        return false;
    };
    let differing = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if length <= 32 => {
            u128::from(network.to_bits() ^ address.to_bits()) << 96
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if length <= 128 => network.to_bits() ^ address.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn an_address_is_inside_when_its_first_bits_agree() {
        for (range, address, inside) in [
            ("10.244.0.0/16", "10.244.255.1", true),
            ("10.244.0.0/16", "10.245.0.1", false),
            ("10.244.0.0/16", "192.168.49.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("fd00::/8", "fd12::1", true),
            ("10.244.0.0/16", "fd00::1", false),
            ("10.244.0.0/99", "10.244.0.1", false),
            ("10.244.0.0/16", "", false),
        ] {
            assert_eq!(contains(range, address), inside, "{address} in {range}");
        }
    }
}
