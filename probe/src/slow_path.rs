//! All the rules, for packets of any form. Headers are copied to where their place does not matter, edited there,
//! and written back; nothing is written before it is clear that there is an answer.

use crate::abi::{Counter, Prefix, destination, protocols, versions};
use crate::address;
use crate::checksum::Edit;
use crate::headers::{
    Be16, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN, Ethernet,
    Icmp, Ipv4, Ipv6, Ipv6Extension, Ports, SegmentHeader, Tcp, Udp, VlanTag, flag, icmp, is_extension,
    protocol,
};
use crate::hint;
use crate::host::{Audience, CHUNK, Fragments, Frame, Host, Parts, Room, Walk};
use crate::neighbour;
use crate::options::Options;
use crate::packet::{Header, view};
use crate::reflect::{Refusal, end, has_neighbours, is_responder, serves};
use crate::segment::{self, Established, is_sensible};

const MALFORMED: Refusal = Refusal::because(Counter::PassedMalformed);

/// What becomes of a packet that cannot be written, perhaps for want of memory, and may be half edited.
pub(crate) const UNWRITABLE: Refusal = Refusal::because(Counter::DroppedMemory);

/// Turns `frame` round if it is for `host`.
///
/// The stages are functions of their own, and what one finds it leaves in `room`. So the verifier, which knows nothing of
/// what is there, follows each stage once, and not once for each way that leads to it.
#[inline(always)]
pub(crate) fn reflect<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Result<(), Refusal> {
    let ethertype = find_network(host, frame, room)?;
    if H::WIRE && ethertype == ETHERTYPE_ARP {
        return neighbour::arp(host, frame, room);
    }
    let Parts { version, network, transport, protocol, .. } = room.parts;
    // Behind an extension header such messages are to be ignored (RFC 6980 section 5).
    let plain = transport == network + size_of::<Ipv6>() as u32;
    let may_ask = has_neighbours(host) && version == 6 && plain && protocol == u32::from(protocol::ICMPV6);
    if may_ask && neighbour::is_solicitation(frame, room) {
        return neighbour::solicitation(host, frame, room);
    }
    answer(host, frame, room)
}

/// Reads the headers in front of the transport header. Returns the EtherType: of IP, or of ARP if that is answered.
#[inline(never)]
fn find_network<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room) -> Result<u16, Refusal> {
    let ethertype = link_layer::<H, F>(host, frame, room).ok_or(Refusal::NOT_OURS)?;
    match ethertype {
        ETHERTYPE_IPV4 if host.versions() & versions::V4 != 0 => {
            ipv4(frame, room).ok_or(Refusal::NOT_OURS)?
        }
        ETHERTYPE_IPV6 if host.versions() & versions::V6 != 0 => ipv6(host, frame, room)?,
        ETHERTYPE_ARP if has_neighbours(host) => {}
        _ => return Err(Refusal::NOT_OURS),
    }
    Ok(ethertype)
}

/// Reads the link-layer header with up to two VLAN tags. Returns the EtherType of what follows, which is what the network
/// part is.
#[inline(always)]
fn link_layer<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room) -> Option<u16> {
    if H::WIRE && !host.has_ethernet() {
        room.parts.network = 0;
        return Some(frame.ethertype());
    }
    load(frame, 0, &mut room.ethernet)?;
    let mut ethertype = room.ethernet.ethertype.get();
    let mut offset = size_of::<Ethernet>() as u32;
    for _ in 0..2 {
        if is_vlan(ethertype) {
            let tag: &mut VlanTag = view(&mut room.network);
            load(frame, offset, tag)?;
            ethertype = tag.ethertype.get();
            offset += size_of::<VlanTag>() as u32;
        }
    }
    room.parts.network = offset;
    Some(ethertype)
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN)
}

