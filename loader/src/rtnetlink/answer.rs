//! The kernel's answers. Pure, and total on any bytes.
//!
//! Attributes are read one by one instead of through netlink-packet-route's message types: those give up
//! on a whole message for an attribute they do not understand, and a qdisc or filter of a kind that is
//! unknown here must still be seen.

use std::net::IpAddr;
use std::string::String;
use std::vec::Vec;

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NlaBuffer, NlasIterator, Parseable, parse_ip,
    parse_mac, parse_string, parse_u32,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressHeader;
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_packet_route::route::RouteHeader;
use netlink_packet_route::tc::{TcFilterBpfOption, TcHeader};

use super::request::{BPF, CLSACT_HANDLE};
use super::{FilterInfo, Interface, InterfaceAddress, LinkKind, Route};
use crate::place::{IfIndex, XdpMode};
use crate::sys::Errno;

/// Of every message, in bytes.
const HEADER_SIZE: usize = 16;
const LINK_HEADER_SIZE: usize = 16;
const ADDRESS_HEADER_SIZE: usize = 8;
const ROUTE_HEADER_SIZE: usize = 12;
const NEXT_HOP_HEADER_SIZE: usize = 8;
const TC_HEADER_SIZE: usize = 20;
const ERROR_CODE_SIZE: usize = 4;

const NLMSGERR_ATTR_MSG: u16 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_XDP: u16 = 43;

const IFLA_INFO_KIND: u16 = 1;

const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTN_LOCAL: u8 = 2;

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
pub(super) const TCA_CHAIN: u16 = 11;

/// What is wrong with an answer.
pub(super) type Malformed = &'static str;

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) port: u32,
    pub(super) payload: &'a [u8],
}

/// Takes the first message off `datagram`; `None` at its end.
pub(super) fn next_message<'a>(datagram: &mut &'a [u8]) -> Result<Option<Message<'a>>, Malformed> {
    if datagram.is_empty() {
        return Ok(None);
    }
    let field = |at: usize| datagram.get(at..)?.first_chunk::<4>().copied().map(u32::from_ne_bytes);
    let half = |at: usize| datagram.get(at..)?.first_chunk::<2>().copied().map(u16::from_ne_bytes);
    let header = || Some((field(0)?, half(4)?, half(6)?, field(8)?, field(12)?));
    let (length, kind, flags, sequence, port) = header().ok_or("truncated header")?;
    let length = usize::try_from(length).map_err(|_| "message too long")?;
    let payload = datagram.get(HEADER_SIZE..length).ok_or("message longer than its datagram")?;
    let message = Message { kind, flags, sequence, port, payload };
    // The last message's padding may be missing.
    *datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok(Some(message))
}

/// A message as an end of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not one: part of the answer.
    No,
    Success,
    Refusal {
        errno: Errno,
        text: Option<String>,
    },
}

/// Whether `message` ends the exchange it belongs to, and how.
pub(super) fn ending(message: &Message<'_>) -> Result<Ending, Malformed> {
    if message.kind != NLMSG_ERROR && message.kind != NLMSG_DONE {
        return Ok(Ending::No);
    }
    let code = message.payload.first_chunk().copied().map(i32::from_ne_bytes);
    let code = match code {
        Some(code) => code,
        // Allowed at the end of a dump.
        None if message.kind == NLMSG_DONE && message.payload.is_empty() => 0,
        None => return Err("truncated error code"),
    };
    // A dump's last message may count something up to here.
    if code >= 0 {
        return Ok(Ending::Success);
    }
    let errno = Errno::from_raw(code.checked_neg().ok_or("error code out of range")?);
    Ok(Ending::Refusal { errno, text: extended_text(message) })
}

/// NLMSGERR_ATTR_MSG, behind the error code and what is given back of the request.
fn extended_text(message: &Message<'_>) -> Option<String> {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let rest = message.payload.get(ERROR_CODE_SIZE..)?;
    let request_size = match message.kind {
        NLMSG_DONE => 0,
        _ if message.flags & NLM_F_CAPPED != 0 => HEADER_SIZE,
        _ => {
            let length = rest.first_chunk().copied().map(u32::from_ne_bytes)?;
            usize::try_from(length).ok()?.checked_next_multiple_of(4)?
        }
    };
    attributes(rest.get(request_size..)?).find_map(|attribute| {
        let text = (attribute.kind() == NLMSGERR_ATTR_MSG).then(|| parse_string(attribute.value()))?;
        text.ok()
    })
}

