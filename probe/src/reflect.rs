//! From a packet to its echo: whose it is, what becomes of it, and the edits that turn it round.
//!
//! A packet is edited in place and goes on the way it was going. This module knows Ethernet, IP, TCP and UDP;
//! what differs between hooks is behind [`Host`] and in what the caller does with the [`Outcome`].

use crate::abi::{Address, Counter};
use crate::checksum::{self, Edit};
use crate::headers::{
    Be16, Be32, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, Jumbo, Ports, Tcp, Udp, flag, protocol,
};
use crate::mirror::{self, Segment, SequenceNumber};
use crate::options;
use crate::packet::Packet;

/// What the rules ask of the hook they run in.
pub trait Host {
    /// The lowest and the highest served port: most of what is not ours is told by them alone.
    fn port_range(&self) -> (u16, u16);
    /// Whether `port`, which is in the range, is served.
    fn serves_port(&self, port: u16) -> bool;
    /// Whether `address` is served.
    fn serves_address(&self, address: &Address) -> bool;
    /// The MTU of the interface, in bytes.
    fn mtu(&self) -> u32;
    /// `value` as it is. In the kernel, the verifier then knows nothing of it any more: else it would follow
    /// all that comes behind once for each way in which the value may have come about.
    fn forget(&self, value: u32) -> u32 {
        value
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The packet is not for us and untouched.
    NotOurs,
    /// The packet is for us, but not to be reflected: it is untouched and goes on.
    Passed(Counter),
    /// The packet is for us and has no answer: it is to vanish, as if it had been received.
    Consumed(Counter),
    /// The packet is its own answer now.
    Reflected(Reflected),
}

/// What is left to do, and to count, for a packet that was turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reflected {
    /// The counter of such packets; that of their bytes follows it.
    pub packets: Counter,
    /// The payload that goes back, in bytes.
    pub bytes: u32,
    /// What else the packet was, if it is counted.
    pub event: Option<Counter>,
    /// What is left to do.
    pub finish: Finish,
}

/// The last step of an edit, which takes more than the packet's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All is done: what changed places left the checksum as it is.
    Nothing,
    /// The checksum `offset` bytes into the packet is to change by `difference`, in the way that is right
    /// for the state in which the kernel keeps it.
    Checksum {
        /// From the beginning of the Ethernet header, in bytes.
        offset: u32,
        /// New words less old words, a ones' complement sum in this machine's byte order.
        difference: u32,
    },
    /// The packet is to be cut to this length in bytes, Ethernet header included. Its checksums fit that.
    Trim(u32),
}

/// An IP packet for a transport we know.
struct Datagram<'a> {
    header: Network<'a>,
    /// The transport protocol.
    protocol: u8,
    /// Where the transport header begins, in bytes from the Ethernet header.
    transport: u32,
    /// Where the payload ends, likewise. A short frame may have padding behind.
    end: u32,
}

