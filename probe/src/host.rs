//! What the rules ask of the hook they run in. In the kernel the answers are maps, patched instructions and
//! helper calls; in tests they are whatever the test says.

use crate::abi::{Address, Prefix, destination};
use crate::address;
use crate::headers::{Be32, Ethernet, SegmentHeader};
use crate::options::Options;
use crate::packet::{Header, Packet, zeroed};
use crate::reflect::Reflected;

/// The configuration, and the little that is remembered.
pub trait Host {
    /// Whether packets come from other hosts and go back to them, out of the interface they came in. Else this
    /// is loopback: a packet is on its way to the host itself, and goes on.
    const WIRE: bool;
    /// Whether this is XDP in front of the wire's hook, which gets whatever is left alone here. A packet can be sent
    /// only once, to whom it is addressed is to be found out, and a checksum may be one that is left to the device.
    const XDP: bool = false;

    /// The lowest and the highest served port: most of what is not ours is told by them alone.
    fn port_range(&self) -> (u64, u64);
    /// Whether `port`, which is in the range, is served.
    fn serves_port(&self, port: u16) -> bool;
    /// The MTU of the interface, in bytes.
    fn mtu(&self) -> u32;
    /// What is echoed: a sum of [`crate::abi::protocols`].
    fn protocols(&self) -> u32;
    /// Of which versions of IP addresses are served: a sum of [`crate::abi::versions`].
    fn versions(&self) -> u32;
    /// Whether packets begin with an Ethernet header; else with that of IP.
    fn has_ethernet(&self) -> bool;
    /// The MAC address of the interface.
    fn mac(&self) -> [u8; 6];

    /// What a whole `address` is here: a sum of [`crate::abi::destination`], zero if it is not served.
    fn destination(&self, address: &Prefix) -> u32;
    /// Whether packets from a whole `address` are answered.
    fn answers(&self, address: &Prefix) -> bool;

    /// Whether what is sent to an IPv4 address is echoed.
    #[inline(always)]
    fn serves_v4(&self, address: Be32) -> bool {
        self.serves_v6(&address::mapped(address))
    }

    /// Whether what is sent to an address is echoed.
    #[inline(always)]
    fn serves_v6(&self, address: &Address) -> bool {
        self.destination(&Prefix::whole(*address)) & destination::ECHO != 0
    }

    /// Whether packets from an IPv4 address are answered.
    #[inline(always)]
    fn answers_v4(&self, address: Be32) -> bool {
        self.answers_v6(&address::mapped(address))
    }

    /// Whether packets from an address are answered.
    #[inline(always)]
    fn answers_v6(&self, address: &Address) -> bool {
        self.answers(&Prefix::whole(*address))
    }

    /// Whether the first fragment of `datagram` was sent back.
    fn knows_fragments(&self, datagram: &Fragments) -> bool;
    /// Notes that the first fragment of `datagram` is sent back.
    fn remember_fragments(&self, datagram: &Fragments);
    /// Notes that the first fragment of `datagram` is not.
    fn forget_fragments(&self, datagram: &Fragments);

    /// Whether a neighbour has claimed `address`.
    fn is_claimed(&self, address: &Prefix) -> bool;
    /// Notes that a neighbour claims `address`.
    fn claim(&self, address: &Prefix);

    /// Learns of a connection, as [`crate::hint::after`] does, whose hint is at `slot` and zero at first. Returns whether
    /// the message is to be sent twice. In XDP it then is not learned, as the packet goes on to where it is.
    fn learn(&self, slot: u16, is_message: bool) -> bool;

    /// `value` as it is. In the kernel, the verifier then knows nothing of it any more: else it would follow
    /// all that comes behind once for each way in which the value may have come about.
    fn forget(&self, value: u32) -> u32 {
        value
    }
}

/// What the fragments of one datagram have in common (RFC 791 section 3.2, RFC 8200 section 4.5). All fields
/// are words, as the kernel hashes the padding, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Fragments {
    /// The sender.
    pub source: Prefix,
    /// The receiver.
    pub destination: Prefix,
    /// The identification, as the header has it.
    pub identification: u32,
    /// What is fragmented.
    pub protocol: u32,
}

/// How long a frame is.
pub trait Extent {
    /// Whether it has `bytes` bytes or more.
    fn reaches(&self, bytes: u32) -> bool;
}

impl Extent for u32 {
    #[inline(always)]
    fn reaches(&self, bytes: u32) -> bool {
        bytes <= *self
    }
}

/// To whom a frame is addressed (`pkt_type` in linux/if_packet.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// This interface.
    Us,
    /// Many.
    Many,
    /// Somebody else.
    Other,
}

