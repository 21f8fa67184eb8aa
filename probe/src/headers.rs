//! The headers of Ethernet payloads: fields in wire order, read and written through their names.

#![allow(unsafe_code)] // only for the `Header` implementations, which the compiler cannot check

use crate::packet::Header;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// IP protocol numbers (IANA), as IPv4 "protocol" and IPv6 "next header".
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
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
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
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

/// A hop-by-hop options header with a jumbo payload option (RFC 2675 section 2), as Linux puts it into an
/// IPv6 aggregate above 64 KiB.
#[repr(C)]
pub struct Jumbo {
    /// What follows.
    pub next_header: u8,
    /// The length of this header in units of 8 bytes, less the first.
    pub length: u8,
    /// Option type 0xc2 and option length 4.
    pub option: [u8; 2],
    /// The length in bytes of all that follows the IPv6 header.
    pub payload_length: Be32,
}

impl Jumbo {
    /// Whether this is the header that the jumbo option makes when it is the only one.
    #[inline(always)]
    pub fn is_jumbo(&self) -> bool {
        self.length == 0 && self.option == [0xc2, 4]
    }
}

/// The ports, with which both TCP and UDP begin.
#[repr(C)]
pub struct Ports {
    /// The sender's port.
    pub source: Be16,
    /// The receiver's port.
    pub destination: Be16,
}

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
headers!(Be16, Be32, Ethernet, Ipv4, Ipv6, Jumbo, Ports, Tcp, Udp);

const _: () = {
    assert!(size_of::<Ethernet>() == 14);
    assert!(size_of::<Ipv4>() == 20);
    assert!(size_of::<Ipv6>() == 40);
    assert!(size_of::<Jumbo>() == 8);
    assert!(size_of::<Ports>() + size_of::<Tcp>() == Tcp::LENGTH);
    assert!(size_of::<Ports>() + size_of::<Udp>() == Udp::LENGTH);
};
