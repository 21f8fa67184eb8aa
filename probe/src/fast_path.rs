//! Most packets: headers at their usual places, and nothing unusual in them. Whatever is otherwise, or to be
//! refused, is left to [`crate::slow_path`], which knows all the rules; this one knows only when none of them
//! forbids an answer.
//!
//! Each version of IP has a path of its own, on which nothing asks which of them it is.

use crate::abi::{Counter, protocols, versions};
use crate::address;
use crate::checksum::{self, Edit};
use crate::headers::{
    AlignedTimestamps, Be16, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_VLAN,
    ETHERTYPE_VLAN, Ethernet, Ipv4, Ipv6, Ports, Tcp, Udp, WithPorts, is_extension, protocol,
};
use crate::hint;
use crate::host::{Audience, Extent, Host};
use crate::packet::{Header, Packet};
use crate::reflect::{Reflected, Refusal, has_neighbours, is_responder, serves};
use crate::segment::{self, Established};

/// Why a packet is not turned round here.
pub(crate) enum Obstacle {
    /// It takes a closer look.
    Unusual,
    /// That is certain.
    Refused(Refusal),
}

const NOT_OURS: Obstacle = Obstacle::Refused(Refusal::NOT_OURS);

/// The tc hook knows whether that is so, and what is to be done. One in 65,535 complete checksums looks the same.
const LEFT_TO_THE_DEVICE: Obstacle = Obstacle::Refused(Refusal::because(Counter::PassedPartial));

/// Turns `packet` round, the linear part of a frame of this `extent` for `audience`, if nothing is unusual in it.
#[inline(always)]
pub(crate) fn reflect<H: Host>(
    host: &H,
    mut packet: Packet,
    extent: &impl Extent,
    audience: Audience,
) -> Result<Reflected, Obstacle> {
    if H::WIRE && !host.has_ethernet() {
        return Err(Obstacle::Unusual);
    }
    let ethernet = take::<Ethernet>(&mut packet)?;
    match ethernet.ethertype.get() {
        ETHERTYPE_IPV4 if host.versions() & versions::V4 != 0 => {
            answer::<H, Ipv4>(host, ethernet, packet, extent, audience)
        }
        ETHERTYPE_IPV6 if host.versions() & versions::V6 != 0 => {
            answer::<H, Ipv6>(host, ethernet, packet, extent, audience)
        }
        ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN => Err(Obstacle::Unusual),
        ETHERTYPE_ARP if has_neighbours(host) => Err(Obstacle::Unusual),
        _ => Err(NOT_OURS),
    }
}

/// Answers what is behind the header `ethernet`.
#[inline(always)]
fn answer<H: Host, N: Network>(
    host: &H,
    ethernet: &mut Ethernet,
    mut packet: Packet,
    extent: &impl Extent,
    audience: Audience,
) -> Result<Reflected, Obstacle> {
    let WithPorts { network, ports } = take::<WithPorts<N>>(&mut packet)?;
    if !network.is_usual() {
        return Err(Obstacle::Unusual);
    }
    let protocol = network.protocol();
    let (is_udp, wanted) = match protocol {
        protocol::TCP => (false, protocols::TCP),
        protocol::UDP => (true, protocols::UDP),
        _ if N::is_of_interest(host, protocol) => return Err(Obstacle::Unusual),
        _ => return Err(NOT_OURS),
    };
    if !serves(host, ports.destination.get()) || host.protocols() & wanted == 0 || !network.is_for(host) {
        return Err(NOT_OURS);
    }
    let usual = if H::WIRE {
        let to_us = if H::XDP { ethernet.destination == host.mac() } else { audience == Audience::Us };
        let source = ports.source.get();
        to_us
            && ethernet.is_answerable()
            && network.hop_limit() > 1
            && !network.is_own_source()
            && !serves(host, source)
            && !(is_udp && is_responder(source))
            && network.is_from_somebody(host)
    } else {
        ports.source != ports.destination || !network.is_own_source()
    };
    // An aggregate that is too long for its length field has zero there.
    let end = network.end();
    if !usual || end < N::TRANSPORT + Udp::LENGTH as u32 || !extent.reaches(end) {
        return Err(Obstacle::Unusual);
    }

    let mut reflected = if is_udp {
        datagram::<H, N>(network, &mut packet, end)?
    } else {
        segment::<H, N>(host, network, ports, &mut packet, end)?
    };
    core::mem::swap(&mut ports.source, &mut ports.destination);
    reflected.unbalanced = network.turn(H::WIRE);
    if H::WIRE {
        ethernet.turn();
    }
    Ok(reflected)
}

