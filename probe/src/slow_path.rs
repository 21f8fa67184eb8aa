//! All the rules, for packets of any form. Headers are copied to where their place does not matter, edited there,
//! and written back; nothing is written before it is clear that there is an answer.

use crate::abi::{Counter, Prefix, destination, link, protocols};
use crate::address;
use crate::checksum::{self, Edit};
use crate::headers::{
    Be16, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN, Ethernet,
    Icmp, Ipv4, Ipv6, Ipv6Extension, Ports, SegmentHeader, Tcp, Udp, VlanTag, flag, icmp, is_extension,
    protocol,
};
use crate::host::{Audience, Frame, Host, Room, Walk};
use crate::neighbour;
use crate::options::Options;
use crate::packet::{Header, view};
use crate::reflect::{Cut, Finish, Outcome, Reflected, has_neighbours, is_responder, serves};
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
    /// What is at `transport`; for an IPv6 fragment what the fragment header says, which only that of the first
    /// has to know.
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

const MALFORMED: Outcome = Outcome::Passed(Counter::PassedMalformed);

/// What becomes of a packet that cannot be written, perhaps for want of memory, and may be half edited.
pub(crate) const UNWRITABLE: Outcome = Outcome::Consumed(Counter::DroppedMemory);

/// Turns `frame` round if it is for `host`.
#[inline(always)]
pub(crate) fn reflect<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Outcome {
    match examine(host, frame, room) {
        Ok(reflected) => Outcome::Reflected(reflected),
        Err(outcome) => outcome,
    }
}

#[inline(always)]
fn examine<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Result<Reflected, Outcome> {
    let (ethertype, network) = link_layer(host, frame, room).ok_or(Outcome::NotOurs)?;
    let datagram = match ethertype {
        ETHERTYPE_IPV4 => ipv4(frame, room, network).ok_or(Outcome::NotOurs)?,
        ETHERTYPE_IPV6 => ipv6(host, frame, room, network)?,
        ETHERTYPE_ARP if has_neighbours(host) => return neighbour::arp(host, frame, room, network),
        _ => return Err(Outcome::NotOurs),
    };
    // From here on, both versions of IP go the same way.
    let datagram = Datagram {
        v4: host.forget(u32::from(datagram.v4)) != 0,
        transport: host.forget(datagram.transport),
        end: host.forget(datagram.end),
        ..datagram
    };
    if has_neighbours(host) && !datagram.v4 && datagram.protocol == protocol::ICMPV6 {
        let Datagram { transport, end, .. } = datagram;
        if let Some(answer) = neighbour::solicitation(host, frame, room, network, transport, end) {
            return answer;
        }
    }
    datagram.answer(host, frame, room)
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
        end: if said == 0 { frame.length() } else { network + said },
        protocol: header.protocol,
        hop_limit: header.ttl,
        fragment: fragment(header.is_fragment(), header.is_later_fragment()),
    })
}

