//! The requests this crate sends, as bytes. Pure.

use std::net::IpAddr;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::FilterInfo;
use super::answer::HEADER_SIZE;
use super::error::Action;
use crate::place::{IfIndex, Side, XdpMode};

/// The handle of clsact, `ffff:`; `ingress` has the same.
pub(super) const CLSACT_HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
pub(super) const CLSACT: &str = "clsact";
pub(super) const BPF: &str = "bpf";
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
    flags: u16,
    message: Message,
}

/// What a request says, in the protocol of its socket.
#[derive(Debug, Clone)]
enum Message {
    Route(RouteNetlinkMessage),
    /// One that netlink-packet-route does not know of: kind and payload.
    Other(u16, Vec<u8>),
}

impl Request {
    pub(super) fn is_dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }

    /// The bytes to send.
    pub(super) fn encode(&self, sequence: u32) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | self.flags;
        header.sequence_number = sequence;
        let message = match &self.message {
            Message::Route(message) => message,
            Message::Other(kind, payload) => {
                let length = (HEADER_SIZE + payload.len()) as u32;
                let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &header.flags.to_ne_bytes()];
                let tail = [&sequence.to_ne_bytes()[..], &0_u32.to_ne_bytes(), payload];
                return [head.concat(), tail.concat()].concat();
            }
        };
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message.clone()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    /// Of all tables of nftables.
    pub(super) fn list_rules() -> Self {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE;
        // `struct nfgenmsg`: any family, version 0, no resource.
        let message = Message::Other(kind, vec![0; 4]);
        Self { action: Action::ListRules, flags: NLM_F_DUMP, message }
    }

    pub(super) fn list_interfaces() -> Self {
        let message = Message::Route(RouteNetlinkMessage::GetLink(LinkMessage::default()));
        Self { action: Action::ListInterfaces, flags: NLM_F_DUMP, message }
    }

    pub(super) fn list_addresses() -> Self {
        let message = Message::Route(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
        Self { action: Action::ListAddresses, flags: NLM_F_DUMP, message }
    }

    pub(super) fn list_routes(family: AddressFamily) -> Self {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let message = Message::Route(RouteNetlinkMessage::GetRoute(message));
        Self { action: Action::ListRoutes, flags: NLM_F_DUMP, message }
    }

    /// Changes this one flag and no other.
    pub(super) fn set_all_multicast(index: IfIndex, on: bool) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = index.0;
        message.header.flags = if on { LinkFlags::Allmulti } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Allmulti;
        let message = Message::Route(RouteNetlinkMessage::SetLink(message));
        Self { action: Action::SetAllMulticast(index, on), flags: NLM_F_ACK, message }
    }

    /// Where no program is yet: another one is never replaced.
    pub(super) fn attach_xdp(index: IfIndex, program_fd: i32, mode: XdpMode) -> Self {
        let xdp = vec![LinkXdp::Fd(program_fd), LinkXdp::Flags(XDP_FLAGS_UPDATE_IF_NOEXIST | mode.flag())];
        let message = Message::Route(RouteNetlinkMessage::SetLink(xdp_message(index, xdp)));
        Self { action: Action::AttachXdp(index, mode), flags: NLM_F_ACK, message }
    }

    /// Where the program is `expected`; 5.7+.
    pub(super) fn detach_xdp(index: IfIndex, expected: i32, mode: XdpMode) -> Self {
        let xdp = vec![
            LinkXdp::Fd(-1),
            LinkXdp::Flags(XDP_FLAGS_REPLACE | mode.flag()),
            LinkXdp::ExpectedFd(expected.cast_unsigned()),
        ];
        let message = Message::Route(RouteNetlinkMessage::SetLink(xdp_message(index, xdp)));
        Self { action: Action::DetachXdp(index, mode), flags: NLM_F_ACK, message }
    }

    /// Whatever program is there.
    pub(super) fn detach_any_xdp(index: IfIndex, mode: XdpMode) -> Self {
        let xdp = vec![LinkXdp::Fd(-1), LinkXdp::Flags(mode.flag())];
        let message = Message::Route(RouteNetlinkMessage::SetLink(xdp_message(index, xdp)));
        Self { action: Action::DetachXdp(index, mode), flags: NLM_F_ACK, message }
    }

    /// Which way packets to `address` go.
    pub(super) fn route_to(address: IpAddr) -> Self {
        let mut message = RouteMessage::default();
        let (family, length) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message.header.address_family = family;
        message.header.destination_prefix_length = length;
        message.attributes = vec![RouteAttribute::Destination(address.into())];
        let message = Message::Route(RouteNetlinkMessage::GetRoute(message));
        Self { action: Action::RouteTo(address), flags: NLM_F_ACK, message }
    }

    /// All qdiscs of all interfaces: before 6.8 the kernel announces the answer for a single one to
    /// everybody but the one who asked.
    pub(super) fn list_qdiscs(index: IfIndex) -> Self {
        let message = Message::Route(RouteNetlinkMessage::GetQueueDiscipline(message(index)));
        Self { action: Action::ListQdiscs(index), flags: NLM_F_DUMP, message }
    }

    pub(super) fn add_clsact(index: IfIndex) -> Self {
        let message = Message::Route(RouteNetlinkMessage::NewQueueDiscipline(clsact(index)));
        Self { action: Action::AddClsact(index), flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, message }
    }

    /// The kernel refuses with EINVAL when the qdisc is of another kind.
    pub(super) fn remove_clsact(index: IfIndex) -> Self {
        let message = Message::Route(RouteNetlinkMessage::DelQueueDiscipline(clsact(index)));
        Self { action: Action::RemoveClsact(index), flags: NLM_F_ACK, message }
    }

    pub(super) fn list_filters(index: IfIndex, side: Side) -> Self {
        let mut message = message(index);
        message.header.parent = parent(side);
        let message = Message::Route(RouteNetlinkMessage::GetTrafficFilter(message));
        Self { action: Action::ListFilters(index, side), flags: NLM_F_DUMP, message }
    }

    /// Priority and handle are 0: the kernel takes free ones, and its echo says which.
    pub(super) fn add_filter(index: IfIndex, side: Side, program_fd: i32, name: &str) -> Self {
        let mut message = message(index);
        message.header.parent = parent(side);
        message.header.info = info(0, ETH_P_ALL);
        message.attributes = vec![
            TcAttribute::Kind(BPF.to_string()),
            TcAttribute::Options(vec![
                TcOption::Bpf(TcFilterBpfOption::ProgFd(program_fd.cast_unsigned())),
                TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_string())),
                TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
            ]),
        ];
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO;
        let message = Message::Route(RouteNetlinkMessage::NewTrafficFilter(message));
        Self { action: Action::AddFilter(index, side), flags, message }
    }

    /// The echo is how a kernel before 4.9 answers at all.
    pub(super) fn read_filter(index: IfIndex, side: Side, filter: &FilterInfo) -> Self {
        let message = Message::Route(RouteNetlinkMessage::GetTrafficFilter(exact(index, side, filter)));
        Self { action: Action::ReadFilter(index, side), flags: NLM_F_ACK | NLM_F_ECHO, message }
    }

    pub(super) fn remove_filter(index: IfIndex, side: Side, filter: &FilterInfo) -> Self {
        let message = Message::Route(RouteNetlinkMessage::DelTrafficFilter(exact(index, side, filter)));
        Self { action: Action::RemoveFilter(index, side), flags: NLM_F_ACK, message }
    }
}

fn xdp_message(index: IfIndex, xdp: Vec<LinkXdp>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index.0;
    message.attributes = vec![LinkAttribute::Xdp(xdp)];
    message
}

fn message(index: IfIndex) -> TcMessage {
    TcMessage::with_index(index.0.cast_signed())
}

fn clsact(index: IfIndex) -> TcMessage {
    let mut message = message(index);
    message.header.handle = CLSACT_HANDLE;
    message.header.parent = TcHandle::CLSACT;
    message.attributes = vec![TcAttribute::Kind(CLSACT.to_string())];
    message
}

/// The message that names exactly `filter`.
fn exact(index: IfIndex, side: Side, filter: &FilterInfo) -> TcMessage {
    let mut message = message(index);
    message.header.parent = parent(side);
    message.header.handle = filter.handle.into();
    message.header.info = info(filter.priority, filter.protocol);
    message.attributes = vec![TcAttribute::Kind(filter.kind.clone())];
    if filter.chain != 0 {
        message.attributes.push(TcAttribute::Chain(filter.chain));
    }
    message
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