/// Answers a datagram whose header is at the cursor of `packet`, behind its ports, and which ends at `end`.
#[inline(always)]
fn datagram<H: Host, N: Network>(network: &N, packet: &mut Packet, end: u32) -> Result<Reflected, Obstacle> {
    if H::XDP {
        let udp = take::<Udp>(packet)?;
        // Zero, which says that there is none, is the sum of nothing.
        if checksum::may_be_partial(udp.checksum, network.pseudo_sum(protocol::UDP, end)) {
            return Err(LEFT_TO_THE_DEVICE);
        }
    }
    let bytes = end - N::TRANSPORT - Udp::LENGTH as u32;
    Ok(Reflected { packets: N::UDP_PACKETS, bytes, ..Reflected::default() })
}

/// Answers a segment whose header is at the cursor of `packet`, behind its `ports`, and which ends at `end`.
#[inline(always)]
fn segment<H: Host, N: Network>(
    host: &H,
    network: &N,
    ports: &Ports,
    packet: &mut Packet,
    end: u32,
) -> Result<Reflected, Obstacle> {
    let tcp = take::<Tcp>(packet)?;
    let header_length = tcp.header_length();
    let payload_start = N::TRANSPORT + header_length as u32;
    if !segment::is_usual::<H>(tcp.flags) || payload_start > end {
        return Err(Obstacle::Unusual);
    }
    let payload = end - payload_start;
    let segment = Established::new(tcp, payload, true);
    let Ok(answer) = segment.answer::<H>() else { return Err(Obstacle::Unusual) };
    if H::WIRE && !segment.is_like(&answer) {
        return Err(Obstacle::Unusual);
    }
    // For the sum over IPv6 addresses machines that load bytes only would have too little stack: the helper does it.
    let is_certain = H::XDP || N::TRANSPORT == Ipv4::TRANSPORT;
    let may_be_partial = H::WIRE
        && (!is_certain || checksum::may_be_partial(tcp.checksum, network.pseudo_sum(protocol::TCP, end)));
    if H::XDP && may_be_partial {
        return Err(LEFT_TO_THE_DEVICE);
    }
    // Whatever is behind timestamps stays as it is.
    let has_timestamps = header_length >= Tcp::LENGTH + size_of::<AlignedTimestamps>();
    let is_usual = if has_timestamps {
        let timestamps = packet.peek::<AlignedTimestamps>();
        timestamps.is_some_and(|timestamps| timestamps.kind == AlignedTimestamps::KIND)
    } else {
        header_length == Tcp::LENGTH
    };
    if !is_usual {
        return Err(Obstacle::Unusual);
    }
    let mut reflected =
        Reflected { packets: N::TCP_PACKETS, bytes: payload, event: segment.event(), ..Reflected::default() };
    if segment.is_telling(host, end - size_of::<Ethernet>() as u32) {
        reflected.twice = host.learn(hint::slot(network.addresses_sum(), ports), payload != 0);
        if H::XDP && reflected.twice {
            return Err(Obstacle::Unusual);
        }
    }
    let mut edit = Edit::default();
    if has_timestamps {
        let timestamps = take::<AlignedTimestamps>(packet)?;
        edit.replace(timestamps.echo.word(), timestamps.value.word());
        timestamps.echo = timestamps.value;
    }
    if !H::WIRE {
        // Without URG that is all.
        let _ = segment::write::<H>(answer, tcp, edit);
        return Ok(reflected);
    }
    // What is certainly complete is corrected here. Of the rest the helper of the kernel knows what it is.
    if may_be_partial {
        reflected.checksum = N::TRANSPORT + Tcp::CHECKSUM_OFFSET as u32;
        reflected.difference = edit.difference();
    } else {
        tcp.checksum = edit.apply(tcp.checksum);
    }
    Ok(reflected)
}

/// The header at the cursor of `packet`, if it is there.
#[inline(always)]
fn take<'a, T: Header>(packet: &mut Packet<'a>) -> Result<&'a mut T, Obstacle> {
    packet.take().ok_or(Obstacle::Unusual)
}

