//! The headers of Ethernet payloads: fields in wire order, read and written through their names.

#![allow(unsafe_code)] // only for the `Header` implementations, which the compiler cannot check

use crate::address;
use crate::checksum::{self, Edit};
use crate::packet::Header;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of a service VLAN tag (IEEE 802.1ad).
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// IP protocol numbers (IANA), as IPv4 "protocol" and IPv6 "next header".
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// Whether an IPv6 "next header" is an extension header behind which a transport header may be.
#[inline(always)]
pub fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION_OPTIONS
    )
}

/// A 16-bit number in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Be16(pub [u8; 2]);

impl Be16 {
    /// `value` in network byte order.
    #[inline(always)]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be_bytes())
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be_bytes(self.0)
    }

    /// The bytes as this machine reads them: the unit of the Internet checksum, which is the same sum in
    /// either byte order (RFC 1071 section 2).
    #[inline(always)]
    pub const fn word(self) -> u64 {
        u16::from_ne_bytes(self.0) as u64
    }
}

/// A 32-bit number in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Be32(pub [u8; 4]);

impl Be32 {
    /// `value` in network byte order.
    #[inline(always)]
    pub const fn new(value: u32) -> Self {
        Self(value.to_be_bytes())
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        u32::from_be_bytes(self.0)
    }

    /// The bytes as this machine reads them, for checksums: see [`Be16::word`].
    #[inline(always)]
    pub const fn word(self) -> u64 {
        u32::from_ne_bytes(self.0) as u64
    }
}

/// An Ethernet header (IEEE 802.3), as loopback has one too.
#[repr(C)]
pub struct Ethernet {
    /// The receiver's MAC address.
    pub destination: [u8; 6],
    /// The sender's MAC address.
    pub source: [u8; 6],
    /// What the payload is.
    pub ethertype: Be16,
}

impl Ethernet {
    /// Exchanges the addresses.
    #[inline(always)]
    pub fn turn(&mut self) {
        core::mem::swap(&mut self.destination, &mut self.source);
    }

    /// Whether the sender's address is that of one station, and not the receiver's.
    #[inline(always)]
    pub fn is_answerable(&self) -> bool {
        self.source[0] & 1 == 0 && self.source != self.destination
    }
}

/// A VLAN tag behind its EtherType (IEEE 802.1Q).
#[repr(C)]
pub struct VlanTag {
    /// Priority, eligibility to be dropped, VLAN identifier.
    pub control: Be16,
    /// What the payload is.
    pub ethertype: Be16,
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[repr(C)]
pub struct Arp {
    /// Hardware type, protocol type, and the lengths of their addresses: see [`Arp::ETHERNET_IPV4`].
    pub kind: [u8; 6],
    /// Request or reply.
    pub operation: Be16,
    /// The sender's MAC address.
    pub sender_mac: [u8; 6],
    /// The sender's IPv4 address.
    pub sender: Be32,
    /// The MAC address that is asked for.
    pub target_mac: [u8; 6],
    /// The IPv4 address whose MAC address is asked for.
    pub target: Be32,
}

impl Arp {
    /// The kind of ARP that is understood: Ethernet (1), IPv4 (0x0800), lengths 6 and 4.
    pub const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
    /// A request.
    pub const REQUEST: Be16 = Be16::new(1);
    /// A reply.
    pub const REPLY: Be16 = Be16::new(2);
}

/// The fixed part of an IPv4 header (RFC 791 section 3.1).
#[repr(C)]
pub struct Ipv4 {
    /// Version 4 and the header's length in 32-bit words.
    pub version_length: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// The length of header and payload in bytes; zero in an aggregate above 64 KiB (BIG TCP).
    pub total_length: Be16,
    /// Identifies the fragments of a datagram.
    pub identification: Be16,
    /// Flags and the offset of a fragment.
    pub fragment: Be16,
    /// Time to live.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    /// The checksum of this header.
    pub checksum: Be16,
    /// The sender.
    pub source: Be32,
    /// The receiver.
    pub destination: Be32,
}

impl Ipv4 {
    /// The header's length in bytes, options included, as the header says: 0 to 60.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        usize::from(self.version_length & 0xf) * 4
    }

    /// Whether this is a piece of a datagram: more fragments follow, or the offset is not zero.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & 0x3fff != 0
    }

    /// Whether this is a piece of a datagram, but not the first.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.get() & 0x1fff != 0
    }

    /// Makes the header say that the packet is `bytes` shorter.
    #[inline(always)]
    pub fn shorten(&mut self, bytes: u32) {
        let length = Be16::new(self.total_length.get().wrapping_sub(bytes as u16));
        let mut edit = Edit::default();
        edit.replace(self.total_length.word(), length.word());
        self.checksum = edit.apply(self.checksum);
        self.total_length = length;
    }

    /// Exchanges the addresses, and if there is a `hop` takes one off the time to live. Returns by how much
    /// the sum of the header changes: not at all, as the checksum makes up for it.
    #[inline(always)]
    pub fn turn(&mut self, hop: bool) -> u32 {
        core::mem::swap(&mut self.source, &mut self.destination);
        if hop {
            self.ttl = self.ttl.wrapping_sub(1);
            self.checksum = checksum::raise(self.checksum, Be16([1, 0]));
        }
        0
    }
}

