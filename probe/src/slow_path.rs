//! All the rules, for packets of any form. Headers are copied to where their place does not matter, edited there,
//! and written back; nothing is written before it is clear that there is an answer.

use crate::abi::{Counter, Prefix, destination, link, protocols};
use crate::address;
use crate::checksum::Edit;
use crate::headers::{
    Be16, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN, Ethernet,
    Icmp, Ipv4, Ipv6, Ipv6Extension, Ports, SegmentHeader, Tcp, Udp, VlanTag, flag, icmp, is_extension,
    protocol,
};
use crate::hint;
use crate::host::{Audience, CHUNK, Fragments, Frame, Host, Room, Walk};
use crate::neighbour;
use crate::options::Options;
use crate::packet::{Header, view};
use crate::reflect::{Reflected, Refusal, end, has_neighbours, is_responder, serves};
use crate::segment::{self, Established, is_sensible};

/// An IP packet: where its parts are, in bytes from the beginning of the frame, and what they are.
struct Datagram {
    /// Whether it is IPv4, else IPv6.
    v4: bool,
    /// Where the IP header begins.
    network: u32,
    /// Where the transport header begins, or the payload of a later fragment.
    transport: u32,
    /// Where the packet ends. A short frame may have padding behind.
    end: u32,
    /// What is at `transport`, or at that of the first fragment.
    protocol: u8,
    hop_limit: u8,
    fragment: Fragment,
}

/// Which piece of a datagram a packet has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fragment {
    All,
    First,
    Later,
}

const MALFORMED: Refusal = Refusal::passed(Counter::PassedMalformed);

/// What becomes of a packet that cannot be written, perhaps for want of memory, and may be half edited.
pub(crate) const UNWRITABLE: Refusal = Refusal::consumed(Counter::DroppedMemory);

/// Turns `frame` round if it is for `host`.
#[inline(always)]
pub(crate) fn reflect<H: Host, F: Frame>(
    host: &H,
    frame: &mut F,
    room: &mut Room,
    reflected: &mut Reflected,
) -> Result<(), Refusal> {
    let (ethertype, network) = link_layer(host, frame, room).ok_or(Refusal::NOT_OURS)?;
    let datagram = match ethertype {
        ETHERTYPE_IPV4 => ipv4(frame, room, network).ok_or(Refusal::NOT_OURS)?,
        ETHERTYPE_IPV6 => ipv6(host, frame, room, network)?,
        ETHERTYPE_ARP if has_neighbours(host) => {
            return neighbour::arp(host, frame, room, network, reflected);
        }
        _ => return Err(Refusal::NOT_OURS),
    };
    // From here on, both versions of IP go the same way.
    let datagram = Datagram {
        v4: host.forget(u32::from(datagram.v4)) != 0,
        transport: host.forget(datagram.transport),
        end: host.forget(datagram.end),
        ..datagram
    };
    // Behind an extension header such messages are to be ignored (RFC 6980 section 5).
    let plain = datagram.transport == network + size_of::<Ipv6>() as u32;
    let Datagram { v4, transport, end, protocol, .. } = datagram;
    let may_ask = has_neighbours(host) && !v4 && plain && protocol == protocol::ICMPV6;
    if may_ask && neighbour::is_solicitation(frame, room, transport) {
        return neighbour::solicitation(host, frame, room, transport, end, reflected);
    }
    datagram.answer(host, frame, room, reflected)
}

/// Reads the link-layer header with up to two VLAN tags: the EtherType of what follows, and where that is.
#[inline(always)]
fn link_layer<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room) -> Option<(u16, u32)> {
    if H::WIRE && host.link() != link::ETHERNET {
        return Some((frame.ethertype(), 0));
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
    Some((ethertype, host.forget(offset)))
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN)
}

