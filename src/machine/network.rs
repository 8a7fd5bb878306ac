//! Routes of this machine that a lab's addresses would collide with.

use std::net::Ipv4Addr;

use super::{Facts, Finding, Needs, Route};

/// Ranges of a lab beside the pods' own: kubeadm's default for Services, and the first network that Minikube's docker
/// driver takes (kubernetes/minikube v1.32.0, `pkg/drivers/kic/oci/network_create.go:38`).
const SERVICES: &str = "10.96.0.0/12";
const NODE: &str = "192.168.49.0/24";
/// Interfaces that Docker, a lab itself or another cluster on this machine makes.
const OWN: [&str; 8] = ["docker", "br-", "veth", "cni", "cali", "vxlan", "tunl", "bridge"];

pub(super) fn routes(facts: &Facts, needs: &Needs) -> Finding {
    let foreign = |route: &&Route| !OWN.iter().any(|prefix| route.interface.starts_with(prefix));
    for (what, range) in [("pods", needs.pod_cidr.as_str()), ("Services", SERVICES), ("node", NODE)] {
        let Some((network, length)) = parse(range) else { continue };
        let clash = facts.routes.iter().filter(foreign).find(|route| {
            let shared = length.min(route.length);
            shared > 0 && (network.to_bits() ^ route.network.to_bits()).leading_zeros() >= shared
        });
        if let Some(route) = clash {
            return Finding::warning(
                "routes",
                format!(
                    "{}/{} goes to {}, and the lab's {what} have {range}: one of the two cannot be reached",
                    route.network, route.length, route.interface
                ),
                format!("disconnect the VPN or network behind {} while the lab runs", route.interface),
            );
        }
    }
    Finding::fit("routes", format!("{} routes, none over the lab's addresses", facts.routes.len()))
}

pub(super) fn ports(facts: &Facts) -> Finding {
    match facts.taken_ports.first() {
        None => Finding::fit("ports", "the ports of `ztlab open` are free"),
        Some(port) => {
            let what = super::gather::PORTS.iter().find(|(_, known)| known == port).map_or("app", |(name, _)| *name);
            Finding::warning(
                "ports",
                format!("something listens on 127.0.0.1:{port}, where `ztlab open {what}` would"),
                format!("ztlab open {what} --port {}", port.saturating_add(10_000)),
            )
        }
    }
}

/// `10.244.0.0/16`, also with missing zeros (`10.244/16`) and without a length, as BSD's netstat writes.
pub(super) fn parse(text: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let parts: Vec<u8> = address.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    let mut octets = [0; 4];
    octets.get_mut(..parts.len())?.copy_from_slice(&parts);
    let length = match length {
        Some(length) => length.parse().ok().filter(|length| *length <= 32)?,
        None => 8 * u32::try_from(parts.len()).ok()?,
    };
    Some((Ipv4Addr::from(octets), length))
}

/// The routes of `netstat -rn -f inet` (macOS).
pub(super) fn of_netstat(text: &str) -> Vec<Route> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (network, length) = parse(words.first()?)?;
        Some(Route { network, length, interface: (*words.get(3)?).to_owned() })
    };
    text.lines().filter_map(route).filter(is_no_default).collect()
}

/// The routes of `/proc/net/route` (Linux): hexadecimal words in the machine's byte order.
pub(super) fn of_proc(text: &str) -> Vec<Route> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = |word: &str| u32::from_str_radix(word, 16).ok().map(u32::from_be);
        let length = address(words.get(7)?)?.count_ones();
        Some(Route {
            network: Ipv4Addr::from_bits(address(words.get(1)?)?),
            length,
            interface: (*words.first()?).to_owned(),
        })
    };
    text.lines().skip(1).filter_map(route).filter(is_no_default).collect()
}

/// A default route overlaps with everything and collides with nothing: longer ones win. Loopback stays at home.
fn is_no_default(route: &Route) -> bool {
    route.length > 1 && !route.network.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(routes: &[Route]) -> Vec<String> {
        routes.iter().map(|route| format!("{}/{} {}", route.network, route.length, route.interface)).collect()
    }

    #[test]
    fn routes_of_a_mac_are_read() {
        let text = "Routing tables\n\nInternet:\nDestination        Gateway            Flags               Netif Expire\n\
                    default            192.168.1.1        UGScg                 en0\n\
                    10.244/16          link#20            UCS                 utun4\n\
                    10                 172.16.0.1         UGSc                utun5\n\
                    127                127.0.0.1          UCS                   lo0\n\
                    192.168.1          link#11            UCS                   en0      !\n\
                    192.168.1.5/32     link#11            UCS                   en0      !\n";
        let expected = ["10.244.0.0/16 utun4", "10.0.0.0/8 utun5", "192.168.1.0/24 en0", "192.168.1.5/32 en0"];
        assert_eq!(written(&of_netstat(text)), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_of_linux_are_read() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    tun0\t0000F40A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(written(&of_proc(text)), ["10.244.0.0/16 tun0"]);
    }
}