enum Network<'a> {
    V4(&'a mut Ipv4),
    V6(&'a mut Ipv6),
}

/// Turns `packet` round if it is for `host`. The packet begins with its Ethernet header and `length` is what
/// the kernel knows to be its length in bytes, of which not all need to be in `packet`.
#[inline(always)]
pub fn reflect(host: &impl Host, mut packet: Packet, length: u32) -> Outcome {
    let Some(ethernet) = packet.take::<Ethernet>() else { return Outcome::NotOurs };
    let datagram = match ethernet.ethertype.get() {
        ETHERTYPE_IPV4 => ipv4(host, &mut packet, length),
        ETHERTYPE_IPV6 => ipv6(host, &mut packet, length),
        _ => return Outcome::NotOurs,
    };
    let mut datagram = match datagram {
        Ok(datagram) => datagram,
        Err(outcome) => return outcome,
    };

    let Some(ports) = packet.take::<Ports>() else { return Outcome::NotOurs };
    let port = ports.destination.get();
    let (first, last) = host.port_range();
    if port < first || port > last || !host.serves_port(port) {
        return Outcome::NotOurs;
    }
    if !datagram.header.serves_destination(host) {
        return Outcome::NotOurs;
    }
    if ports.source == ports.destination && datagram.header.is_own_source() {
        return Outcome::Passed(Counter::PassedOwnSource);
    }
    if datagram.end > length || datagram.end < datagram.transport + Udp::LENGTH as u32 {
        return Outcome::Passed(Counter::PassedMalformed);
    }
    if datagram.protocol == protocol::TCP {
        tcp(host, &mut datagram, ports, &mut packet)
    } else {
        datagram.turn(ports);
        let (packets, _) = datagram.header.counters();
        let bytes = datagram.end - datagram.transport - Udp::LENGTH as u32;
        Outcome::Reflected(Reflected { packets, bytes, event: None, finish: Finish::Nothing })
    }
}

/// Reads an IPv4 header up to the transport header.
#[inline(always)]
fn ipv4<'a>(host: &impl Host, packet: &mut Packet<'a>, length: u32) -> Result<Datagram<'a>, Outcome> {
    let header = packet.take::<Ipv4>().ok_or(Outcome::NotOurs)?;
    let protocol = header.protocol;
    if protocol != protocol::TCP && protocol != protocol::UDP {
        return Err(Outcome::NotOurs);
    }
    if header.is_fragment() {
        return Err(passed_if_ours(host, &Network::V4(header), Counter::PassedFragment));
    }
    let header_length = header.header_length();
    if header_length < size_of::<Ipv4>() {
        return Err(Outcome::NotOurs);
    }
    packet.skip(header_length - size_of::<Ipv4>());
    let start = size_of::<Ethernet>() as u32;
    let end = end(start, u32::from(header.total_length.get()), length);
    Ok(Datagram { header: Network::V4(header), protocol, transport: start + header_length as u32, end })
}

/// Reads an IPv6 header up to the transport header.
#[inline(always)]
fn ipv6<'a>(host: &impl Host, packet: &mut Packet<'a>, length: u32) -> Result<Datagram<'a>, Outcome> {
    let header = packet.take::<Ipv6>().ok_or(Outcome::NotOurs)?;
    let start = (size_of::<Ethernet>() + size_of::<Ipv6>()) as u32;
    let end = end(start, u32::from(header.payload_length.get()), length);
    let mut protocol = header.next_header;
    let mut transport = start;
    if protocol == protocol::HOP_BY_HOP && header.payload_length.get() == 0 {
        let jumbo = packet.take::<Jumbo>().ok_or(Outcome::NotOurs)?;
        if jumbo.is_jumbo() {
            protocol = jumbo.next_header;
            transport += size_of::<Jumbo>() as u32;
        }
    }
    match protocol {
        protocol::TCP | protocol::UDP => {
            Ok(Datagram { header: Network::V6(header), protocol, transport, end })
        }
        protocol::FRAGMENT => Err(passed_if_ours(host, &Network::V6(header), Counter::PassedFragment)),
        protocol::HOP_BY_HOP
        | protocol::ROUTING
        | protocol::AUTHENTICATION
        | protocol::DESTINATION_OPTIONS => {
            Err(passed_if_ours(host, &Network::V6(header), Counter::PassedExtension))
        }
        _ => Err(Outcome::NotOurs),
    }
}

/// Where a packet ends that begins at `start` and says to be `said` bytes long. An aggregate that is too long
/// for its length field has zero there, and is as long as the kernel says.
#[inline(always)]
fn end(start: u32, said: u32, length: u32) -> u32 {
    if said == 0 { length } else { start + said }
}

/// What becomes of a packet whose ports cannot be read.
#[inline(always)]
fn passed_if_ours(host: &impl Host, header: &Network, counter: Counter) -> Outcome {
    if header.serves_destination(host) { Outcome::Passed(counter) } else { Outcome::NotOurs }
}

