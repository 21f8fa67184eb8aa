//! What ip(8) and tc(8) do, for hosts that have neither. Everything is asked of the caller's network namespace.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use loader::IfIndex;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_ERROR, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, InfoVlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::tc;

const HEADER_SIZE: usize = 16;

/// Sends one request, which the kernel must grant. Returns the payload of the answer, if there is one.
#[track_caller]
fn request(flags: u16, message: RouteNetlinkMessage) -> Vec<u8> {
    let what = format!("{message:?}");
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    socket.send(&bytes, 0).unwrap();
    let mut payload = Vec::new();
    loop {
        let mut answer = Vec::with_capacity(1 << 16);
        socket.recv(&mut answer, 0).unwrap();
        let kind = u16::from_ne_bytes(answer[4..6].try_into().unwrap());
        if kind == NLMSG_ERROR {
            let code = i32::from_ne_bytes(answer[HEADER_SIZE..][..4].try_into().unwrap());
            assert_eq!(code, 0, "{what}: {}", io::Error::from_raw_os_error(-code));
            return payload;
        }
        payload = answer.split_off(HEADER_SIZE);
    }
}

/// The number of an interface that must be there.
#[track_caller]
fn index(name: &str) -> u32 {
    let IfIndex(index) = tc::find(name).unwrap_or_else(|| panic!("no interface is called {name}")).index;
    index
}

#[track_caller]
fn add_link(name: &str, kind: InfoKind, data: InfoData, rest: &[LinkAttribute]) {
    let mut message = LinkMessage::default();
    let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]);
    message.attributes = [&[LinkAttribute::IfName(name.into()), info][..], rest].concat();
    request(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(message));
}

/// Makes a cable whose other end, `far`, is in `namespace`.
#[track_caller]
pub(crate) fn add_veth(near: &str, far: &str, namespace: &impl AsFd) {
    let mut peer = LinkMessage::default();
    let place = LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd());
    peer.attributes = vec![LinkAttribute::IfName(far.into()), place];
    add_link(near, InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(peer)), &[]);
}

/// Makes the interface `name` of what has this tag on `below`.
#[track_caller]
pub(crate) fn add_vlan(name: &str, below: &str, id: u16) {
    let place = LinkAttribute::Link(index(below));
    add_link(name, InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(id)]), &[place]);
}

/// Brings an interface up.
#[track_caller]
pub(crate) fn set_up(name: &str) {
    let mut message = LinkMessage::default();
    message.header.index = index(name);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    request(0, RouteNetlinkMessage::SetLink(message));
}

/// Lets an interface have no link-local address: without one hosts say next to nothing by themselves.
#[track_caller]
pub(crate) fn without_link_local(name: &str) {
    let mut message = LinkMessage::default();
    message.header.index = index(name);
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])];
    request(0, RouteNetlinkMessage::SetLink(message));
}

/// Whether packets can pass, and all addresses may be used.
pub(crate) fn is_ready(name: &str) -> bool {
    let mut message = LinkMessage::default();
    message.header.index = index(name);
    let answer = request(0, RouteNetlinkMessage::GetLink(message));
    // `ifi_flags` of struct ifinfomsg (linux/rtnetlink.h).
    let flags = LinkFlags::from_bits_retain(u32::from_ne_bytes(answer[8..12].try_into().unwrap()));
    flags.contains(LinkFlags::Running | LinkFlags::LowerUp) && !has_tentative(name)
}

/// Whether duplicates of an address of the interface are still looked for.
fn has_tentative(name: &str) -> bool {
    const IFA_F_TENTATIVE: u32 = 0x40;
    // Address, index, prefix length, scope and flags in hexadecimal, and the name.
    let table = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[5] == name && u32::from_str_radix(fields[4], 16).unwrap() & IFA_F_TENTATIVE != 0
    })
}

/// Gives an interface an address, such as "10.9.0.1/16".
#[track_caller]
pub(crate) fn add_address(name: &str, address: &str) {
    let (address, length) = address.split_once('/').unwrap();
    let address: IpAddr = address.parse().unwrap();
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = length.parse().unwrap();
    message.header.index = index(name);
    // Nobody else is there.
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    request(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewAddress(message));
}

/// Lets packets of IPv4 and IPv6 on an interface be aggregates of up to `bytes` (BIG TCP).
#[track_caller]
pub(crate) fn set_gso_max_size(name: &str, bytes: u32) {
    // linux/if_link.h
    const IFLA_GSO_MAX_SIZE: u16 = 41;
    const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
    set_numbers(name, [IFLA_GSO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE].map(|attribute| (attribute, bytes)));
}

/// Lets each packet on an interface be one segment, so that what happens to packets happens often.
#[track_caller]
pub(crate) fn without_aggregates(name: &str) {
    // linux/if_link.h
    const IFLA_GSO_MAX_SEGS: u16 = 40;
    set_numbers(name, [(IFLA_GSO_MAX_SEGS, 1)]);
}

/// Sets attributes of an interface.
#[track_caller]
fn set_numbers(name: &str, attributes: impl IntoIterator<Item = (u16, u32)>) {
    let mut message = LinkMessage::default();
    message.header.index = index(name);
    let attributes = attributes.into_iter();
    message.attributes = attributes
        .map(|(attribute, value)| {
            LinkAttribute::Other(DefaultNla::new(attribute, value.to_ne_bytes().into()))
        })
        .collect();
    request(0, RouteNetlinkMessage::SetLink(message));
}

/// Gives an interface a root qdisc of this kind, with its options as the kernel has them.
#[track_caller]
pub(crate) fn set_qdisc(name: &str, kind: &str, options: Vec<u8>) {
    // linux/rtnetlink.h
    const TCA_OPTIONS: u16 = 2;
    let mut message = TcMessage::with_index(index(name).cast_signed());
    message.header.parent = TcHandle::ROOT;
    message.attributes =
        vec![TcAttribute::Kind(kind.into()), TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options))];
    request(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewQueueDiscipline(message));
}