/// A header of IP.
trait Network: Header + 'static {
    /// Where the header behind it begins, in bytes from the beginning of the frame.
    const TRANSPORT: u32;
    /// The counters of packets.
    const TCP_PACKETS: Counter;
    /// Likewise.
    const UDP_PACKETS: Counter;

    /// Whether it is what the EtherType promises, and behind it is the transport header of a whole packet.
    fn is_usual(&self) -> bool;
    /// What is behind it.
    fn protocol(&self) -> u8;
    /// Whether that may be of interest although it is neither TCP nor UDP.
    fn is_of_interest(host: &impl Host, protocol: u8) -> bool;
    fn hop_limit(&self) -> u8;
    /// Where the packet ends, in bytes from the beginning of the frame.
    fn end(&self) -> u32;
    /// Whether what is sent there is echoed.
    fn is_for(&self, host: &impl Host) -> bool;
    /// Whether the sender is answered.
    fn is_from_somebody(&self, host: &impl Host) -> bool;
    fn is_own_source(&self) -> bool;
    /// The sum of source and destination as [`hint::slot`] takes it.
    fn addresses_sum(&self) -> u64;
    /// The sum of the pseudo header of what ends at `end`.
    fn pseudo_sum(&self, protocol: u8, end: u32) -> u64;
    /// Exchanges the addresses, and if there is a `hop` takes one off the time to live. Returns the change of the sum
    /// over the whole packet.
    fn turn(&mut self, hop: bool) -> u32;
}

impl Network for Ipv4 {
    const TRANSPORT: u32 = (size_of::<Ethernet>() + size_of::<Self>()) as u32;
    const TCP_PACKETS: Counter = Counter::Tcp4Packets;
    const UDP_PACKETS: Counter = Counter::Udp4Packets;

    #[inline(always)]
    fn is_usual(&self) -> bool {
        self.version_length == 0x45 && !self.is_fragment()
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.protocol
    }

    #[inline(always)]
    fn is_of_interest(host: &impl Host, protocol: u8) -> bool {
        protocol == protocol::ICMP && answers_pings(host)
    }

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.ttl
    }

    #[inline(always)]
    fn end(&self) -> u32 {
        size_of::<Ethernet>() as u32 + u32::from(self.total_length.get())
    }

    #[inline(always)]
    fn is_for(&self, host: &impl Host) -> bool {
        host.serves_v4(self.destination)
    }

    #[inline(always)]
    fn is_from_somebody(&self, host: &impl Host) -> bool {
        host.answers_v4(self.source)
    }

    #[inline(always)]
    fn is_own_source(&self) -> bool {
        self.source == self.destination
    }

    #[inline(always)]
    fn addresses_sum(&self) -> u64 {
        let sum = |address| address::sum(&address::mapped(address));
        hint::addresses(sum(self.source), sum(self.destination))
    }

    #[inline(always)]
    fn pseudo_sum(&self, protocol: u8, end: u32) -> u64 {
        self.source.word() + self.destination.word() + length_and_protocol(end - Self::TRANSPORT, protocol)
    }

    #[inline(always)]
    fn turn(&mut self, hop: bool) -> u32 {
        self.turn(hop)
    }
}

impl Network for Ipv6 {
    const TRANSPORT: u32 = (size_of::<Ethernet>() + size_of::<Self>()) as u32;
    const TCP_PACKETS: Counter = Counter::Tcp6Packets;
    const UDP_PACKETS: Counter = Counter::Udp6Packets;

    #[inline(always)]
    fn is_usual(&self) -> bool {
        self.version_class_flow.0[0] >> 4 == 6 && !self.is_mapped()
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.next_header
    }

    #[inline(always)]
    fn is_of_interest(host: &impl Host, protocol: u8) -> bool {
        protocol == protocol::ICMPV6 && answers_pings(host) || is_extension(protocol)
    }

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn end(&self) -> u32 {
        Self::TRANSPORT + u32::from(self.payload_length.get())
    }

    #[inline(always)]
    fn is_for(&self, host: &impl Host) -> bool {
        host.serves_v6(&self.destination)
    }

    #[inline(always)]
    fn is_from_somebody(&self, host: &impl Host) -> bool {
        host.answers_v6(&self.source)
    }

    #[inline(always)]
    fn is_own_source(&self) -> bool {
        self.source == self.destination
    }

    #[inline(always)]
    fn addresses_sum(&self) -> u64 {
        hint::addresses(address::sum(&self.source), address::sum(&self.destination))
    }

    #[inline(always)]
    fn pseudo_sum(&self, protocol: u8, end: u32) -> u64 {
        let addresses = address::sum(&self.source) + address::sum(&self.destination);
        addresses + length_and_protocol(end - Self::TRANSPORT, protocol)
    }

    #[inline(always)]
    fn turn(&mut self, hop: bool) -> u32 {
        self.turn(hop)
    }
}

/// Whether messages of ICMP may be answered: pings, or over IPv6 the solicitations of neighbours.
#[inline(always)]
fn answers_pings(host: &impl Host) -> bool {
    has_neighbours(host) || host.protocols() & protocols::ICMP != 0
}

/// The sum of the other words of a pseudo header.
#[inline(always)]
fn length_and_protocol(length: u32, protocol: u8) -> u64 {
    Be16::new(length as u16).word() + Be16([0, protocol]).word()
}