/// A frame: all of its bytes, wherever the kernel keeps them.
pub trait Frame {
    /// The bytes at its beginning that can be accessed at once.
    fn linear(&mut self) -> Packet<'_>;
    /// Its length in bytes.
    fn length(&self) -> u32;
    /// The EtherType, for frames without a link-layer header.
    fn ethertype(&self) -> u16;
    /// To whom it is addressed.
    fn audience(&self) -> Audience;
    /// Copies the header `offset` bytes from the beginning. Whether the frame has it.
    fn load<T: Header>(&self, offset: u32, to: &mut T) -> bool;
    /// Copies `length` bytes from `offset` to the beginning of `to`. Whether the frame has them, and `to` has room.
    fn load_part<T: Header>(&self, offset: u32, to: &mut T, length: usize) -> bool;
    /// Writes `header` at `offset`. Whether there was room, and memory.
    fn store<T: Header>(&mut self, offset: u32, header: &T) -> bool;
    /// The sum of the words of a part of the frame that was copied to `chunk`, plus `sum`: a ones' complement sum in
    /// this machine's byte order.
    fn sum(&self, chunk: &[u8; CHUNK], sum: u32) -> u32;
    /// Writes the first `length` bytes of `header` at `offset`. Whether there was room, and memory.
    fn store_part<T: Header>(&mut self, offset: u32, header: &T, length: usize) -> bool;
}

/// How many bytes are summed at a time.
pub const CHUNK: usize = 512;

/// How far a walk from IPv6 extension header to extension header has come.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Walk {
    /// Where the next header is, in bytes from the beginning of the frame.
    pub(crate) offset: u32,
    /// Its kind, or [`Walk::OBSTACLE`].
    pub(crate) next_header: u32,
    /// Which piece of a datagram this is: the offset field of a fragment header, zero without one.
    pub(crate) fragment: u32,
}

impl Walk {
    /// A header that cannot be read, or whose packet has not arrived yet.
    pub(crate) const OBSTACLE: u32 = 256;
}

/// Where the parts of a packet are, in bytes from the beginning of the frame, and what they are.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Parts {
    /// The version of IP.
    pub(crate) version: u32,
    /// Where the header of IP begins.
    pub(crate) network: u32,
    /// Where the transport header begins, or the payload of a later fragment.
    pub(crate) transport: u32,
    /// Where the payload begins.
    pub(crate) payload: u32,
    /// Where the packet ends. A short frame may have padding behind.
    pub(crate) end: u32,
    /// What is at `transport`, or at that of the first fragment.
    pub(crate) protocol: u32,
    /// The same as one of [`crate::abi::protocols`].
    pub(crate) wanted: u32,
    pub(crate) hop_limit: u32,
    /// Which piece of a datagram a packet has.
    pub(crate) fragment: u32,
    /// How many bytes of the transport header are edited.
    pub(crate) stored: u32,
    /// By how many bytes the packet is to become shorter.
    pub(crate) cut: u32,
    /// For a multiple of eight bytes.
    padding: u32,
}

impl Parts {
    /// All of it.
    pub(crate) const NO_FRAGMENT: u32 = 0;
    /// The first one of several.
    pub(crate) const FIRST_FRAGMENT: u32 = 1;
    /// Another one.
    pub(crate) const LATER_FRAGMENT: u32 = 2;
}

/// Room for headers that are not where they usually are. What is in it at the beginning has no meaning.
#[repr(C)]
pub struct Room {
    /// What tells the datagram from others, also if it is no fragment.
    pub(crate) key: Fragments,
    /// Its parts.
    pub(crate) parts: Parts,
    /// The way to the transport header.
    pub(crate) walk: Walk,
    /// The transport header.
    pub(crate) segment: SegmentHeader,
    /// The TCP options.
    pub(crate) options: Options,
    /// The network header.
    pub(crate) network: [u8; 40],
    /// A part of the payload.
    pub(crate) chunk: [u8; CHUNK],
    /// What becomes of it.
    pub(crate) reflected: Reflected,
    /// The sum of the payload so far.
    pub(crate) sum: u32,
    /// The link-layer header.
    pub(crate) ethernet: Ethernet,
    /// For a multiple of eight bytes.
    padding: [u8; 2],
}

const _: () = assert!(size_of::<Room>() == 48 + 48 + 12 + 60 + 40 + 40 + CHUNK + 28 + 4 + 16);

impl Default for Room {
    #[inline(always)]
    fn default() -> Self {
        let nobody = Prefix::whole([0; 16]);
        let key = Fragments { source: nobody, destination: nobody, identification: 0, protocol: 0 };
        Self {
            key,
            parts: Parts::default(),
            reflected: Reflected::default(),
            walk: Walk::default(),
            segment: zeroed(),
            options: Options::new(0, 0),
            network: [0; 40],
            chunk: [0; CHUNK],
            sum: 0,
            ethernet: zeroed(),
            padding: [0; 2],
        }
    }
}