/// An IPv6 header (RFC 8200 section 3).
#[repr(C)]
pub struct Ipv6 {
    /// Version 6, traffic class, flow label.
    pub version_class_flow: Be32,
    /// The length of what follows in bytes; zero in an aggregate above 64 KiB (RFC 2675, BIG TCP).
    pub payload_length: Be16,
    /// What follows.
    pub next_header: u8,
    /// Time to live.
    pub hop_limit: u8,
    /// The sender.
    pub source: [u8; 16],
    /// The receiver.
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// Whether one of the addresses is an IPv4 address mapped into IPv6, which never is on any network (RFC 4942
    /// section 2.2), and would be taken for the IPv4 address.
    #[inline(always)]
    pub fn is_mapped(&self) -> bool {
        address::is_mapped(&self.source) || address::is_mapped(&self.destination)
    }

    /// Makes the header say that the packet is `bytes` shorter.
    #[inline(always)]
    pub fn shorten(&mut self, bytes: u32) {
        self.payload_length = Be16::new(self.payload_length.get().wrapping_sub(bytes as u16));
    }

    /// Exchanges the addresses, and if there is a `hop` takes one off the hop limit. Returns by how much the
    /// sum of the header changes, as a ones' complement difference in this machine's byte order.
    #[inline(always)]
    pub fn turn(&mut self, hop: bool) -> u32 {
        core::mem::swap(&mut self.source, &mut self.destination);
        if !hop {
            return 0;
        }
        let mut edit = Edit::default();
        edit.replace(Be16([0, 1]).word(), 0);
        self.hop_limit = self.hop_limit.wrapping_sub(1);
        edit.difference()
    }
}

/// The first eight bytes of an IPv6 extension header (RFC 8200 section 4, RFC 4302 section 2); none is shorter. The
/// fields are those of a fragment header (section 4.5), but for the first two, which all have.
#[repr(C)]
pub struct Ipv6Extension {
    /// What follows; in a fragment, what follows in the first one.
    pub next_header: u8,
    /// The length of this header, in units and from a place that depend on its kind.
    pub length: u8,
    /// Where the fragment belongs, in bytes, of which the three lowest bits are used otherwise: the lowest says
    /// that more fragments follow. If none of it is set the datagram is in one piece (RFC 6946).
    pub offset: Be16,
    /// Identifies the fragments of a datagram.
    pub identification: Be32,
}

impl Ipv6Extension {
    /// How many stops are left in a routing header (RFC 8200 section 4.4).
    #[inline(always)]
    pub fn segments_left(&self) -> u8 {
        self.offset.0[1]
    }
}

/// The header of ICMP and ICMPv6 echo messages (RFC 792, RFC 4443 section 4), up to their data.
#[repr(C)]
pub struct Icmp {
    /// What kind of message it is.
    pub kind: u8,
    /// More of that.
    pub code: u8,
    /// The checksum of the message, with a pseudo header for ICMPv6.
    pub checksum: Be16,
    /// Identifier and sequence number, or flags.
    pub rest: Be32,
}

impl Icmp {
    /// Where the checksum is.
    pub const CHECKSUM_OFFSET: usize = 2;

    /// Kind and code as one word of the checksum.
    #[inline(always)]
    pub fn kind_word(&self) -> u64 {
        Be16([self.kind, self.code]).word()
    }
}

/// Kinds of ICMP and ICMPv6 messages.
pub mod icmp {
    /// ICMP echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// ICMP echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// ICMPv6 echo request.
    pub const ECHO_REQUEST_V6: u8 = 128;
    /// ICMPv6 echo reply.
    pub const ECHO_REPLY_V6: u8 = 129;
    /// ICMPv6 neighbour solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// ICMPv6 neighbour advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
}

/// A neighbour solicitation or advertisement up to its options (RFC 4861 sections 4.3 and 4.4).
#[repr(C)]
pub struct Neighbour {
    /// Its beginning; the rest there are the flags.
    pub icmp: Icmp,
    /// The address whose MAC address is asked for.
    pub target: [u8; 16],
}

/// The option of a neighbour message that tells a MAC address (RFC 4861 section 4.6.1).
#[repr(C)]
pub struct LinkLayerOption {
    /// Whose address, and the length in units of 8 bytes.
    pub kind: [u8; 2],
    /// The address.
    pub mac: [u8; 6],
}

impl LinkLayerOption {
    /// The sum of its words.
    #[inline(always)]
    pub fn sum(&self) -> u64 {
        let [a, b, c, d, e, f] = self.mac;
        Be16(self.kind).word() + Be16([a, b]).word() + Be32([c, d, e, f]).word()
    }

    /// The sender's address.
    pub const SOURCE: [u8; 2] = [1, 1];
    /// The target's address.
    pub const TARGET: [u8; 2] = [2, 1];
}

