//! Most packets: headers at their usual places, and nothing unusual in them. Whatever is otherwise, or to be
//! refused, is left to [`crate::slow_path`], which knows all the rules; this one knows only when none of them
//! forbids an answer.

use crate::abi::{Counter, Prefix, destination, link, protocols};
use crate::address;
use crate::checksum::{self, Edit};
use crate::headers::{
    AlignedTimestamps, Be16, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_VLAN,
    ETHERTYPE_VLAN, Ethernet, Ipv4, Ipv6, Ports, Tcp, Udp, is_extension, protocol,
};
use crate::hint;
use crate::host::{Audience, Host};
use crate::packet::Packet;
use crate::reflect::{Reflected, Refusal, end, has_neighbours, is_responder, serves};
use crate::segment::{self, Established, is_established};

/// A header of IP.
///
/// Without CAP_PERFMON the verifier follows speculation, too, which may take the one for the other, and before Linux
/// 6.17 it refuses what would be behind the end of the packet then. So it is asked each time whether the packet has the
/// longer one, which it always has.
enum Network<'a> {
    V4(&'a mut Ipv4),
    V6(&'a mut Ipv6),
}

/// Turns `packet` round, the linear part of a frame of `length` bytes for `audience`, if nothing is unusual in it;
/// or says that it is not ours. `None` if that takes a closer look.
#[inline(always)]
pub(crate) fn reflect<H: Host>(
    host: &H,
    mut packet: Packet,
    length: u32,
    audience: Audience,
    reflected: &mut Reflected,
) -> Option<Result<(), Refusal>> {
    if H::WIRE && host.link() != link::ETHERNET {
        return None;
    }
    // In XDP comes nothing that is too long for its length field.
    let longest = if H::XDP { 0 } else { length };
    let ethernet = packet.take::<Ethernet>()?;
    let start = size_of::<Ethernet>() as u32;
    let (mut network, protocol, hop_limit, transport, end) = match ethernet.ethertype.get() {
        ETHERTYPE_IPV4 => {
            let header = packet.take::<Ipv4>()?;
            if header.version_length != 0x45 || header.is_fragment() {
                return None;
            }
            let end = end(start, u32::from(header.total_length.get()), longest);
            let (protocol, hop_limit) = (header.protocol, header.ttl);
            (Network::V4(header), protocol, hop_limit, start + size_of::<Ipv4>() as u32, end)
        }
        ETHERTYPE_IPV6 => {
            let header = packet.take::<Ipv6>()?;
            if header.version_class_flow.0[0] >> 4 != 6 || header.is_mapped() {
                return None;
            }
            let start = start + size_of::<Ipv6>() as u32;
            let end = end(start, u32::from(header.payload_length.get()), longest);
            let (protocol, hop_limit) = (header.next_header, header.hop_limit);
            (Network::V6(header), protocol, hop_limit, start, end)
        }
        ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN => return None,
        ETHERTYPE_ARP if has_neighbours(host) => return None,
        _ => return NOT_OURS,
    };
    let wanted = match (protocol, &network) {
        (protocol::TCP, _) => protocols::TCP,
        (protocol::UDP, _) => protocols::UDP,
        (protocol::ICMP, Network::V4(_)) | (protocol::ICMPV6, Network::V6(_))
            if has_neighbours(host) || host.protocols() & protocols::ICMP != 0 =>
        {
            return None;
        }
        (_, Network::V6(_)) if is_extension(protocol) => return None,
        _ => return NOT_OURS,
    };
    let ports = packet.take::<Ports>()?;
    if host.protocols() & wanted == 0 || !serves(host, ports.destination.get()) {
        return NOT_OURS;
    }
    if network.destination(host, &packet) & destination::ECHO == 0 {
        return NOT_OURS;
    }
    if H::WIRE {
        let source = ports.source.get();
        let to_us = if H::XDP { ethernet.destination == host.mac() } else { audience == Audience::Us };
        let usual = to_us
            && ethernet.is_answerable()
            && hop_limit > 1
            && !network.is_own_source(&packet)
            && !serves(host, source)
            && !(protocol == protocol::UDP && is_responder(source))
            && network.answers_source(host);
        if !usual {
            return None;
        }
    } else if ports.source == ports.destination && network.is_own_source(&packet) {
        return None;
    }
    if end > length || end < transport + Udp::LENGTH as u32 {
        return None;
    }

    let (udp_counter, tcp_counter) = network.counters();
    if protocol == protocol::UDP {
        reflected.packets = udp_counter;
        reflected.bytes = end - transport - Udp::LENGTH as u32;
        if H::XDP {
            let udp = packet.take::<Udp>()?;
            // Zero, which says that there is none, is the sum of nothing.
            if checksum::is_partial(udp.checksum, network.pseudo_sum(protocol, end - transport, &packet)) {
                return LEFT_TO_THE_DEVICE;
            }
        }
    } else {
        let tcp = packet.take::<Tcp>()?;
        let header_length = tcp.header_length();
        let payload_start = transport + header_length as u32;
        if !is_established(tcp.flags) || payload_start > end {
            return None;
        }
        let payload = end - payload_start;
        let segment = Established::new(tcp, payload, true);
        let Ok(answer) = segment.answer::<H>() else {
            return None;
        };
        let slot = hint::slot(network.addresses_sum(), ports);
        let lesson = segment.lesson(host, end - start, slot);
        if H::XDP {
            if checksum::is_partial(tcp.checksum, network.pseudo_sum(protocol, end - transport, &packet)) {
                return LEFT_TO_THE_DEVICE;
            }
            if lesson.twice {
                return None;
            }
        }
        let mut edit = Edit::default();
        // Whatever is behind timestamps stays as it is.
        if header_length >= Tcp::LENGTH + size_of::<AlignedTimestamps>() {
            let options = packet.take::<AlignedTimestamps>()?;
            if options.kind != AlignedTimestamps::KIND {
                return None;
            }
            edit.replace(options.echo.word(), options.value.word());
            options.echo = options.value;
        } else if header_length != Tcp::LENGTH {
            return None;
        }
        segment::write::<H>(answer, tcp, &mut edit);
        lesson.note(host);
        reflected.twice = lesson.twice;
        reflected.packets = tcp_counter;
        reflected.bytes = payload;
        reflected.event = segment.event();
        if H::XDP {
            tcp.checksum = edit.apply(tcp.checksum);
        } else {
            reflected.checksum = transport + Tcp::CHECKSUM_OFFSET as u32;
            reflected.difference = edit.difference();
        }
    }

    core::mem::swap(&mut ports.source, &mut ports.destination);
    reflected.unbalanced = network.turn::<H>(&packet);
    if H::WIRE {
        ethernet.turn();
    }
    Some(Ok(()))
}

const NOT_OURS: Option<Result<(), Refusal>> = Some(Err(Refusal::NOT_OURS));

/// The tc hook knows whether that is so, and what is to be done. One in 65,535 complete checksums looks the same.
const LEFT_TO_THE_DEVICE: Option<Result<(), Refusal>> = Some(Err(Refusal::passed(Counter::PassedPartial)));

impl Network<'_> {
    /// What the destination is here.
    #[inline(always)]
    fn destination(&self, host: &impl Host, packet: &Packet) -> u32 {
        match self {
            Self::V4(header) => host.destination(&Prefix::whole(address::mapped(header.destination))),
            Self::V6(header) if packet.has(*header) => host.destination(&Prefix::whole(header.destination)),
            Self::V6(_) => 0,
        }
    }

    #[inline(always)]
    fn answers_source(&self, host: &impl Host) -> bool {
        match self {
            Self::V4(header) => host.answers(&Prefix::whole(address::mapped(header.source))),
            Self::V6(header) => host.answers(&Prefix::whole(header.source)),
        }
    }

    #[inline(always)]
    fn is_own_source(&self, packet: &Packet) -> bool {
        match self {
            Self::V4(header) => header.source == header.destination,
            Self::V6(header) => !packet.has(*header) || header.source == header.destination,
        }
    }

    /// The counters of packets: UDP and TCP.
    #[inline(always)]
    fn counters(&self) -> (Counter, Counter) {
        match self {
            Self::V4(_) => (Counter::Udp4Packets, Counter::Tcp4Packets),
            Self::V6(_) => (Counter::Udp6Packets, Counter::Tcp6Packets),
        }
    }

    /// The sum of source and destination as [`hint::slot`] takes it.
    #[inline(always)]
    fn addresses_sum(&self) -> u64 {
        match self {
            Self::V4(header) => hint::addresses(
                address::sum(&address::mapped(header.source)),
                address::sum(&address::mapped(header.destination)),
            ),
            Self::V6(header) => {
                hint::addresses(address::sum(&header.source), address::sum(&header.destination))
            }
        }
    }

    /// The sum of the pseudo header of a segment or datagram of `length` bytes.
    #[inline(always)]
    fn pseudo_sum(&self, protocol: u8, length: u32, packet: &Packet) -> u64 {
        let addresses = match self {
            Self::V4(header) => header.source.word() + header.destination.word(),
            Self::V6(header) if packet.has(*header) => {
                address::sum(&header.source) + address::sum(&header.destination)
            }
            Self::V6(_) => 0,
        };
        addresses + Be16::new(length as u16).word() + Be16([0, protocol]).word()
    }

    /// Exchanges the addresses, and on the wire takes one off the time to live. Returns the change of the sum
    /// over the whole packet.
    #[inline(always)]
    fn turn<H: Host>(&mut self, packet: &Packet) -> u32 {
        match self {
            Self::V4(header) => header.turn(H::WIRE),
            Self::V6(header) if packet.has(*header) => header.turn(H::WIRE),
            Self::V6(_) => 0,
        }
    }
}