/// Reads an IPv4 header.
#[inline(always)]
fn ipv4<F: Frame>(frame: &F, room: &mut Room) -> Option<()> {
    let Room { parts, key, network, .. } = room;
    let header: &mut Ipv4 = view(network);
    load(frame, parts.network, header)?;
    let header_length = header.header_length();
    if header.version_length >> 4 != 4 || header_length < size_of::<Ipv4>() {
        return None;
    }
    key.source = Prefix::whole(address::mapped(header.source));
    key.destination = Prefix::whole(address::mapped(header.destination));
    key.identification = u32::from(u16::from_ne_bytes(header.identification.0));
    key.protocol = u32::from(header.protocol);
    parts.version = 4;
    parts.transport = parts.network + header_length as u32;
    parts.end = end(parts.network, u32::from(header.total_length.get()), frame.length());
    parts.protocol = u32::from(header.protocol);
    parts.hop_limit = u32::from(header.ttl);
    parts.fragment = fragment(header.is_fragment(), header.is_later_fragment());
    Some(())
}

/// Reads an IPv6 header and its extension headers.
#[inline(always)]
fn ipv6<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room) -> Result<(), Refusal> {
    let Room { parts, key, network, .. } = room;
    let header: &mut Ipv6 = view(network);
    load(frame, parts.network, header).ok_or(Refusal::NOT_OURS)?;
    if header.version_class_flow.0[0] >> 4 != 6 || header.is_mapped() {
        return Err(Refusal::NOT_OURS);
    }
    key.source = Prefix::whole(header.source);
    key.destination = Prefix::whole(header.destination);
    key.identification = 0;
    let behind = parts.network + size_of::<Ipv6>() as u32;
    parts.version = 6;
    parts.end = end(behind, u32::from(header.payload_length.get()), frame.length());
    parts.hop_limit = u32::from(header.hop_limit);
    room.walk = Walk { offset: behind, next_header: u32::from(header.next_header), fragment: 0 };
    // Hop-by-hop options, destination options, routing, fragment, authentication, destination options: no more
    // than these (RFC 8200 section 4.1).
    let _ = two_extension_steps(host, frame, room)
        && two_extension_steps(host, frame, room)
        && two_extension_steps(host, frame, room);
    let Room { parts, key, walk: Walk { offset, next_header, fragment: piece }, .. } = room;
    parts.transport = *offset;
    parts.protocol = *next_header;
    parts.fragment = fragment(*piece & 0xfff9 != 0, *piece & 0xfff8 != 0);
    key.protocol = *next_header;
    let obstacle = *next_header == Walk::OBSTACLE
        || parts.fragment != Parts::LATER_FRAGMENT && is_extension(*next_header as u8);
    if obstacle {
        let served = host.destination(&key.destination) & destination::ECHO != 0;
        return Err(if served { Refusal::because(Counter::PassedExtension) } else { Refusal::NOT_OURS });
    }
    Ok(())
}

/// The value of [`Parts::fragment`].
#[inline(always)]
fn fragment(is_fragment: bool, is_later: bool) -> u32 {
    match (is_fragment, is_later) {
        (false, _) => Parts::NO_FRAGMENT,
        (true, false) => Parts::FIRST_FRAGMENT,
        (true, true) => Parts::LATER_FRAGMENT,
    }
}

/// Two steps of a walk from extension header to extension header. They are written out, as those of
/// [`Options::find`] are.
#[inline(always)]
fn two_extension_steps<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room) -> bool {
    extension_step(host, frame, room) && extension_step(host, frame, room)
}

/// Looks at one extension header. Returns whether another may follow.
#[inline(never)]
fn extension_step<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room) -> bool {
    let Room { walk, segment, key, .. } = room;
    let kind = walk.next_header as u8;
    if !is_extension(kind) {
        return false;
    }
    let header: &mut Ipv6Extension = view(segment);
    // None is shorter than what is read of them. With stops left in a routing header, the destination is not the
    // last one. Behind the header of a first fragment, the others would not know what they are pieces of.
    if !frame.load(walk.offset, header)
        || kind == protocol::ROUTING && header.segments_left() != 0
        || walk.fragment != 0
    {
        walk.next_header = Walk::OBSTACLE;
        return false;
    }
    let length = u32::from(header.length);
    walk.next_header = u32::from(header.next_header);
    walk.offset = host.forget(match kind {
        protocol::FRAGMENT => walk.offset + size_of::<Ipv6Extension>() as u32,
        protocol::AUTHENTICATION => walk.offset + (length + 2) * 4,
        _ => walk.offset + (length + 1) * 8,
    });
    if kind == protocol::FRAGMENT {
        walk.fragment = u32::from(header.offset.get());
        key.identification = u32::from_ne_bytes(header.identification.0);
    }
    walk.fragment & 0xfff8 == 0
}

