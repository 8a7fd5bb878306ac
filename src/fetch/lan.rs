//! `--from lan`: a server of the same lab in the same network, found by multicast DNS (RFC 6762, RFC 6763). What it
//! says of itself is believed only as far as it saves a question: the lock decides about every byte.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mdns_sd::{ServiceDaemon, ServiceEvent};
use url::Url;

use crate::base::Digest;

/// What servers announce themselves as.
pub const SERVICE: &str = "_ztlab._tcp.local.";
/// The TXT key with the beginning of the lab id.
pub const LAB_KEY: &str = "lab";
/// Digits of the lab id in it: enough to tell labs apart; the digest of every blob is checked anyway.
pub const LAB_DIGITS: usize = 16;
/// How long answers are waited for. A server answers within a fraction of a second; a radio network may lose a
/// question, and the next ones follow after one, three and seven seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long others may follow the first answer.
const LATECOMERS: Duration = Duration::from_millis(700);
/// Servers that are taken down; more announce themselves only to be a nuisance.
const MOST: usize = 16;

/// A server that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, as it announced it.
    pub name: String,
    /// Where it serves.
    pub url: Url,
    /// The beginning of its lab's id.
    pub lab: String,
}

/// No server to take the lab from.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LanError {
    /// The offline switch.
    #[error("--offline forbids to look for a server in the network")]
    #[diagnostic(code(fetch::offline), help("leave `--offline` out to fetch from the room's server"))]
    Offline,
    /// The system lets nobody listen.
    #[error("cannot look for a server in this network")]
    #[diagnostic(
        code(fetch::lan),
        help("ask for the server's address and name it: `ztlab fetch --from http://ADDRESS:8642/`")
    )]
    Multicast(#[source] mdns_sd::Error),
    /// Nobody answered.
    #[error("no server of this lab ({lab}) was found in this network within {} s{}", PATIENCE.as_secs(), of_other_labs(.others))]
    #[diagnostic(
        code(fetch::lan),
        help(
            "is `ztlab serve --bind ADDRESS` running, in the same network, with the same lock? Networks for guests often keep machines apart: then name it, `ztlab fetch --from http://ADDRESS:8642/`, or take a stick"
        )
    )]
    Nobody {
        /// The beginning of the lab id.
        lab: String,
        /// Servers of other labs.
        others: Vec<Found>,
    },
}

fn of_other_labs(found: &[Found]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let list: Vec<String> = found.iter().map(|one| format!("{} (lab {})", one.url, one.lab)).collect();
    format!("; of other labs there are {}", list.join(", "))
}

/// The beginning of a lab id, as it is announced.
pub fn lab_prefix(lab_id: &Digest) -> String {
    lab_id.hex().chars().take(LAB_DIGITS).collect()
}

/// Looks for servers of this lab. Ends a moment after the first answer.
///
/// # Errors
/// [`LanError`]: offline, no multicast, or nobody with this lab.
pub async fn find(lab_id: &Digest, offline: bool) -> Result<Vec<Found>, LanError> {
    if offline {
        return Err(LanError::Offline);
    }
    let lab = lab_prefix(lab_id);
    let daemon = ServiceDaemon::new().map_err(LanError::Multicast)?;
    let answers = daemon.browse(SERVICE).map_err(LanError::Multicast)?;
    let (mut same, mut others): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
    let mut deadline = tokio::time::Instant::now() + PATIENCE;
    while let Ok(Ok(event)) = tokio::time::timeout_at(deadline, answers.recv_async()).await {
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        let addresses = service.addresses.iter().map(|address| address.to_ip_addr()).collect();
        let announced = service.txt_properties.get_property_val_str(LAB_KEY);
        let Some(found) = found(&service.fullname, &addresses, service.port, announced) else { continue };
        let list = if found.lab == lab { &mut same } else { &mut others };
        if list.len() < MOST && !list.contains(&found) {
            list.push(found);
            if !same.is_empty() {
                deadline = deadline.min(tokio::time::Instant::now() + LATECOMERS);
            }
        }
    }
    // Its thread ends by itself.
    let _ = daemon.shutdown();
    if same.is_empty() { Err(LanError::Nobody { lab, others }) } else { Ok(same) }
}

