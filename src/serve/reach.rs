//! What a bound address means: from where the server can be reached, by which addresses.

use std::net::{IpAddr, SocketAddr};

/// From where a server can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Addresses to type, each with the network interface that it is on.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Whether other machines reach it.
    pub beyond_this_machine: bool,
}

/// Lists by which addresses a listener can be reached: its own, or those of every interface where it is bound to all.
/// Loopback comes last among several.
pub fn reach(bound: SocketAddr) -> Reach {
    let own: Vec<(String, IpAddr)> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|found| (found.name.clone(), found.ip()))
        .collect();
    reach_among(bound, &own)
}

fn reach_among(bound: SocketAddr, own: &[(String, IpAddr)]) -> Reach {
    let ip = bound.ip();
    let name_of = |ip: IpAddr| own.iter().find(|(_, own)| *own == ip).map_or(String::new(), |(name, _)| name.clone());
    if !ip.is_unspecified() {
        return Reach { addresses: vec![(name_of(ip), bound)], beyond_this_machine: !ip.is_loopback() };
    }
    // A socket on `::` takes IPv4 as well; a link-local address of IPv6 works only with the name of an interface
    // that differs on the other side.
    let typed = |ip: &IpAddr| match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(six) => bound.is_ipv6() && !six.is_unicast_link_local(),
    };
    let mut addresses: Vec<(String, SocketAddr)> = own
        .iter()
        .filter(|(_, ip)| typed(ip))
        .map(|(name, ip)| (name.clone(), SocketAddr::new(*ip, bound.port())))
        .collect();
    addresses.sort_by_key(|(_, address)| (address.ip().is_loopback(), address.is_ipv6()));
    Reach { addresses, beyond_this_machine: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_to_type_are_listed() {
        let own = [
            ("lo".to_owned(), IpAddr::from([127, 0, 0, 1])),
            ("wlan0".to_owned(), IpAddr::from([192, 168, 1, 5])),
            ("wlan0".to_owned(), "fe80::1".parse().unwrap()),
            ("wlan0".to_owned(), "fd00::5".parse().unwrap()),
        ];
        let shown = |bound: &str| {
            let reach = reach_among(bound.parse().unwrap(), &own);
            let list: Vec<String> = reach.addresses.iter().map(|(name, address)| format!("{name} {address}")).collect();
            (list.join(", "), reach.beyond_this_machine)
        };
        assert_eq!(shown("127.0.0.1:8642"), ("lo 127.0.0.1:8642".to_owned(), false));
        assert_eq!(shown("[::1]:8642"), (" [::1]:8642".to_owned(), false));
        assert_eq!(shown("192.168.1.5:1"), ("wlan0 192.168.1.5:1".to_owned(), true));
        assert_eq!(shown("0.0.0.0:1"), ("wlan0 192.168.1.5:1, lo 127.0.0.1:1".to_owned(), true));
        assert_eq!(shown("[::]:1").0, "wlan0 192.168.1.5:1, wlan0 [fd00::5]:1, lo 127.0.0.1:1");
    }
}