/// A neighbour solicitation as it mostly is, with the sender's MAC address, or its answer.
#[repr(C)]
pub struct Solicitation {
    /// Its beginning.
    pub neighbour: Neighbour,
    /// Its first option.
    pub option: LinkLayerOption,
}

/// The ports, with which both TCP and UDP begin.
#[repr(C)]
pub struct Ports {
    /// The sender's port.
    pub source: Be16,
    /// The receiver's port.
    pub destination: Be16,
}

/// A header of IP and the ports that mostly are behind it.
#[repr(C)]
pub struct WithPorts<N> {
    /// The header of IP.
    pub network: N,
    /// The ports.
    pub ports: Ports,
}

// SAFETY: both have alignment one, no padding, and any value.
unsafe impl<N: Header> Header for WithPorts<N> {}

/// A TCP header behind its [`Ports`] and up to its options (RFC 9293 section 3.1).
#[repr(C)]
pub struct Tcp {
    /// Sequence number.
    pub sequence: Be32,
    /// Acknowledgment number.
    pub acknowledgment: Be32,
    /// The header's length in 32-bit words, reserved bits.
    pub offset: u8,
    /// The control bits: see [`flag`].
    pub flags: u8,
    /// The receive window, to be scaled.
    pub window: Be16,
    /// The checksum of pseudo header, header and payload.
    pub checksum: Be16,
    /// The urgent pointer.
    pub urgent: Be16,
}

impl Tcp {
    /// The length of a header without options.
    pub const LENGTH: usize = 20;
    /// The length of the longest header.
    pub const MAX_LENGTH: usize = 60;
    /// Where the checksum is, from the beginning of the ports.
    pub const CHECKSUM_OFFSET: usize = 16;

    /// The header's length in bytes, options included, as the header says: 0 to 60.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        usize::from(self.offset >> 4) * 4
    }

    /// The header's length and flags as one word of the checksum.
    #[inline(always)]
    pub fn offset_flags_word(&self) -> u64 {
        Be16([self.offset, self.flags]).word()
    }
}

/// The options in the layout in which Linux and most others put timestamps into every segment
/// (RFC 7323 appendix A).
#[repr(C)]
pub struct AlignedTimestamps {
    /// NOP, NOP, kind and length of the timestamps option: see [`AlignedTimestamps::KIND`].
    pub kind: Be32,
    /// The sender's clock.
    pub value: Be32,
    /// The receiver's clock, as it came back.
    pub echo: Be32,
}

impl AlignedTimestamps {
    /// NOP, NOP, kind and length of the timestamps option.
    pub const KIND: Be32 = Be32([1, 1, 8, 10]);
}

/// The longest TCP header.
#[repr(C)]
pub struct SegmentHeader {
    /// The ports.
    pub ports: Ports,
    /// The rest of the fixed part.
    pub tcp: Tcp,
    /// The options.
    pub options: [[u8; 4]; Self::OPTION_WORDS],
}

impl SegmentHeader {
    /// The options of the longest header, in 32-bit words.
    pub const OPTION_WORDS: usize = (Tcp::MAX_LENGTH - Tcp::LENGTH) / 4;
}

/// The control bits of TCP (RFC 9293 section 3.1).
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;
}

/// A UDP header behind its [`Ports`] (RFC 768).
#[repr(C)]
pub struct Udp {
    /// The length of header and payload in bytes; zero in an aggregate above 64 KiB.
    pub length: Be16,
    /// The checksum of pseudo header, header and payload; zero over IPv4 for none.
    pub checksum: Be16,
}

impl Udp {
    /// The length of the header in bytes.
    pub const LENGTH: usize = 8;
}

/// Declares that a structure above, which is `repr(C)` (or transparent) and has fields of bytes, arrays of bytes
/// and each other only, can be laid over any bytes.
macro_rules! headers {
    ($($header:ty),*) => {
        // SAFETY: such a structure has alignment one, no padding, and any value.
        $(unsafe impl Header for $header {})*
        const _: () = { $(assert!(align_of::<$header>() == 1);)* };
    };
}
headers!(Be16, Be32, Ethernet, VlanTag, Arp, Ipv4, Ipv6, Ipv6Extension, Icmp, Neighbour);
headers!(LinkLayerOption, Solicitation, Ports, Tcp, AlignedTimestamps, SegmentHeader, Udp);

const _: () = {
    assert!(size_of::<Ethernet>() == 14);
    assert!(size_of::<Ipv4>() == 20);
    assert!(size_of::<Ipv6>() == 40);
    assert!(size_of::<Arp>() == 28);
    assert!(size_of::<Ipv6Extension>() == 8);
    assert!(size_of::<Neighbour>() == 24);
    assert!(size_of::<LinkLayerOption>() == 8);
    assert!(size_of::<Ports>() + size_of::<Tcp>() == Tcp::LENGTH);
    assert!(size_of::<Ports>() + size_of::<Udp>() == Udp::LENGTH);
};