/// Reads an IPv4 header.
#[inline(always)]
fn ipv4<F: Frame>(frame: &F, room: &mut Room, network: u32) -> Option<Datagram> {
    let header: &mut Ipv4 = view(&mut room.network);
    load(frame, network, header)?;
    let header_length = header.header_length();
    if header.version_length >> 4 != 4 || header_length < size_of::<Ipv4>() {
        return None;
    }
    room.datagram.source = Prefix::whole(address::mapped(header.source));
    room.datagram.destination = Prefix::whole(address::mapped(header.destination));
    room.datagram.identification = u32::from(u16::from_ne_bytes(header.identification.0));
    let said = u32::from(header.total_length.get());
    Some(Datagram {
        v4: true,
        network,
        transport: network + header_length as u32,
        end: end(network, said, frame.length()),
        protocol: header.protocol,
        hop_limit: header.ttl,
        fragment: fragment(header.is_fragment(), header.is_later_fragment()),
    })
}

/// Reads an IPv6 header and its extension headers.
#[inline(always)]
fn ipv6<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room, network: u32) -> Result<Datagram, Refusal> {
    let header: &mut Ipv6 = view(&mut room.network);
    load(frame, network, header).ok_or(Refusal::NOT_OURS)?;
    if header.version_class_flow.0[0] >> 4 != 6 || header.is_mapped() {
        return Err(Refusal::NOT_OURS);
    }
    room.datagram.source = Prefix::whole(header.source);
    room.datagram.destination = Prefix::whole(header.destination);
    room.datagram.identification = 0;
    let said = u32::from(header.payload_length.get());
    let behind = network + size_of::<Ipv6>() as u32;
    let hop_limit = header.hop_limit;
    let next_header = header.next_header;
    room.walk = Walk { offset: behind, next_header: u32::from(next_header), fragment: 0 };
    // Hop-by-hop options, destination options, routing, fragment, authentication, destination options: no more
    // than these (RFC 8200 section 4.1).
    let _ = two_extension_steps(host, frame, room)
        && two_extension_steps(host, frame, room)
        && two_extension_steps(host, frame, room);
    let Walk { offset, next_header, fragment: piece } = room.walk;
    let fragment = fragment(piece & 0xfff9 != 0, piece & 0xfff8 != 0);
    let obstacle =
        next_header == Walk::OBSTACLE || fragment != Fragment::Later && is_extension(next_header as u8);
    if obstacle {
        let served = host.destination(&room.datagram.destination) & destination::ECHO != 0;
        return Err(if served { Refusal::passed(Counter::PassedExtension) } else { Refusal::NOT_OURS });
    }
    Ok(Datagram {
        v4: false,
        network,
        transport: offset,
        end: end(behind, said, frame.length()),
        protocol: next_header as u8,
        hop_limit,
        fragment,
    })
}

#[inline(always)]
fn fragment(is_fragment: bool, is_later: bool) -> Fragment {
    match (is_fragment, is_later) {
        (false, _) => Fragment::All,
        (true, false) => Fragment::First,
        (true, true) => Fragment::Later,
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
    let Room { walk, segment, datagram, .. } = room;
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
        datagram.identification = u32::from_ne_bytes(header.identification.0);
    }
    walk.fragment & 0xfff8 == 0
}

/// What a transport header asks for.
struct Plan {
    /// The counter of packets like this.
    counter: Counter,
    /// Which of [`protocols`] it is.
    protocol: u32,
    /// The length of the transport header in bytes; zero for a later fragment.
    header_length: usize,
}

