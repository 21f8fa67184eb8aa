//! The requests this crate sends, as bytes. Pure.

use std::string::ToString;
use std::vec;
use std::vec::Vec;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::Action;
use super::{FilterInfo, IfIndex, Side};

/// The handle of clsact, `ffff:`; `ingress` has the same.
pub(super) const CLSACT_HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
pub(super) const CLSACT: &str = "clsact";
pub(super) const BPF: &str = "bpf";
/// Every protocol, as an ethertype.
const ETH_P_ALL: u16 = 3;

/// A request, without its sequence number.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) action: Action,
    flags: u16,
    message: RouteNetlinkMessage,
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
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(self.message.clone()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    pub(super) fn list_interfaces() -> Self {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        Self { action: Action::ListInterfaces, flags: NLM_F_DUMP, message }
    }

    pub(super) fn list_addresses() -> Self {
        let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        Self { action: Action::ListAddresses, flags: NLM_F_DUMP, message }
    }

    pub(super) fn list_routes(family: AddressFamily) -> Self {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let message = RouteNetlinkMessage::GetRoute(message);
        Self { action: Action::ListRoutes, flags: NLM_F_DUMP, message }
    }

    /// Changes this one flag and no other.
    pub(super) fn set_all_multicast(index: IfIndex, on: bool) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = index.0;
        message.header.flags = if on { LinkFlags::Allmulti } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Allmulti;
        let message = RouteNetlinkMessage::SetLink(message);
        Self { action: Action::SetAllMulticast(index, on), flags: NLM_F_ACK, message }
    }

    /// All qdiscs of all interfaces: before 6.8 the kernel announces the answer for a single one to
    /// everybody but the one who asked.
    pub(super) fn list_qdiscs(index: IfIndex) -> Self {
        let message = RouteNetlinkMessage::GetQueueDiscipline(message(index));
        Self { action: Action::ListQdiscs(index), flags: NLM_F_DUMP, message }
    }

    pub(super) fn add_clsact(index: IfIndex) -> Self {
        let message = RouteNetlinkMessage::NewQueueDiscipline(clsact(index));
        Self { action: Action::AddClsact(index), flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, message }
    }

    /// The kernel refuses with EINVAL when the qdisc is of another kind.
    pub(super) fn remove_clsact(index: IfIndex) -> Self {
        let message = RouteNetlinkMessage::DelQueueDiscipline(clsact(index));
        Self { action: Action::RemoveClsact(index), flags: NLM_F_ACK, message }
    }

    pub(super) fn list_filters(index: IfIndex, side: Side) -> Self {
        let mut message = message(index);
        message.header.parent = parent(side);
        let message = RouteNetlinkMessage::GetTrafficFilter(message);
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
        let message = RouteNetlinkMessage::NewTrafficFilter(message);
        Self { action: Action::AddFilter(index, side), flags, message }
    }

    /// The echo is how a kernel before 4.9 answers at all.
    pub(super) fn read_filter(index: IfIndex, side: Side, filter: &FilterInfo) -> Self {
        let message = RouteNetlinkMessage::GetTrafficFilter(exact(index, side, filter));
        Self { action: Action::ReadFilter(index, side), flags: NLM_F_ACK | NLM_F_ECHO, message }
    }

    pub(super) fn remove_filter(index: IfIndex, side: Side, filter: &FilterInfo) -> Self {
        let message = RouteNetlinkMessage::DelTrafficFilter(exact(index, side, filter));
        Self { action: Action::RemoveFilter(index, side), flags: NLM_F_ACK, message }
    }
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