/// The attributes in `bytes` up to the first that is broken.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

/// An interface in an RTM_NEWLINK.
pub(super) fn interface(payload: &[u8]) -> Result<Interface, Malformed> {
    let header = LinkHeader::parse(payload).map_err(|_| "truncated link header")?;
    let (mut name, mut mtu, mut mac, mut kind, mut xdp) = (None, None, None, None, Vec::new());
    for attribute in attributes(payload.get(LINK_HEADER_SIZE..).unwrap_or_default()) {
        match attribute.kind() {
            IFLA_ADDRESS => mac = parse_mac(attribute.value()).ok(),
            IFLA_IFNAME => name = parse_string(attribute.value()).ok(),
            IFLA_MTU => mtu = parse_u32(attribute.value()).ok(),
            IFLA_LINKINFO => kind = link_info_kind(attribute.value()),
            IFLA_XDP => xdp = xdp_programs(attribute.value()),
            _ => {}
        }
    }
    Ok(Interface {
        index: IfIndex(header.index),
        name: name.ok_or("interface without a name")?,
        mtu: mtu.ok_or("interface without an MTU")?,
        link: link_kind(&header),
        mac,
        up: header.flags.contains(LinkFlags::Up),
        all_multicast: header.flags.contains(LinkFlags::Allmulti),
        kind,
        xdp,
    })
}

/// The kind in the nested attributes of IFLA_LINKINFO.
fn link_info_kind(nested: &[u8]) -> Option<String> {
    let kind = attributes(nested).find(|attribute| attribute.kind() == IFLA_INFO_KIND)?;
    parse_string(kind.value()).ok()
}

/// The programs in the nested attributes of IFLA_XDP.
fn xdp_programs(nested: &[u8]) -> Vec<(XdpMode, u32)> {
    let program = |attribute: NlaBuffer<&[u8]>| {
        let mode = match attribute.kind() {
            IFLA_XDP_DRV_PROG_ID => XdpMode::Native,
            IFLA_XDP_SKB_PROG_ID => XdpMode::Generic,
            _ => return None,
        };
        Some((mode, parse_u32(attribute.value()).ok()?))
    };
    attributes(nested).filter_map(program).collect()
}

/// By the types of linux/if_arp.h. Without a header are those that its dev_is_mac_header_xmit() says so of,
/// less the ones that carry no packets of hosts.
fn link_kind(header: &LinkHeader) -> LinkKind {
    const ETHERNET: u16 = 1;
    const PPP: u16 = 512;
    const RAWIP: u16 = 519;
    const TUNNEL: u16 = 768;
    const TUNNEL6: u16 = 769;
    const LOOPBACK: u16 = 772;
    const SIT: u16 = 776;
    const IPGRE: u16 = 778;
    const IP6GRE: u16 = 823;
    const NONE: u16 = 0xfffe;
    match header.link_layer_type.into() {
        kind if kind == LOOPBACK || header.flags.contains(LinkFlags::Loopback) => LinkKind::Loopback,
        ETHERNET => LinkKind::Ethernet,
        PPP | RAWIP | TUNNEL | TUNNEL6 | SIT | IPGRE | IP6GRE | NONE => LinkKind::None,
        other => LinkKind::Other(other),
    }
}

/// An address in an RTM_NEWADDR. `None` for one that is not of IP.
pub(super) fn address(payload: &[u8]) -> Result<Option<InterfaceAddress>, Malformed> {
    let header = AddressHeader::parse(payload).map_err(|_| "truncated address header")?;
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return Ok(None);
    }
    let (mut local, mut peer, mut broadcast) = (None, None, None);
    for attribute in attributes(payload.get(ADDRESS_HEADER_SIZE..).unwrap_or_default()) {
        let target = match attribute.kind() {
            IFA_LOCAL => &mut local,
            // The other end's, where the two differ; else the same, and over IPv6 the only one.
            IFA_ADDRESS => &mut peer,
            IFA_BROADCAST => &mut broadcast,
            _ => continue,
        };
        *target = parse_ip(attribute.value()).ok();
    }
    let broadcast = match broadcast {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    };
    Ok(Some(InterfaceAddress {
        interface: IfIndex(header.index),
        address: local.or(peer).ok_or("address message without an address")?,
        prefix_length: header.prefix_len,
        broadcast,
    }))
}