impl Datagram {
    /// Answers a packet, if it is for us.
    #[inline(always)]
    fn answer<H: Host, F: Frame>(
        &self,
        host: &H,
        frame: &mut F,
        room: &mut Room,
        reflected: &mut Reflected,
    ) -> Result<(), Refusal> {
        let served = host.destination(&room.datagram.destination);
        if served & destination::ECHO == 0 {
            return Err(Refusal::NOT_OURS);
        }
        room.datagram.protocol = u32::from(self.protocol);
        if self.fragment == Fragment::Later && !host.knows_fragments(&room.datagram) {
            return Err(Refusal::passed(Counter::PassedFragment));
        }
        let answer = self.answer_transport(host, frame, room, served, reflected);
        if self.fragment == Fragment::First {
            match answer {
                Ok(()) => host.remember_fragments(&room.datagram),
                Err(_) => host.forget_fragments(&room.datagram),
            }
        }
        answer
    }

    #[inline(always)]
    fn answer_transport<H: Host, F: Frame>(
        &self,
        host: &H,
        frame: &mut F,
        room: &mut Room,
        served: u32,
        reflected: &mut Reflected,
    ) -> Result<(), Refusal> {
        let plan = self.plan(host, frame, &mut room.segment, served)?;
        // Without CAP_PERFMON the verifier also takes each branch that is never taken (kernel commit 9183671af6db), and
        // before Linux 6.17 follows it to the end of the program. Then it would walk along the options of TCP once for each
        // other protocol, with all the constants of that.
        let plan =
            Plan { counter: host.forget_counter(plan.counter), protocol: host.forget(plan.protocol), ..plan };
        let payload_start = host.forget(self.transport + plan.header_length as u32);
        if self.end > frame.length() || payload_start > self.end {
            return Err(MALFORMED);
        }
        self.check(host, frame, room, plan.protocol)?;

        let payload = self.end - payload_start;
        reflected.packets = plan.counter;
        reflected.bytes = payload;
        let mut stored = 0;
        let mut cut = 0;
        let mut edit = Edit::default();
        if plan.header_length != 0 {
            if plan.protocol == protocols::TCP {
                let event = self.answer_tcp(host, frame, room, payload_start, &mut edit, reflected)?;
                let is_syn = event == Some(Counter::Handshakes);
                reflected.event = event;
                stored = if is_syn { plan.header_length } else { Tcp::LENGTH };
                if is_syn && payload != 0 {
                    // Data in a SYN is not acknowledged, so it comes again behind the handshake (RFC 9293
                    // section 3.4, RFC 7413 section 4.2.2). What was damaged must not get a right checksum, so
                    // that is corrected and not made anew.
                    let sum = sum(frame, room, payload_start, self.end)
                        .ok_or(Refusal::consumed(Counter::DroppedData))?;
                    edit.replace(u64::from(sum), 0);
                    cut = payload;
                    reflected.bytes = 0;
                    reflected.cut = payload_start;
                    reflected.pseudo_difference = self.length_difference(payload);
                }
                reflected.checksum = self.transport + Tcp::CHECKSUM_OFFSET as u32;
                reflected.difference = edit.difference();
            }
            if plan.protocol != protocols::ICMP {
                let ports = &mut room.segment.ports;
                core::mem::swap(&mut ports.source, &mut ports.destination);
                stored = stored.max(size_of::<Ports>());
            } else {
                let message: &mut Icmp = view(&mut room.segment);
                let old = message.kind_word();
                message.kind = if self.v4 { icmp::ECHO_REPLY } else { icmp::ECHO_REPLY_V6 };
                edit.replace(old, message.kind_word());
                reflected.checksum = self.transport + Icmp::CHECKSUM_OFFSET as u32;
                reflected.difference = edit.difference();
                stored = 1;
            }
        }
        reflected.unbalanced = self.turn(host, frame, room, cut).ok_or(UNWRITABLE)?;
        let stored = host.forget(stored as u32) as usize;
        if stored != 0 && !frame.store_part(self.transport, &room.segment, stored) {
            return Err(UNWRITABLE);
        }
        Ok(())
    }

