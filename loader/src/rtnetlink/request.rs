//! The requests this crate sends, as bytes. Pure.

use std::net::IpAddr;
use std::vec;
use std::vec::Vec;

use libc::{
    RTM_DELQDISC, RTM_DELTFILTER, RTM_GETADDR, RTM_GETLINK, RTM_GETQDISC, RTM_GETROUTE, RTM_GETTFILTER,
    RTM_NEWQDISC, RTM_NEWTFILTER, RTM_SETLINK,
};
use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST,
    NetlinkHeader,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressHeader;
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkXdp};
use netlink_packet_route::route::RouteHeader;
use netlink_packet_route::tc::{TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader};

use super::FilterInfo;
use super::answer::{IFLA_XDP, TCA_CHAIN, TCA_KIND, TCA_OPTIONS};
use super::error::Action;
use crate::place::{IfIndex, Side, XdpMode};

/// The handle of clsact, `ffff:`; `ingress` has the same.
pub(super) const CLSACT_HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
pub(super) const CLSACT: &str = "clsact";
pub(super) const BPF: &str = "bpf";
const RTA_DST: u16 = 1;
/// Requests to nftables (linux/netfilter/nfnetlink.h, nf_tables.h).
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETRULE: u16 = 7;

/// How XDP programs are attached (linux/if_link.h).
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1 << 0;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;

/// Every protocol, as an ethertype.
const ETH_P_ALL: u16 = 3;

/// A request, without its sequence number.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) action: Action,
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
}

impl Request {
    /// A request of the kind RTM_*. The header and the attributes are netlink-packet-route's, but not the message: what
    /// turns whole messages into bytes knows every attribute there is, a quarter of a small program.
    fn new(
        action: Action,
        kind: u16,
        flags: u16,
        header: &dyn Emitable,
        attributes: &[&dyn Emitable],
    ) -> Self {
        let payload = [bytes(&[header]), bytes(attributes)].concat();
        Self { action, kind, flags: NLM_F_REQUEST | flags, payload }
    }