/// What a record says, or nothing where it makes no sense. All of it is somebody else's text.
fn found(fullname: &str, addresses: &BTreeSet<IpAddr>, port: u16, lab: Option<&str>) -> Option<Found> {
    let lab = lab.filter(|lab| lab.len() == LAB_DIGITS && lab.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let label = fullname.strip_suffix(SERVICE)?.trim_end_matches('.');
    let name: String =
        label.chars().filter(|letter| letter.is_alphanumeric() || " -_.".contains(*letter)).take(64).collect();
    // A link-local address of IPv6 needs the name of an interface, which an address in a URL cannot have.
    let usable = |ip: &&IpAddr| match ip {
        IpAddr::V4(four) => !four.is_unspecified() && !four.is_multicast() && !four.is_broadcast(),
        IpAddr::V6(six) => !six.is_unspecified() && !six.is_multicast() && !six.is_unicast_link_local(),
    };
    // IPv4 first: `IpAddr`'s own order.
    let ip = addresses.iter().find(usable)?;
    let url = Url::parse(&format!("http://{}/", SocketAddr::new(*ip, port))).ok()?;
    (port != 0).then_some(Found { name, url, lab: lab.to_ascii_lowercase() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> BTreeSet<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_record_becomes_an_address() {
        let lab = "0123456789abcdef";
        let one =
            found(&format!("desk.{SERVICE}"), &addresses(&["fe80::1", "fd00::5", "192.168.1.5"]), 8642, Some(lab))
                .unwrap();
        assert_eq!((one.name.as_str(), one.url.as_str(), one.lab.as_str()), ("desk", "http://192.168.1.5:8642/", lab));
        let six = found(&format!("desk.{SERVICE}"), &addresses(&["fe80::1", "fd00::5"]), 1, Some(lab)).unwrap();
        assert_eq!(six.url.as_str(), "http://[fd00::5]:1/");
    }

    #[test]
    fn records_without_sense_are_passed_over() {
        let (name, lab) = (format!("desk.{SERVICE}"), Some("0123456789abcdef"));
        let good = addresses(&["192.168.1.5"]);
        for (name, addresses, port, lab) in [
            (name.as_str(), &good, 8642, None),
            (name.as_str(), &good, 8642, Some("0123")),
            (name.as_str(), &good, 8642, Some("0123456789abcdeg")),
            (name.as_str(), &good, 0, lab),
            (name.as_str(), &addresses(&[]), 8642, lab),
            (name.as_str(), &addresses(&["0.0.0.0"]), 8642, lab),
            (name.as_str(), &addresses(&["224.0.0.251"]), 8642, lab),
            (name.as_str(), &addresses(&["fe80::1"]), 8642, lab),
            ("desk._http._tcp.local.", &good, 8642, lab),
        ] {
            assert_eq!(found(name, addresses, port, lab), None, "{name} {addresses:?} {port} {lab:?}");
        }
        let odd = found(&format!("\u{1b}[31m<b>{SERVICE}"), &good, 1, lab).unwrap();
        assert_eq!(odd.name, "31mb", "a name is for people, and no more than a name");
    }

    #[test]
    fn who_found_nobody_is_told_of_other_labs() {
        let other =
            Found { name: "x".to_owned(), url: Url::parse("http://10.0.0.5:1/").unwrap(), lab: "ff".to_owned() };
        let error = LanError::Nobody { lab: "00".to_owned(), others: vec![other] };
        assert!(error.to_string().ends_with("of other labs there are http://10.0.0.5:1/ (lab ff)"), "{error}");
    }

    #[tokio::test]
    async fn nobody_is_asked_offline() {
        let error = find(&Digest::of(b"lab"), true).await.unwrap_err();
        assert!(matches!(error, LanError::Offline));
    }
}