    /// Reads the transport header, of TCP without its options, and says what is to be done with it.
    #[inline(always)]
    fn plan<H: Host, F: Frame>(
        &self,
        host: &H,
        frame: &F,
        segment: &mut SegmentHeader,
        served: u32,
    ) -> Result<Plan, Refusal> {
        let (wanted, counter, mut header_length) = match (self.protocol, self.v4) {
            (protocol::TCP, true) => (protocols::TCP, Counter::Tcp4Packets, Tcp::LENGTH),
            (protocol::TCP, false) => (protocols::TCP, Counter::Tcp6Packets, Tcp::LENGTH),
            (protocol::UDP, true) => (protocols::UDP, Counter::Udp4Packets, Udp::LENGTH),
            (protocol::UDP, false) => (protocols::UDP, Counter::Udp6Packets, Udp::LENGTH),
            (protocol::ICMP, true) => (protocols::ICMP, Counter::Icmp4Packets, size_of::<Icmp>()),
            (protocol::ICMPV6, false) => (protocols::ICMP, Counter::Icmp6Packets, size_of::<Icmp>()),
            _ => return Err(Refusal::NOT_OURS),
        };
        let ports = wanted != protocols::ICMP;
        let is_ping = H::WIRE && !ports && served & destination::VIRTUAL != 0;
        if host.protocols() & wanted == 0 && !is_ping {
            return Err(Refusal::NOT_OURS);
        }
        if self.fragment == Fragment::Later {
            return Ok(Plan { counter, protocol: wanted, header_length: 0 });
        }
        load(frame, self.transport, &mut segment.ports).ok_or(Refusal::NOT_OURS)?;
        if !ports {
            let [kind, code] = segment.ports.source.0;
            let request = if self.v4 { icmp::ECHO_REQUEST } else { icmp::ECHO_REQUEST_V6 };
            if kind != request || code != 0 {
                return Err(Refusal::NOT_OURS);
            }
        } else if !serves(host, segment.ports.destination.get()) {
            return Err(Refusal::NOT_OURS);
        }
        if wanted == protocols::TCP {
            header_length = load_tcp(frame, self.transport, segment).ok_or(MALFORMED)?;
        }
        Ok(Plan { counter, protocol: wanted, header_length })
    }

    /// Whether anything forbids an answer.
    #[inline(always)]
    fn check<H: Host, F: Frame>(
        &self,
        host: &H,
        frame: &F,
        room: &Room,
        protocol: u32,
    ) -> Result<(), Refusal> {
        let Room { datagram, ethernet, segment: SegmentHeader { ports, .. }, .. } = room;
        let has_ports = protocol != protocols::ICMP && self.fragment != Fragment::Later;
        let own_source = datagram.source == datagram.destination;
        if !H::WIRE {
            let itself = has_ports && own_source && ports.source == ports.destination;
            return if itself { Err(Refusal::passed(Counter::PassedOwnSource)) } else { Ok(()) };
        }
        if frame.audience() != Audience::Us {
            return Err(Refusal::passed(Counter::PassedFrame));
        }
        let answerable = host.link() != link::ETHERNET || ethernet.is_answerable();
        if !answerable || own_source || !host.answers(&datagram.source) {
            return Err(Refusal::consumed(Counter::DroppedSource));
        }
        if has_ports {
            let source = ports.source.get();
            let endpoint =
                serves(host, source) && host.destination(&datagram.source) & destination::ECHO != 0;
            if endpoint || protocol == protocols::UDP && is_responder(source) {
                return Err(Refusal::consumed(Counter::DroppedLoop));
            }
        }
        if self.hop_limit <= 1 {
            return Err(Refusal::consumed(Counter::DroppedTtl));
        }
        Ok(())
    }