/// Turns a TCP segment round. The cursor is behind its ports.
#[inline(always)]
fn tcp(host: &impl Host, datagram: &mut Datagram, ports: &mut Ports, packet: &mut Packet) -> Outcome {
    let Some(tcp) = packet.take::<Tcp>() else { return Outcome::Passed(Counter::PassedMalformed) };
    let header_length = tcp.header_length();
    let payload_start = datagram.transport + header_length as u32;
    if header_length < Tcp::LENGTH || payload_start > datagram.end {
        return Outcome::Passed(Counter::PassedMalformed);
    }
    let options_length = header_length - Tcp::LENGTH;
    let mut bytes = datagram.end - payload_start;
    let flags = tcp.flags;
    if flags & flag::RST != 0 {
        return Outcome::Consumed(Counter::Resets);
    }
    if !matches!(flags & (flag::SYN | flag::FIN | flag::ACK), flag::SYN | flag::ACK | FIN_ACK) {
        return Outcome::Consumed(Counter::DroppedFlags);
    }

    if options_length != 0 && packet.peek::<[u8; 1]>(options_length - 1).is_none() {
        return Outcome::Passed(Counter::PassedMalformed);
    }
    let found = options::Found::unpack(host.forget(options::find(packet, options_length).pack()));
    let sequence = SequenceNumber(tcp.sequence.get());
    let mut edit = Edit::default();
    let mut event = None;
    if flags & flag::SYN != 0 {
        let scale = found.window_scale(packet);
        event = Some(Counter::Handshakes);
        // The whole header is noted, also what stays, as the checksum may be made anew.
        edit.replace(ports.source.word(), ports.source.word());
        edit.replace(ports.destination.word(), ports.destination.word());
        edit.replace(tcp.window.word(), tcp.window.word());
        edit.replace(tcp.urgent.word(), 0);
        tcp.urgent = Be16::new(0);
        set_numbers(tcp, mirror::initial_sequence(sequence, scale), sequence.after(1), &mut edit);
        // Exactly these flags: ECE and CWR mirrored are the broken answer of RFC 3168 section 6.1.1, and the
        // reserved bits may carry AccECN.
        let old = tcp.offset_flags_word();
        tcp.offset &= 0xf0;
        tcp.flags = flag::SYN | flag::ACK;
        edit.replace(old, tcp.offset_flags_word());
        let overhead = datagram.transport - size_of::<Ethernet>() as u32 + Tcp::LENGTH as u32;
        let _ = found.answer_syn(packet, options_length, host.mtu().saturating_sub(overhead), &mut edit);
    } else {
        let segment = Segment {
            sequence,
            acknowledgment: SequenceNumber(tcp.acknowledgment.get()),
            window: tcp.window.get(),
        };
        let fin = flags & flag::FIN != 0;
        let Some(answer) = mirror::answer(segment, bytes, fin) else {
            return Outcome::Consumed(Counter::DroppedStray);
        };
        if fin {
            event = Some(Counter::Closes);
        }
        set_numbers(tcp, answer.sequence, answer.acknowledgment, &mut edit);
        let window = Be16::new(answer.window);
        edit.replace(tcp.window.word(), window.word());
        tcp.window = window;
        found.echo_timestamp(packet, &mut edit);
    }

    let mut finish = Finish::Checksum {
        offset: datagram.transport + Tcp::CHECKSUM_OFFSET as u32,
        difference: edit.difference(),
    };
    if event == Some(Counter::Handshakes) && bytes != 0 {
        // Data in a SYN is not acknowledged, so it comes again behind the handshake (RFC 9293 section 3.4,
        // RFC 7413 section 4.2.2).
        tcp.checksum = datagram.trim(payload_start, tcp.checksum, edit.added);
        bytes = 0;
        finish = Finish::Trim(payload_start);
    }
    datagram.turn(ports);
    let (_, packets) = datagram.header.counters();
    Outcome::Reflected(Reflected { packets, bytes, event, finish })
}

const FIN_ACK: u8 = flag::FIN | flag::ACK;