/// Answers a packet whose transport header has been found, if it is for us.
#[inline(never)]
fn answer<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Result<(), Refusal> {
    let served = host.destination(&room.key.destination);
    if served & destination::ECHO == 0 {
        return Err(Refusal::NOT_OURS);
    }
    let piece = room.parts.fragment;
    if piece == Parts::LATER_FRAGMENT && !host.knows_fragments(&room.key) {
        return Err(Refusal::because(Counter::PassedFragment));
    }
    let answer = answer_transport(host, frame, room, served);
    if piece == Parts::FIRST_FRAGMENT {
        match answer {
            Ok(()) => host.remember_fragments(&room.key),
            Err(_) => host.forget_fragments(&room.key),
        }
    }
    answer
}

#[inline(always)]
fn answer_transport<H: Host, F: Frame>(
    host: &H,
    frame: &mut F,
    room: &mut Room,
    served: u32,
) -> Result<(), Refusal> {
    plan(host, frame, room, served)?;
    let Parts { transport, payload, end, .. } = room.parts;
    if end > frame.length() || payload > end {
        return Err(MALFORMED);
    }
    check(host, frame, room)?;
    room.reflected.bytes = end - payload;
    room.parts.stored = 0;
    room.parts.cut = 0;
    if payload != transport {
        match room.parts.wanted {
            protocols::TCP => answer_tcp(host, frame, room)?,
            protocols::UDP => room.parts.stored = size_of::<Ports>() as u32,
            _ => answer_ping(room),
        }
        if room.parts.wanted != protocols::ICMP {
            let ports = &mut room.segment.ports;
            core::mem::swap(&mut ports.source, &mut ports.destination);
        }
    }
    if turn(host, frame, room) { Ok(()) } else { Err(UNWRITABLE) }
}

/// Reads the transport header, of TCP without its options, and notes what is to be done with it: which counter counts
/// it, and where the payload begins, of a later fragment where the header would be.
#[inline(always)]
fn plan<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room, served: u32) -> Result<(), Refusal> {
    let Room { parts, segment, reflected, .. } = room;
    let v4 = parts.version == 4;
    let (wanted, counters, mut header_length) = match (parts.protocol as u8, v4) {
        (protocol::TCP, _) => (protocols::TCP, [Counter::Tcp4Packets, Counter::Tcp6Packets], Tcp::LENGTH),
        (protocol::UDP, _) => (protocols::UDP, [Counter::Udp4Packets, Counter::Udp6Packets], Udp::LENGTH),
        (protocol::ICMP, true) | (protocol::ICMPV6, false) => {
            (protocols::ICMP, [Counter::Icmp4Packets, Counter::Icmp6Packets], size_of::<Icmp>())
        }
        _ => return Err(Refusal::NOT_OURS),
    };
    let [counter_v4, counter_v6] = counters;
    reflected.packets = if v4 { counter_v4 } else { counter_v6 };
    parts.wanted = wanted;
    parts.payload = parts.transport;
    let ports = wanted != protocols::ICMP;
    let is_ping = H::WIRE && !ports && served & destination::VIRTUAL != 0;
    if host.protocols() & wanted == 0 && !is_ping {
        return Err(Refusal::NOT_OURS);
    }
    if parts.fragment == Parts::LATER_FRAGMENT {
        return Ok(());
    }
    load(frame, parts.transport, &mut segment.ports).ok_or(Refusal::NOT_OURS)?;
    if !ports {
        let [kind, code] = segment.ports.source.0;
        let request = if v4 { icmp::ECHO_REQUEST } else { icmp::ECHO_REQUEST_V6 };
        if kind != request || code != 0 {
            return Err(Refusal::NOT_OURS);
        }
    } else if !serves(host, segment.ports.destination.get()) {
        return Err(Refusal::NOT_OURS);
    }
    if wanted == protocols::TCP {
        header_length = load_tcp(frame, parts.transport, segment).ok_or(MALFORMED)?;
    }
    parts.payload = parts.transport + header_length as u32;
    Ok(())
}