    pub(super) fn is_dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }

    /// The bytes to send.
    pub(super) fn encode(&self, sequence: u32) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.length = (header.buffer_len() + self.payload.len()) as u32;
        header.message_type = self.kind;
        header.flags = self.flags;
        header.sequence_number = sequence;
        [bytes(&[&header]), self.payload.clone()].concat()
    }

    /// Of all tables of nftables.
    pub(super) fn list_rules() -> Self {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE;
        // `struct nfgenmsg`: any family, version 0, no resource.
        let payload = vec![0; 4];
        Self { action: Action::ListRules, kind, flags: NLM_F_REQUEST | NLM_F_DUMP, payload }
    }

    pub(super) fn list_interfaces() -> Self {
        Self::new(Action::ListInterfaces, RTM_GETLINK, NLM_F_DUMP, &LinkHeader::default(), &[])
    }

    pub(super) fn list_addresses() -> Self {
        Self::new(Action::ListAddresses, RTM_GETADDR, NLM_F_DUMP, &AddressHeader::default(), &[])
    }

    pub(super) fn list_routes(family: AddressFamily) -> Self {
        let header = RouteHeader { address_family: family, ..RouteHeader::default() };
        Self::new(Action::ListRoutes, RTM_GETROUTE, NLM_F_DUMP, &header, &[])
    }

    /// Changes this one flag and no other.
    pub(super) fn set_all_multicast(index: IfIndex, on: bool) -> Self {
        let mut header = link(index);
        header.flags = if on { LinkFlags::Allmulti } else { LinkFlags::empty() };
        header.change_mask = LinkFlags::Allmulti;
        Self::new(Action::SetAllMulticast(index, on), RTM_SETLINK, NLM_F_ACK, &header, &[])
    }

    /// Where no program is yet: another one is never replaced.
    pub(super) fn attach_xdp(index: IfIndex, program_fd: i32, mode: XdpMode) -> Self {
        let flags = XDP_FLAGS_UPDATE_IF_NOEXIST | mode.flag();
        Self::set_xdp(
            Action::AttachXdp(index, mode),
            index,
            &[LinkXdp::Fd(program_fd), LinkXdp::Flags(flags)],
        )
    }

    /// Where the program is `expected`; 5.7+.
    pub(super) fn detach_xdp(index: IfIndex, expected: i32, mode: XdpMode) -> Self {
        let flags = XDP_FLAGS_REPLACE | mode.flag();
        let expected = LinkXdp::ExpectedFd(expected.cast_unsigned());
        let options = [LinkXdp::Fd(-1), LinkXdp::Flags(flags), expected];
        Self::set_xdp(Action::DetachXdp(index, mode), index, &options)
    }

    /// Whatever program is there.
    pub(super) fn detach_any_xdp(index: IfIndex, mode: XdpMode) -> Self {
        let options = [LinkXdp::Fd(-1), LinkXdp::Flags(mode.flag())];
        Self::set_xdp(Action::DetachXdp(index, mode), index, &options)
    }

    fn set_xdp(action: Action, index: IfIndex, options: &[LinkXdp]) -> Self {
        let xdp = DefaultNla::new(IFLA_XDP, bytes(&[&options]));
        Self::new(action, RTM_SETLINK, NLM_F_ACK, &link(index), &[&xdp])
    }

    /// Which way packets to `address` go.
    pub(super) fn route_to(address: IpAddr) -> Self {
        let (address_family, destination) = match address {
            IpAddr::V4(address) => (AddressFamily::Inet, address.octets().to_vec()),
            IpAddr::V6(address) => (AddressFamily::Inet6, address.octets().to_vec()),
        };
        let destination_prefix_length = (8 * destination.len()) as u8;
        let header = RouteHeader { address_family, destination_prefix_length, ..RouteHeader::default() };
        let destination = DefaultNla::new(RTA_DST, destination);
        Self::new(Action::RouteTo(address), RTM_GETROUTE, NLM_F_ACK, &header, &[&destination])
    }

    /// All qdiscs of all interfaces: before 6.8 the kernel announces the answer for a single one to
    /// everybody but the one who asked.
    pub(super) fn list_qdiscs(index: IfIndex) -> Self {
        Self::new(Action::ListQdiscs(index), RTM_GETQDISC, NLM_F_DUMP, &tc(index), &[])
    }

    pub(super) fn add_clsact(index: IfIndex) -> Self {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        Self::new(Action::AddClsact(index), RTM_NEWQDISC, flags, &clsact(index), &[&kind(CLSACT)])
    }

    /// The kernel refuses with EINVAL when the qdisc is of another kind.
    pub(super) fn remove_clsact(index: IfIndex) -> Self {
        Self::new(Action::RemoveClsact(index), RTM_DELQDISC, NLM_F_ACK, &clsact(index), &[&kind(CLSACT)])
    }

    pub(super) fn list_filters(index: IfIndex, side: Side) -> Self {
        let header = TcHeader { parent: parent(side), ..tc(index) };
        Self::new(Action::ListFilters(index, side), RTM_GETTFILTER, NLM_F_DUMP, &header, &[])
    }

    /// Priority and handle are 0: the kernel takes free ones, and its echo says which.
    pub(super) fn add_filter(index: IfIndex, side: Side, program_fd: i32, name: &str) -> Self {
        let header = TcHeader { parent: parent(side), info: info(0, ETH_P_ALL), ..tc(index) };
        let options: &[_] = &[
            TcFilterBpfOption::ProgFd(program_fd.cast_unsigned()),
            TcFilterBpfOption::ProgName(name.into()),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let options = DefaultNla::new(TCA_OPTIONS, bytes(&[&options]));
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO;
        Self::new(Action::AddFilter(index, side), RTM_NEWTFILTER, flags, &header, &[&kind(BPF), &options])
    }

    /// The echo is how a kernel before 4.9 answers at all.
    pub(super) fn read_filter(index: IfIndex, side: Side, filter: &FilterInfo) -> Self {
        let flags = NLM_F_ACK | NLM_F_ECHO;
        Self::exact(Action::ReadFilter(index, side), RTM_GETTFILTER, flags, index, side, filter)
    }

    pub(super) fn remove_filter(index: IfIndex, side: Side, filter: &FilterInfo) -> Self {
        Self::exact(Action::RemoveFilter(index, side), RTM_DELTFILTER, NLM_F_ACK, index, side, filter)
    }

    /// The request that names exactly `filter`.
    fn exact(
        action: Action,
        request: u16,
        flags: u16,
        index: IfIndex,
        side: Side,
        filter: &FilterInfo,
    ) -> Self {
        let mut header = TcHeader { parent: parent(side), ..tc(index) };
        header.handle = filter.handle.into();
        header.info = info(filter.priority, filter.protocol);
        let chain = DefaultNla::new(TCA_CHAIN, filter.chain.to_ne_bytes().to_vec());
        let (kind, chain): (&dyn Emitable, &dyn Emitable) = (&kind(&filter.kind), &chain);
        let attributes: &[_] = if filter.chain == 0 { &[kind] } else { &[kind, chain] };
        Self::new(action, request, flags, &header, attributes)
    }
}

fn bytes(parts: &[&dyn Emitable]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        let start = all.len();
        all.resize(start + part.buffer_len(), 0);
        part.emit(&mut all[start..]);
    }
    all
}

fn link(index: IfIndex) -> LinkHeader {
    LinkHeader { index: index.0, ..LinkHeader::default() }
}

fn tc(index: IfIndex) -> TcHeader {
    TcHeader { index: index.0.cast_signed(), ..TcHeader::default() }
}

fn clsact(index: IfIndex) -> TcHeader {
    TcHeader { handle: CLSACT_HANDLE, parent: TcHandle::CLSACT, ..tc(index) }
}

/// TCA_KIND, a string that ends with NUL.
fn kind(kind: &str) -> DefaultNla {
    DefaultNla::new(TCA_KIND, [kind.as_bytes(), &[0]].concat())
}

pub(super) fn parent(side: Side) -> TcHandle {
    let minor = match side {
        Side::Ingress => TcHandle::MIN_INGRESS,
        Side::Egress => TcHandle::MIN_EGRESS,
    };
    TcHandle { major: CLSACT_HANDLE.major, minor }
}

/// `tcm_info` of a filter: priority above the ethertype, which is in network byte order.
fn info(priority: u16, protocol: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(protocol.to_be())
}