#[inline(always)]
fn set_numbers(tcp: &mut Tcp, sequence: SequenceNumber, acknowledgment: SequenceNumber, edit: &mut Edit) {
    let (sequence, acknowledgment) = (Be32::new(sequence.0), Be32::new(acknowledgment.0));
    edit.replace(tcp.sequence.word(), sequence.word());
    edit.replace(tcp.acknowledgment.word(), acknowledgment.word());
    tcp.sequence = sequence;
    tcp.acknowledgment = acknowledgment;
}

impl Datagram<'_> {
    /// Exchanges the addresses and the ports, which changes no checksum.
    #[inline(always)]
    fn turn(&mut self, ports: &mut Ports) {
        core::mem::swap(&mut ports.source, &mut ports.destination);
        match &mut self.header {
            Network::V4(header) => core::mem::swap(&mut header.source, &mut header.destination),
            Network::V6(header) => core::mem::swap(&mut header.source, &mut header.destination),
        }
    }

    /// Makes the packet end at `end`, behind a TCP header whose words have the sum `header` and whose checksum
    /// was `checksum`. Returns the checksum it has then.
    ///
    /// A checksum that a device, or nobody on loopback, is to complete is the sum of the pseudo header alone
    /// (Linux CHECKSUM_PARTIAL). Nothing but the value tells: a complete checksum that happens to equal it,
    /// one in 65,536, is taken for that, the client drops the answer and repeats the SYN without data.
    #[inline(always)]
    fn trim(&mut self, end: u32, checksum: Be16, header: u64) -> Be16 {
        let addresses = self.header.addresses_sum() + Be16::new(u16::from(protocol::TCP)).word();
        let length = |end: u32| Be16::new((end - self.transport) as u16).word();
        let (old, new) = (addresses + length(self.end), addresses + length(end));
        let partial = checksum::fold_16(old).to_ne_bytes() == checksum.0;
        self.header.end_at(end);
        if partial { Be16(checksum::fold_16(new).to_ne_bytes()) } else { checksum::finish(new + header) }
    }
}

impl Network<'_> {
    #[inline(always)]
    fn serves_destination(&self, host: &impl Host) -> bool {
        match self {
            Network::V4(header) => {
                let [a, b, c, d] = header.destination.0;
                host.serves_address(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
            }
            Network::V6(header) => host.serves_address(&header.destination),
        }
    }

    #[inline(always)]
    fn is_own_source(&self) -> bool {
        match self {
            Network::V4(header) => header.source == header.destination,
            Network::V6(header) => header.source == header.destination,
        }
    }

    /// The counters of packets: UDP and TCP.
    #[inline(always)]
    fn counters(&self) -> (Counter, Counter) {
        match self {
            Network::V4(_) => (Counter::Udp4Packets, Counter::Tcp4Packets),
            Network::V6(_) => (Counter::Udp6Packets, Counter::Tcp6Packets),
        }
    }

    /// The sum of the two addresses.
    #[inline(always)]
    fn addresses_sum(&self) -> u64 {
        match self {
            Network::V4(header) => header.source.word() + header.destination.word(),
            Network::V6(header) => address_sum(&header.source) + address_sum(&header.destination),
        }
    }

    /// Makes the header say that the packet ends at `end`.
    #[inline(always)]
    fn end_at(&mut self, end: u32) {
        let length = end - size_of::<Ethernet>() as u32;
        match self {
            Network::V4(header) => {
                let length = Be16::new(length as u16);
                let mut edit = Edit::default();
                edit.replace(header.total_length.word(), length.word());
                header.checksum = edit.apply(header.checksum);
                header.total_length = length;
            }
            Network::V6(header) => {
                header.payload_length = Be16::new(length as u16 - size_of::<Ipv6>() as u16)
            }
        }
    }
}

#[inline(always)]
fn address_sum(address: &Address) -> u64 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    Be32([a, b, c, d]).word()
        + Be32([e, f, g, h]).word()
        + Be32([i, j, k, l]).word()
        + Be32([m, n, o, p]).word()
}
