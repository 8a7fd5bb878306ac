//! The server announces itself by multicast DNS, so that `ztlab fetch --from lan` finds it.

use std::net::{IpAddr, SocketAddr};

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};

use crate::{
    base::Digest,
    fetch::lan::{LAB_KEY, SERVICE, lab_prefix},
};

/// An announcement. Dropping it takes it back: machines that cached it are told that it is gone.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

/// The system lets nobody announce.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot announce the server in the network")]
#[diagnostic(
    code(serve::announce),
    help("the server works without: tell the room its address, `ztlab fetch --from http://ADDRESS:PORT/`")
)]
pub struct AnnounceError(#[from] mdns_sd::Error);

impl Announcement {
    /// Announces a server that is bound to this address: on all interfaces, or on the one that has it.
    ///
    /// # Errors
    /// When multicast is not to be had.
    pub fn new(bound: SocketAddr, lab_id: &Digest) -> Result<Self, AnnounceError> {
        let daemon = ServiceDaemon::new()?;
        let mut info = service(bound, lab_id)?;
        if bound.ip().is_unspecified() {
            info = info.enable_addr_auto();
        } else {
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(IfKind::Addr(bound.ip()))?;
        }
        let name = info.get_fullname().to_owned();
        daemon.register(info)?;
        Ok(Self { daemon, name })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Both fail only when the daemon is gone, and the announcement with it.
        if let Ok(done) = self.daemon.unregister(&self.name) {
            let _ = done.recv_timeout(std::time::Duration::from_millis(500));
        }
        let _ = self.daemon.shutdown();
    }
}

/// The records. The names tell the lab and the port and nothing of the machine or its owner.
fn service(bound: SocketAddr, lab_id: &Digest) -> Result<ServiceInfo, AnnounceError> {
    let lab = lab_prefix(lab_id);
    // Two servers of one lab in one network must not have one name.
    let own = format!("ztlab-{}-{}", &lab[..8], process_mark(bound));
    let one = [bound.ip()];
    let addresses: &[IpAddr] = if bound.ip().is_unspecified() { &[] } else { &one };
    let info = ServiceInfo::new(
        SERVICE,
        &own,
        &format!("{own}.local."),
        addresses,
        bound.port(),
        &[(LAB_KEY, lab.as_str())][..],
    )?;
    Ok(info)
}

/// Tells servers apart without telling whose they are.
fn process_mark(bound: SocketAddr) -> String {
    let mut mark =
        Digest::of(format!("{bound} {} {:?}", std::process::id(), std::time::SystemTime::now()).as_bytes()).hex();
    mark.truncate(6);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_have_lab_and_port_and_nothing_of_the_machine() {
        let lab_id = Digest::of(b"lab");
        let info = service("192.168.1.5:8642".parse().unwrap(), &lab_id).unwrap();
        assert_eq!((info.get_port(), info.get_property_val_str(LAB_KEY)), (8642, Some(lab_prefix(&lab_id).as_str())));
        assert!(info.get_fullname().ends_with(SERVICE) && info.get_fullname().starts_with("ztlab-"));
        assert!(info.get_hostname().starts_with("ztlab-"), "{}", info.get_hostname());
        let two = service("192.168.1.5:8642".parse().unwrap(), &lab_id).unwrap();
        assert_ne!(info.get_fullname(), two.get_fullname(), "two servers are two services");
    }
}
