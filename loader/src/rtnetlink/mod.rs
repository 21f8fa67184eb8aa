//! Interfaces, traffic control and XDP over rtnetlink: attaches programs and takes them away again.
//!
//! Two rules: nothing of anybody else is ever changed, and what this module made is gone afterwards unless
//! somebody else has come to use it. A filter is added where there is none (never replaced), and removed
//! only after reading back that the one at its place still is the one that was added.
//!
//! What it does not do: tcx ([`crate::BpfLink`] does), shared filter blocks, chains and hardware offload (filters
//! of others that use them are listed and counted).

mod answer;
mod attachment;
mod error;
mod monitor;
mod netlink;
mod nftables;
mod request;
#[cfg(test)]
mod tests;
mod xdp;

use std::net::{IpAddr, Ipv4Addr};
use std::string::String;
use std::vec::Vec;

use crate::place::{IfIndex, XdpMode};

pub use attachment::{Attachment, Clsact, FILTER_NAME_LENGTH, Filter, filters, remove, remove_leftover};
pub use error::{Action, NetlinkError};
pub use monitor::Monitor;
pub use netlink::Netlink;
pub use nftables::{TrackingRules, tracking_rules};
pub use xdp::{XdpAttachment, detach as detach_xdp};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: IfIndex,
    /// Its name.
    pub name: String,
    /// Largest packet without its link-layer header in bytes.
    pub mtu: u32,
    /// What its packets begin with.
    pub link: LinkKind,
    /// Its MAC address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Whether it is administratively up (IFF_UP).
    pub up: bool,
    /// Whether somebody has it receive every multicast packet (IFF_ALLMULTI).
    pub all_multicast: bool,
    /// What made it, such as `veth` or `vlan`, if the kernel says so; nothing for most devices.
    pub kind: Option<String>,
    /// The XDP programs on it, by the kernel's ids; without those that the device itself runs.
    pub xdp: Vec<(XdpMode, u32)>,
}

/// What the packets of an interface begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// An empty Ethernet header, and what is sent is received.
    Loopback,
    /// An Ethernet header.
    Ethernet,
    /// Their IP header, as those of tunnels do.
    None,
    /// Something else: the interface's type, ARPHRD_* of linux/if_arp.h.
    Other(u16),
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Whose address it is.
    pub interface: IfIndex,
    /// The address of this end.
    pub address: IpAddr,
    /// How many bits of it are its network's, of 32 or 128.
    pub prefix_length: u8,
    /// The address of all hosts of the network, where one is set.
    pub broadcast: Option<Ipv4Addr>,
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Out of which interface.
    pub interface: IfIndex,
    /// Whether they are for this host itself.
    pub is_local: bool,
}

/// A filter as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterInfo {
    /// Priority; together with `handle` and the place it identifies the filter.
    pub priority: u16,
    /// The filter's number within its priority.
    pub handle: u32,
    /// Ethertype that it sees, in the host's byte order; 3 (ETH_P_ALL) for all of them.
    pub protocol: u16,
    /// Kind of classifier: `bpf`, `u32`, `flower`...
    pub kind: String,
    /// A BPF filter's name, TCA_BPF_NAME.
    pub name: Option<String>,
    /// A BPF filter's program, by the kernel's id.
    pub program_id: Option<u32>,
    /// The chain it is in, mostly 0.
    pub chain: u32,
}