/// Whether anything forbids an answer.
#[inline(always)]
fn check<H: Host, F: Frame>(host: &H, frame: &F, room: &Room) -> Result<(), Refusal> {
    let Room { parts, key, ethernet, segment: SegmentHeader { ports, .. }, .. } = room;
    let has_ports = parts.wanted != protocols::ICMP && parts.fragment != Parts::LATER_FRAGMENT;
    let own_source = key.source == key.destination;
    if !H::WIRE {
        let itself = has_ports && own_source && ports.source == ports.destination;
        return if itself { Err(Refusal::because(Counter::PassedOwnSource)) } else { Ok(()) };
    }
    if frame.audience() != Audience::Us {
        return Err(Refusal::because(Counter::PassedFrame));
    }
    let answerable = !host.has_ethernet() || ethernet.is_answerable();
    if !answerable || own_source || !host.answers(&key.source) {
        return Err(Refusal::because(Counter::DroppedSource));
    }
    if has_ports {
        let source = ports.source.get();
        let endpoint = serves(host, source) && host.destination(&key.source) & destination::ECHO != 0;
        if endpoint || parts.wanted == protocols::UDP && is_responder(source) {
            return Err(Refusal::because(Counter::DroppedLoop));
        }
    }
    if parts.hop_limit <= 1 {
        return Err(Refusal::because(Counter::DroppedTtl));
    }
    Ok(())
}

/// Makes an echo request its reply.
#[inline(always)]
fn answer_ping(room: &mut Room) {
    let Room { parts, segment, reflected, .. } = room;
    let message: &mut Icmp = view(segment);
    let mut edit = Edit::default();
    let old = message.kind_word();
    message.kind = if parts.version == 4 { icmp::ECHO_REPLY } else { icmp::ECHO_REPLY_V6 };
    edit.replace(old, message.kind_word());
    reflected.checksum = parts.transport + Icmp::CHECKSUM_OFFSET as u32;
    reflected.difference = edit.difference();
    parts.stored = 1;
}

/// Edits a TCP segment into its answer, all but the ports.
#[inline(always)]
fn answer_tcp<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Result<(), Refusal> {
    let Room { segment, options, parts, .. } = room;
    let flags = segment.tcp.flags;
    if flags & flag::RST != 0 {
        return Err(Refusal::because(Counter::Resets));
    }
    if !is_sensible(flags) {
        return Err(Refusal::because(Counter::DroppedFlags));
    }
    let is_syn = flags & flag::SYN != 0;
    if is_syn && parts.fragment != Parts::NO_FRAGMENT {
        return Err(Refusal::because(Counter::PassedFragment));
    }
    *options = Options::new(parts.transport + Tcp::LENGTH as u32, parts.payload);
    options.find(frame);
    if is_syn { answer_syn(host, frame, room) } else { answer_established(host, frame, room) }
}

/// Edits a SYN whose options have been found.
#[inline(never)]
fn answer_syn<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Result<(), Refusal> {
    let Room { segment, options, parts, reflected, .. } = room;
    options.load_all(frame);
    segment.options = [[0; 4]; SegmentHeader::OPTION_WORDS];
    let header_length = parts.payload - parts.transport;
    if !frame.load_part(parts.transport, segment, header_length as usize) {
        return Err(MALFORMED);
    }
    let mut edit = Edit::default();
    let overhead = parts.transport - parts.network + Tcp::LENGTH as u32;
    segment::answer_syn::<H>(segment, options, host.mtu().saturating_sub(overhead), &mut edit);
    reflected.event = Some(Counter::Handshakes);
    reflected.checksum = parts.transport + Tcp::CHECKSUM_OFFSET as u32;
    parts.stored = header_length;
    let (start, end) = (parts.payload, parts.end);
    if start != end {
        // Data in a SYN is not acknowledged, so it comes again behind the handshake (RFC 9293 section 3.4, RFC 7413
        // section 4.2.2). What was damaged must not get a right checksum, so that is corrected and not made anew.
        parts.cut = end - start;
        reflected.bytes = 0;
        reflected.cut = start;
        reflected.pseudo_difference = length_difference(end - parts.transport, end - start);
        let sum = sum(frame, room, start, end).ok_or(Refusal::because(Counter::DroppedData))?;
        edit.replace(u64::from(sum), 0);
    }
    room.reflected.difference = edit.difference();
    Ok(())
}