/// Reads an IPv6 header and its extension headers.
#[inline(always)]
fn ipv6<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room, network: u32) -> Result<Datagram, Outcome> {
    let header: &mut Ipv6 = view(&mut room.network);
    load(frame, network, header).ok_or(Outcome::NotOurs)?;
    if header.version_class_flow.0[0] >> 4 != 6
        || address::is_mapped(&header.source)
        || address::is_mapped(&header.destination)
    {
        return Err(Outcome::NotOurs);
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
    let _ = two_steps(host, frame, room) && two_steps(host, frame, room) && two_steps(host, frame, room);
    let Walk { offset, next_header, fragment: piece } = room.walk;
    let fragment = fragment(piece & 0xfff9 != 0, piece & 0xfff8 != 0);
    let obstacle =
        next_header == Walk::OBSTACLE || fragment != Fragment::Later && is_extension(next_header as u8);
    if obstacle {
        let served = host.destination(&room.datagram.destination) & destination::ECHO != 0;
        return Err(if served { Outcome::Passed(Counter::PassedExtension) } else { Outcome::NotOurs });
    }
    Ok(Datagram {
        v4: false,
        network,
        transport: offset,
        // An aggregate that is too long for the field has zero there (RFC 2675, BIG TCP).
        end: if said == 0 { frame.length() } else { behind + said },
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
fn two_steps<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room) -> bool {
    step(host, frame, room) && step(host, frame, room)
}

/// Looks at one extension header. Returns whether another may follow.
#[inline(never)]
fn step<H: Host, F: Frame>(host: &H, frame: &F, room: &mut Room) -> bool {
    let Room { walk, segment, datagram, .. } = room;
    let kind = walk.next_header as u8;
    if !is_extension(kind) {
        return false;
    }
    let header: &mut Ipv6Extension = view(segment);
    // None is shorter than what is read of them. With stops left in a routing header, the destination is not the
    // last one.
    if !frame.load(walk.offset, header) || kind == protocol::ROUTING && header.segments_left() != 0 {
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
    /// Whether it has ports.
    ports: bool,
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
    ) -> Result<Reflected, Outcome> {
        let served = host.destination(&room.datagram.destination);
        if served & destination::ECHO == 0 {
            return Err(Outcome::NotOurs);
        }
        room.datagram.protocol = u32::from(self.protocol);
        if self.fragment == Fragment::Later && !host.knows_fragments(&room.datagram) {
            return Err(Outcome::Passed(Counter::PassedFragment));
        }
        let answer = self.answer_transport(host, frame, room, served);
        if self.fragment == Fragment::First {
            match answer {
                Ok(_) => host.remember_fragments(&room.datagram),
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
    ) -> Result<Reflected, Outcome> {
        let plan = self.plan(host, frame, &mut room.segment, served)?;
        let payload_start = self.transport + plan.header_length as u32;
        if self.end > frame.length() || payload_start > self.end {
            return Err(MALFORMED);
        }
        self.check(host, frame, room, plan.ports)?;

        let mut payload = self.end - payload_start;
        let mut finish = Finish::default();
        let mut event = None;
        let mut stored = 0;
        let mut edit = Edit::default();
        if plan.header_length != 0 {
            if self.protocol == protocol::TCP {
                event = self.answer_tcp(host, room, payload, plan.header_length, &mut edit)?;
                if event == Some(Counter::Handshakes) && payload != 0 {
                    // Data in a SYN is not acknowledged, so it comes again behind the handshake (RFC 9293
                    // section 3.4, RFC 7413 section 4.2.2).
                    payload = 0;
                    finish.cut = Some(Cut { network: self.network, transport: self.transport, payload });
                }
                let offset = self.transport + Tcp::CHECKSUM_OFFSET as u32;
                finish.checksum = Some((offset, edit.difference()));
            }
            if plan.ports {
                let ports = &mut room.segment.ports;
                core::mem::swap(&mut ports.source, &mut ports.destination);
                stored = if self.protocol == protocol::TCP { plan.header_length } else { size_of::<Ports>() };
            } else {
                let message: &mut Icmp = view(&mut room.segment);
                let old = message.kind_word();
                message.kind = if self.v4 { icmp::ECHO_REPLY } else { icmp::ECHO_REPLY_V6 };
                edit.replace(old, message.kind_word());
                let offset = self.transport + Icmp::CHECKSUM_OFFSET as u32;
                finish.checksum = Some((offset, edit.difference()));
                stored = 1;
            }
        }
        finish.unbalanced = self.turn(host, frame, room).ok_or(UNWRITABLE)?;
        let stored = host.forget(stored as u32) as usize;
        if stored != 0 && !frame.store_part(self.transport, &room.segment, stored) {
            return Err(UNWRITABLE);
        }
        Ok(Reflected { traffic: Some((plan.counter, payload)), event, finish })
    }

    /// Reads the transport header, of TCP with its options, and says what is to be done with it.
    #[inline(always)]
    fn plan<H: Host, F: Frame>(
        &self,
        host: &H,
        frame: &F,
        segment: &mut SegmentHeader,
        served: u32,
    ) -> Result<Plan, Outcome> {
        let (wanted, counter, mut header_length) = match (self.protocol, self.v4) {
            (protocol::TCP, true) => (protocols::TCP, Counter::Tcp4Packets, Tcp::LENGTH),
            (protocol::TCP, false) => (protocols::TCP, Counter::Tcp6Packets, Tcp::LENGTH),
            (protocol::UDP, true) => (protocols::UDP, Counter::Udp4Packets, Udp::LENGTH),
            (protocol::UDP, false) => (protocols::UDP, Counter::Udp6Packets, Udp::LENGTH),
            (protocol::ICMP, true) => (protocols::ICMP, Counter::Icmp4Packets, size_of::<Icmp>()),
            (protocol::ICMPV6, false) => (protocols::ICMP, Counter::Icmp6Packets, size_of::<Icmp>()),
            _ => return Err(Outcome::NotOurs),
        };
        let ports = wanted != protocols::ICMP;
        let is_ping = !ports && served & destination::VIRTUAL != 0;
        if host.protocols() & wanted == 0 && !is_ping {
            return Err(Outcome::NotOurs);
        }
        if self.fragment == Fragment::Later {
            return Ok(Plan { counter, ports: false, header_length: 0 });
        }
        load(frame, self.transport, &mut segment.ports).ok_or(Outcome::NotOurs)?;
        if !ports {
            let [kind, code] = segment.ports.source.0;
            let request = if self.v4 { icmp::ECHO_REQUEST } else { icmp::ECHO_REQUEST_V6 };
            if kind != request || code != 0 {
                return Err(Outcome::NotOurs);
            }
        } else if !serves(host, segment.ports.destination.get()) {
            return Err(Outcome::NotOurs);
        }
        if self.protocol == protocol::TCP {
            header_length = load_tcp(frame, self.transport, segment).ok_or(MALFORMED)?;
        }
        Ok(Plan { counter, ports, header_length })
    }

    /// Whether anything forbids an answer.
    #[inline(always)]
    fn check<H: Host, F: Frame>(
        &self,
        host: &H,
        frame: &F,
        room: &Room,
        has_ports: bool,
    ) -> Result<(), Outcome> {
        let Room { datagram, ethernet, segment: SegmentHeader { ports, .. }, .. } = room;
        let own_source = datagram.source == datagram.destination;
        if !H::WIRE {
            let itself = has_ports && own_source && ports.source == ports.destination;
            return if itself { Err(Outcome::Passed(Counter::PassedOwnSource)) } else { Ok(()) };
        }
        if frame.audience() != Audience::Us {
            return Err(Outcome::Passed(Counter::PassedFrame));
        }
        let answerable = host.link() != link::ETHERNET || ethernet.is_answerable();
        if !answerable || own_source || !host.answers(&datagram.source) {
            return Err(Outcome::Consumed(Counter::DroppedSource));
        }
        if has_ports {
            let source = ports.source.get();
            let endpoint =
                serves(host, source) && host.destination(&datagram.source) & destination::ECHO != 0;
            if endpoint || self.protocol == protocol::UDP && is_responder(source) {
                return Err(Outcome::Consumed(Counter::DroppedLoop));
            }
        }
        if self.hop_limit <= 1 {
            return Err(Outcome::Consumed(Counter::DroppedTtl));
        }
        Ok(())
    }

    /// Edits a TCP segment with `payload` bytes into its answer, all but the ports. Returns what kind of segment
    /// it was, if it is counted.
    #[inline(always)]
    fn answer_tcp<H: Host>(
        &self,
        host: &H,
        room: &mut Room,
        payload: u32,
        header_length: usize,
        edit: &mut Edit,
    ) -> Result<Option<Counter>, Outcome> {
        let tcp = &mut room.segment.tcp;
        if tcp.flags & flag::RST != 0 {
            return Err(Outcome::Consumed(Counter::Resets));
        }
        if !is_sensible(tcp.flags) {
            return Err(Outcome::Consumed(Counter::DroppedFlags));
        }
        let is_syn = tcp.flags & flag::SYN != 0;
        if is_syn && self.fragment != Fragment::All {
            return Err(Outcome::Passed(Counter::PassedFragment));
        }
        let length = header_length - Tcp::LENGTH;
        let mut options = Options { bytes: &mut room.segment.options, length, places: &mut room.options };
        options.find();
        if is_syn {
            let overhead = self.transport - self.network + Tcp::LENGTH as u32;
            segment::answer_syn::<H>(tcp, &mut options, host.mtu().saturating_sub(overhead), edit);
            return Ok(Some(Counter::Handshakes));
        }
        let established = Established { payload, whole: self.fragment == Fragment::All };
        let event = established.answer::<H>(tcp, edit).map_err(Outcome::Consumed)?;
        options.echo_timestamp(edit);
        Ok(event)
    }

    /// Exchanges the addresses, and on the wire takes one off the time to live. Returns the change of the sum
    /// over the whole packet.
    #[inline(always)]
    fn turn<H: Host, F: Frame>(&self, host: &H, frame: &mut F, room: &mut Room) -> Option<u32> {
        if H::WIRE && host.link() == link::ETHERNET {
            room.ethernet.turn();
            frame.store(0, &room.ethernet).then_some(())?;
        }
        let (unbalanced, length) = if self.v4 {
            (view::<_, Ipv4>(&mut room.network).turn(H::WIRE), size_of::<Ipv4>())
        } else {
            (view::<_, Ipv6>(&mut room.network).turn(H::WIRE), size_of::<Ipv6>())
        };
        frame.store_part(self.network, &room.network, length).then_some(unbalanced)
    }
}

/// Copies a header out of the frame; `None` if it does not have it.
#[inline(always)]
pub(crate) fn load<T: Header>(frame: &impl Frame, offset: u32, to: &mut T) -> Option<()> {
    frame.load(offset, to).then_some(())
}

/// Copies the TCP header at `offset`. Returns its length in bytes; `None` if it is malformed, or the frame ends
/// before.
#[inline(always)]
fn load_tcp<F: Frame>(frame: &F, offset: u32, segment: &mut SegmentHeader) -> Option<usize> {
    load(frame, offset, view::<_, [u8; Tcp::LENGTH]>(segment))?;
    let length = segment.tcp.header_length();
    if length < Tcp::LENGTH || !frame.load_part(offset, segment, length) {
        return None;
    }
    Some(length)
}

/// Edits a segment to end where `cut` says; the frame is still to be cut there. Returns the length of what is
/// left of the frame in bytes.
///
/// A checksum that a device, or nobody on loopback, is to complete is the sum of the pseudo header alone (Linux
/// CHECKSUM_PARTIAL). Nothing but the value tells: a complete checksum that happens to equal it, one in 65,536, is
/// taken for that, and the client drops the segment: a SYN is repeated, and a segment that was sent twice is not
/// missed.
#[inline(always)]
pub fn cut<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room, cut: &Cut) -> Option<u32> {
    let Cut { network, transport, payload } = *cut;
    let header_length = load_tcp(frame, transport, &mut room.segment)?;
    let payload_start = transport + host.forget(header_length as u32);
    let end = payload_start + payload;
    let mut sum = 0;
    if payload != 0 {
        let byte: &mut [u8; 1] = view(&mut room.options);
        load(frame, payload_start, byte)?;
        sum = Be16([byte[0], 0]).word();
    }
    load(frame, network, view::<_, Ipv4>(&mut room.network))?;
    let (addresses, old_end);
    if room.network[0] >> 4 == 4 {
        let ip: &mut Ipv4 = view(&mut room.network);
        addresses = ip.source.word() + ip.destination.word();
        old_end = network + u32::from(ip.total_length.get());
        let length = Be16::new((end - network) as u16);
        let mut edit = Edit::default();
        edit.replace(ip.total_length.word(), length.word());
        ip.checksum = edit.apply(ip.checksum);
        ip.total_length = length;
        frame.store(network, ip).then_some(())?;
    } else {
        let ip: &mut Ipv6 = view(&mut room.network);
        load(frame, network, ip)?;
        addresses = address::sum(&ip.source) + address::sum(&ip.destination);
        let behind = network + size_of::<Ipv6>() as u32;
        old_end = behind + u32::from(ip.payload_length.get());
        ip.payload_length = Be16::new((end - behind) as u16);
        frame.store(network, ip).then_some(())?;
    }
    let with_length = |end: u32| {
        addresses + Be16::new(u16::from(protocol::TCP)).word() + Be16::new((end - transport) as u16).word()
    };
    let old = room.segment.tcp.checksum;
    room.segment.tcp.checksum = Be16::new(0);
    let new = if checksum::fold_16(with_length(old_end)).to_ne_bytes() == old.0 {
        Be16(checksum::fold_16(with_length(end)).to_ne_bytes())
    } else {
        checksum::finish(with_length(end) + sum + room.segment.sum(header_length))
    };
    room.segment.tcp.checksum = new;
    frame.store(transport + Tcp::CHECKSUM_OFFSET as u32, &new).then_some(end)
}