/// The way that an RTM_NEWROUTE answers with.
pub(super) fn route(payload: &[u8]) -> Result<Option<Route>, Malformed> {
    let header = RouteHeader::parse(payload).map_err(|_| "truncated route header")?;
    let rest = attributes(payload.get(ROUTE_HEADER_SIZE..).unwrap_or_default());
    let interface = rest.filter(|attribute| attribute.kind() == RTA_OIF);
    let interface = interface.filter_map(|attribute| parse_u32(attribute.value()).ok()).next();
    Ok(interface
        .map(|index| Route { interface: IfIndex(index), is_local: u8::from(header.kind) == RTN_LOCAL }))
}

/// The routers that an RTM_NEWROUTE names.
pub(super) fn gateways(payload: &[u8]) -> Result<Vec<IpAddr>, Malformed> {
    RouteHeader::parse(payload).map_err(|_| "truncated route header")?;
    let route = payload.get(ROUTE_HEADER_SIZE..).unwrap_or_default();
    let mut found: Vec<IpAddr> = attributes(route).filter_map(|attribute| gateway(&attribute)).collect();
    for paths in attributes(route).filter(|attribute| attribute.kind() == RTA_MULTIPATH) {
        // Each `struct rtnexthop` begins with its length, which counts the attributes behind it.
        let mut hops = paths.value();
        while let Some(length) = hops.first_chunk().copied().map(u16::from_ne_bytes).map(usize::from) {
            let Some(hop) = hops.get(NEXT_HOP_HEADER_SIZE..length) else { break };
            found.extend(attributes(hop).filter_map(|attribute| gateway(&attribute)));
            hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    Ok(found)
}

/// The router in an attribute of a route or of one of its paths.
fn gateway(attribute: &NlaBuffer<&[u8]>) -> Option<IpAddr> {
    match attribute.kind() {
        RTA_GATEWAY => parse_ip(attribute.value()).ok(),
        // Of a family that is not the route's, which is said in front of it.
        RTA_VIA => parse_ip(attribute.value().get(size_of::<u16>()..)?).ok(),
        _ => None,
    }
}

/// The kind of the qdisc in an RTM_NEWQDISC, when it is where clsact goes on the interface `index`.
pub(super) fn qdisc_at_clsact(payload: &[u8], index: IfIndex) -> Result<Option<String>, Malformed> {
    let header = TcHeader::parse(payload).map_err(|_| "truncated tc header")?;
    if header.index.cast_unsigned() != index.0 || header.handle != CLSACT_HANDLE {
        return Ok(None);
    }
    kind(payload).map(Some).ok_or("qdisc without a kind")
}

/// A filter in an RTM_NEWTFILTER. `None` for the entry with which a dump introduces each priority.
pub(super) fn filter(payload: &[u8]) -> Result<Option<FilterInfo>, Malformed> {
    let header = TcHeader::parse(payload).map_err(|_| "truncated tc header")?;
    let kind = kind(payload).ok_or("filter without a kind")?;
    let (mut options, mut chain) = (None, 0);
    for attribute in tc_attributes(payload) {
        match attribute.kind() {
            TCA_OPTIONS => options = Some(attribute.value().to_vec()),
            TCA_CHAIN => chain = parse_u32(attribute.value()).map_err(|_| "chain of a wrong size")?,
            _ => {}
        }
    }
    let handle = u32::from(header.handle);
    if handle == 0 && options.is_none() {
        return Ok(None);
    }
    let (mut name, mut program_id) = (None, None);
    let bpf_options = options.filter(|_| kind == BPF).unwrap_or_default();
    for option in attributes(&bpf_options) {
        match TcFilterBpfOption::parse(&option) {
            Ok(TcFilterBpfOption::ProgName(text)) => name = Some(text),
            Ok(TcFilterBpfOption::ProgId(id)) => program_id = Some(id),
            _ => {}
        }
    }
    let protocol = u16::from_be((header.info & 0xffff) as u16);
    let priority = (header.info >> 16) as u16;
    Ok(Some(FilterInfo { priority, handle, protocol, kind, name, program_id, chain }))
}

fn tc_attributes(payload: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    attributes(payload.get(TC_HEADER_SIZE..).unwrap_or_default())
}

fn kind(payload: &[u8]) -> Option<String> {
    let attribute = tc_attributes(payload).find(|attribute| attribute.kind() == TCA_KIND)?;
    parse_string(attribute.value()).ok()
}

/// The messages of an answer that belong to `sequence` and `port`, in order.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Payloads.
    pub(super) parts: Vec<Vec<u8>>,
    /// The kernel's list changed while it was read.
    pub(super) interrupted: bool,
}