/// Edits any other segment whose options have been found.
#[inline(never)]
fn answer_established<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Result<(), Refusal> {
    let Room { segment, options, parts, key, reflected, .. } = room;
    let payload = parts.end - parts.payload;
    let established = Established::new(&segment.tcp, payload, parts.fragment == Parts::NO_FRAGMENT);
    let answer = established.answer::<H>().map_err(Refusal::because)?;
    let mut edit = Edit::default();
    options.load_timestamps(frame);
    options.echo_timestamp(frame, &mut edit).ok_or(UNWRITABLE)?;
    if let Some(edit) = segment::write::<H>(answer, &mut segment.tcp, edit) {
        reflected.checksum = parts.transport + Tcp::CHECKSUM_OFFSET as u32;
        reflected.difference = edit.difference();
    }
    parts.stored = Tcp::LENGTH as u32;
    if established.is_telling(host, parts.end - parts.network) {
        let Fragments { source, destination, .. } = key;
        let addresses = hint::addresses(address::sum(&source.address), address::sum(&destination.address));
        reflected.twice = host.learn(hint::slot(addresses, &segment.ports), payload != 0);
    }
    reflected.event = established.event();
    Ok(())
}

/// By how much the pseudo header of `length` bytes changes if these get `cut` fewer.
#[inline(always)]
fn length_difference(length: u32, cut: u32) -> u32 {
    let mut edit = Edit::default();
    edit.replace(Be16::new(length as u16).word(), Be16::new((length - cut) as u16).word());
    edit.difference()
}

/// Writes the edited headers back: addresses exchanged, on the wire one off the time to live, and what is cut off the
/// length. Returns whether that was possible.
#[inline(never)]
fn turn<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> bool {
    let Room { parts, ethernet, network, segment, reflected, .. } = room;
    if H::WIRE && host.has_ethernet() {
        ethernet.turn();
        if !frame.store(0, ethernet) {
            return false;
        }
    }
    let length;
    if parts.version == 4 {
        let header: &mut Ipv4 = view(network);
        reflected.unbalanced = header.turn(H::WIRE);
        length = size_of::<Ipv4>();
        if parts.cut != 0 {
            header.shorten(parts.cut);
        }
    } else {
        let header: &mut Ipv6 = view(network);
        reflected.unbalanced = header.turn(H::WIRE);
        length = size_of::<Ipv6>();
        if parts.cut != 0 {
            header.shorten(parts.cut);
        }
    }
    frame.store_part(parts.network, network, length)
        && (parts.stored == 0 || frame.store_part(parts.transport, segment, parts.stored as usize))
}

/// Copies a header out of the frame; `None` if it does not have it.
#[inline(always)]
pub(crate) fn load<T: Header>(frame: &impl Frame, offset: u32, to: &mut T) -> Option<()> {
    frame.load(offset, to).then_some(())
}

/// Copies the fixed part of the TCP header at `offset`. Returns the length of all of it in bytes; `None` if it is
/// malformed, or the frame ends before.
#[inline(always)]
fn load_tcp<F: Frame>(frame: &F, offset: u32, segment: &mut SegmentHeader) -> Option<usize> {
    load(frame, offset, view::<_, [u8; Tcp::LENGTH]>(segment))?;
    let length = segment.tcp.header_length();
    (length >= Tcp::LENGTH).then_some(length)
}

/// The sum of the bytes from `start` to `end`; `None` if these are more than a packet mostly has.
#[inline(always)]
fn sum<F: Frame>(frame: &F, room: &mut Room, start: u32, end: u32) -> Option<u32> {
    room.walk.offset = start;
    room.sum = 0;
    let _ = sum_step(frame, room, end) && sum_step(frame, room, end) && sum_step(frame, room, end);
    (room.walk.offset == end).then_some(room.sum)
}

/// Adds the next chunk to the sum. Returns whether another may follow.
#[inline(never)]
fn sum_step<F: Frame>(frame: &F, room: &mut Room, end: u32) -> bool {
    let Room { walk, chunk, sum, .. } = room;
    let left = end.wrapping_sub(walk.offset);
    let length = left.min(CHUNK as u32);
    for word in chunk.as_chunks_mut::<8>().0 {
        *word = [0; 8];
    }
    if !frame.load_part(walk.offset, chunk, length as usize) {
        return false;
    }
    *sum = frame.sum(chunk, *sum);
    walk.offset += length;
    length != left
}
