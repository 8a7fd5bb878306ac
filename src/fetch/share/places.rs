//! Addresses of the room: which of this machine faces the server, and which of others may be asked.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use url::Url;

/// This machine has no address that faces the server.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("no address of this machine leads to {server}")]
#[diagnostic(code(fetch::share), help("name the address to serve at: `--share=ADDRESS`"))]
pub struct PlaceError {
    server: String,
    source: io::Error,
}

/// The address of this machine that its packets to the server would carry: others in the server's network reach it there.
/// Sends nothing.
///
/// # Errors
/// When the server's name has no address, or nothing leads there.
pub async fn address_towards(server: &Url) -> Result<IpAddr, PlaceError> {
    let error = |source| PlaceError { server: super::shown(server), source };
    let host = server.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = server.port_or_known_default().unwrap_or(80);
    let mut found = tokio::net::lookup_host((host, port)).await.map_err(error)?;
    let server = found.next().ok_or_else(|| error(io::ErrorKind::NotFound.into()))?;
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // To connect a socket for datagrams is to look up the way, and no more.
    let way = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(server)?;
        socket.local_addr()
    });
    Ok(way.map_err(error)?.ip())
}

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    ThisMachine,
    Private,
    Anywhere,
    Nowhere,
}

fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        address if address.is_loopback() => Reach::ThisMachine,
        address if address.is_unspecified() || address.is_multicast() => Reach::Nowhere,
        IpAddr::V4(four) if four.is_broadcast() => Reach::Nowhere,
        // RFC 1918, RFC 3927, and RFC 6598 for 100.64.0.0/10.
        IpAddr::V4(four) if four.is_private() || four.is_link_local() => Reach::Private,
        IpAddr::V4(four) if four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64 => Reach::Private,
        // A link-local address of IPv6 needs the name of an interface, which nobody else can know.
        IpAddr::V6(six) if six.is_unicast_link_local() => Reach::Nowhere,
        IpAddr::V6(six) if six.is_unique_local() => Reach::Private,
        _ => Reach::Anywhere,
    }
}

/// Whether a laptop that the server names may be asked: only where the server itself is. So nobody sends a room's
/// laptops to a host outside, or to a service on their own loopback.
pub(super) fn may_be_asked(peer: SocketAddr, server: Option<IpAddr>) -> bool {
    let peer_reach = reach(peer.ip());
    peer.port() != 0 && peer_reach != Reach::Nowhere && server.is_some_and(|server| reach(server) == peer_reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laptops_are_asked_only_where_the_server_is() {
        for (peer, server, may) in [
            ("192.168.1.7:4000", "192.168.1.5", true),
            ("10.0.0.7:4000", "192.168.1.5", true),
            ("127.0.0.1:4000", "127.0.0.1", true),
            ("[fd00::7]:4000", "fd00::5", true),
            ("192.168.1.7:4000", "::ffff:192.168.1.5", true),
            ("198.51.100.7:80", "198.51.100.5", true),
            // This machine's own services, the internet, nobody.
            ("127.0.0.1:631", "192.168.1.5", false),
            ("[::1]:631", "192.168.1.5", false),
            ("[::ffff:127.0.0.1]:631", "192.168.1.5", false),
            ("198.51.100.7:80", "192.168.1.5", false),
            ("192.168.1.7:80", "198.51.100.5", false),
            ("192.168.1.7:0", "192.168.1.5", false),
            ("0.0.0.0:4000", "192.168.1.5", false),
            ("224.0.0.251:5353", "192.168.1.5", false),
            ("255.255.255.255:4000", "192.168.1.5", false),
            ("[fe80::7]:4000", "192.168.1.5", false),
        ] {
            assert_eq!(may_be_asked(peer.parse().unwrap(), Some(server.parse().unwrap())), may, "{peer} by {server}");
        }
        assert!(!may_be_asked("192.168.1.7:4000".parse().unwrap(), None));
    }

    #[tokio::test]
    async fn the_address_that_faces_the_server_is_found() {
        let server = Url::parse("http://127.0.0.1:8642/").unwrap();
        assert_eq!(address_towards(&server).await.unwrap(), IpAddr::from([127, 0, 0, 1]));
        let nowhere = Url::parse("http://nobody.invalid:8642/").unwrap();
        assert!(address_towards(&nowhere).await.is_err());
    }
}