    /// Edits a TCP segment, whose payload begins at `payload_start`, into its answer, all but the ports. Returns what
    /// kind of segment it was, if it is counted.
    #[inline(always)]
    fn answer_tcp<H: Host, F: Frame>(
        &self,
        host: &H,
        frame: &mut F,
        room: &mut Room,
        payload_start: u32,
        edit: &mut Edit,
        reflected: &mut Reflected,
    ) -> Result<Option<Counter>, Refusal> {
        let Room { segment, options, datagram, .. } = room;
        let flags = segment.tcp.flags;
        if flags & flag::RST != 0 {
            return Err(Refusal::consumed(Counter::Resets));
        }
        if !is_sensible(flags) {
            return Err(Refusal::consumed(Counter::DroppedFlags));
        }
        let is_syn = flags & flag::SYN != 0;
        if is_syn && self.fragment != Fragment::All {
            return Err(Refusal::passed(Counter::PassedFragment));
        }
        *options = Options::new(self.transport + Tcp::LENGTH as u32, payload_start);
        options.find(frame);
        if is_syn {
            options.load_all(frame);
            segment.options = [[0; 4]; SegmentHeader::OPTION_WORDS];
            let length = (payload_start - self.transport) as usize;
            if !frame.load_part(self.transport, segment, length) {
                return Err(MALFORMED);
            }
            let overhead = self.transport - self.network + Tcp::LENGTH as u32;
            segment::answer_syn::<H>(segment, options, host.mtu().saturating_sub(overhead), edit);
            return Ok(Some(Counter::Handshakes));
        }
        let established =
            Established::new(&segment.tcp, self.end - payload_start, self.fragment == Fragment::All);
        let answer = established.answer::<H>().map_err(Refusal::consumed)?;
        segment::write::<H>(answer, &mut segment.tcp, edit);
        options.load_timestamps(frame);
        options.echo_timestamp(frame, edit).ok_or(UNWRITABLE)?;
        let Fragments { source, destination, .. } = datagram;
        let addresses = hint::addresses(address::sum(&source.address), address::sum(&destination.address));
        let slot = hint::slot(addresses, &segment.ports);
        let lesson = established.lesson(host, self.end - self.network, slot);
        lesson.note(host);
        reflected.twice = lesson.twice;
        Ok(established.event())
    }

    /// By how much the pseudo header changes if the packet gets `cut` bytes shorter.
    #[inline(always)]
    fn length_difference(&self, cut: u32) -> u32 {
        let length = self.end - self.transport;
        let mut edit = Edit::default();
        edit.replace(Be16::new(length as u16).word(), Be16::new((length - cut) as u16).word());
        edit.difference()
    }

    /// Exchanges the addresses, on the wire takes one off the time to live, and takes `cut` bytes off the length.
    /// Returns the change of the sum over the whole packet.
    #[inline(always)]
    fn turn<H: Host, F: Frame>(&self, host: &H, frame: &mut F, room: &mut Room, cut: u32) -> Option<u32> {
        if H::WIRE && host.link() == link::ETHERNET {
            room.ethernet.turn();
            frame.store(0, &room.ethernet).then_some(())?;
        }
        let (unbalanced, length);
        if self.v4 {
            let header: &mut Ipv4 = view(&mut room.network);
            unbalanced = header.turn(H::WIRE);
            length = size_of::<Ipv4>();
            if cut != 0 {
                header.shorten(cut);
            }
        } else {
            let header: &mut Ipv6 = view(&mut room.network);
            unbalanced = header.turn(H::WIRE);
            length = size_of::<Ipv6>();
            if cut != 0 {
                header.shorten(cut);
            }
        }
        frame.store_part(self.network, &room.network, length).then_some(unbalanced)
    }
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
    let _ = six_sum_steps(frame, room, end) && six_sum_steps(frame, room, end);
    (room.walk.offset == end).then_some(room.sum)
}

#[inline(always)]
fn six_sum_steps<F: Frame>(frame: &F, room: &mut Room, end: u32) -> bool {
    sum_step(frame, room, end)
        && sum_step(frame, room, end)
        && sum_step(frame, room, end)
        && sum_step(frame, room, end)
        && sum_step(frame, room, end)
        && sum_step(frame, room, end)
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
