//! Multicast packets that are for virtual hosts: what asks for the MAC address of an IPv6 neighbour is sent
//! to groups (RFC 4291 2.7.1) that the interface does not know of, and may be filtered by the hardware.

use loader::Errno;
use loader::IfIndex;
use loader::rtnetlink::{Interface, Netlink, NetlinkError};

use crate::configuration::Place;
use crate::prefix::Prefix;

/// Has an interface receive every multicast packet. Ends with the value; a run that is killed leaves it so.
#[derive(Debug)]
pub struct AllMulticast {
    netlink: Netlink,
    /// `None` once it has ended.
    interface: Option<IfIndex>,
}

impl AllMulticast {
    /// Begins on `interface`. `None` if that receives them anyway.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`].
    pub fn begin(interface: &Interface) -> Result<Option<Self>, NetlinkError> {
        if interface.all_multicast {
            return Ok(None);
        }
        let mut netlink = Netlink::open()?;
        netlink.set_all_multicast(interface.index, true)?;
        Ok(Some(Self { netlink, interface: Some(interface.index) }))
    }

    /// Leaves the interface as it was.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; that the interface is gone is none.
    pub fn end(mut self) -> Result<(), NetlinkError> {
        self.release()
    }

    /// Leaves the interface as it is now.
    pub fn leave(mut self) {
        self.interface = None;
    }

    fn release(&mut self) -> Result<(), NetlinkError> {
        let Some(interface) = self.interface.take() else { return Ok(()) };
        match self.netlink.set_all_multicast(interface, false) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
            result => result,
        }
    }
}

impl Drop for AllMulticast {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.release();
    }
}

/// Whether somebody may ask for virtual hosts by multicast.
pub fn is_needed(place: Place, virtual_hosts: &[Prefix]) -> bool {
    matches!(place, Place::Ethernet { .. }) && virtual_hosts.iter().any(|prefix| prefix.address().is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_neighbours_of_ipv6_ask_by_multicast() {
        let prefixes =
            |texts: &[&str]| -> Vec<Prefix> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let both = prefixes(&["10.9.0.0/16", "fd00:9::/64"]);
        assert!(is_needed(Place::Ethernet { mac: [0; 6] }, &both));
        assert!(!is_needed(Place::Ethernet { mac: [0; 6] }, &prefixes(&["10.9.0.0/16"])));
        assert!(!is_needed(Place::Loopback, &both));
    }
}
