//! The contract between the programs in the kernel and the process that loads them: names, sizes, counters.

use crate::packet::halves;

/// The name of the program on the egress hook of loopback.
pub const LOOPBACK_PROGRAM: &str = "bpfecho_lo";
/// The name of the program on the ingress hook of every other interface.
pub const WIRE_PROGRAM: &str = "bpfecho_wire";
/// The name of the program that may be in front of that one, in XDP, and share its maps: it is faster, and passes on
/// whatever is unusual.
pub const XDP_PROGRAM: &str = "bpfecho_xdp";

/// The settings: symbols without a definition, whose *address* the loader's relocation replaces by a value.
///
/// They cost no lookup, and need no global data, which is newer than the oldest kernel we serve. A value is
/// never zero, because the compiler may assume that of an address.
pub mod setting {
    /// The lowest served port.
    pub const FIRST_PORT: &str = "bpfecho_first_port";
    /// The highest served port.
    pub const LAST_PORT: &str = "bpfecho_last_port";
    /// The MTU of the interface, in bytes.
    pub const MTU: &str = "bpfecho_mtu";
    /// What is echoed: a sum of [`super::protocols`].
    pub const PROTOCOLS: &str = "bpfecho_protocols";
    /// What packets begin with: one of [`super::link`].
    pub const LINK: &str = "bpfecho_link";
    /// The MAC address of the interface: its six bytes in memory order, then two bytes 1. Any value without
    /// [`super::link::ETHERNET`].
    pub const MAC: &str = "bpfecho_mac";
    /// Which helpers of the kernel may be called: one of [`super::helpers`].
    pub const HELPERS: &str = "bpfecho_helpers";

    /// Of which versions of IP addresses are served: a sum of [`super::versions`].
    pub const VERSIONS: &str = "bpfecho_versions";
    /// Whether every port from the first to the last is served: one of [`super::ports`].
    pub const PORTS: &str = "bpfecho_ports_are";
    /// The one IPv4 address that is served: [`super::lone_v4`]. Any other value for [`super::map::DESTINATIONS`].
    pub const LONE_V4: &str = "bpfecho_lone_v4";
    /// The one IPv6 address that is served: the first of [`super::lone_v6`]; likewise.
    pub const LONE_V6_HIGH: &str = "bpfecho_lone_v6_high";
    /// The second of them.
    pub const LONE_V6_LOW: &str = "bpfecho_lone_v6_low";
    /// Who is answered: one of [`super::sources`].
    pub const SOURCES: &str = "bpfecho_sources";
    /// The IPv4 address that is not answered although [`super::sources::EVERYBODY`] is: as [`super::lone_v4`], or any
    /// other value for none.
    pub const BROADCAST: &str = "bpfecho_broadcast";

    /// Every setting: the only symbols that may be undefined in a linked object.
    pub const ALL: [&str; 14] = [
        FIRST_PORT,
        LAST_PORT,
        MTU,
        PROTOCOLS,
        LINK,
        MAC,
        HELPERS,
        VERSIONS,
        PORTS,
        LONE_V4,
        LONE_V6_HIGH,
        LONE_V6_LOW,
        SOURCES,
        BROADCAST,
    ];
}

/// The values that [`setting::PROTOCOLS`] is the sum of.
pub mod protocols {
    /// TCP on the served ports.
    pub const TCP: u32 = 1;
    /// UDP on the served ports.
    pub const UDP: u32 = 2;
    /// ICMP and ICMPv6 echo requests.
    pub const ICMP: u32 = 4;
    /// There are [`super::destination::VIRTUAL`] hosts: their neighbours are answered.
    pub const NEIGHBOURS: u32 = 8;
}

/// The values of [`setting::LINK`].
pub mod link {
    /// An Ethernet header.
    pub const ETHERNET: u32 = 1;
    /// Nothing: packets begin with their IP header, as those of tunnels do.
    pub const NONE: u32 = 2;
}

/// The values of [`setting::HELPERS`].
pub mod helpers {
    /// Those of 4.19. XDP then takes frames to be as long as their packets say.
    pub const OLD: u32 = 1;
    /// Those that came later and are of use: XDP learns the length of a frame, also of one in fragments (5.18), and
    /// packets that have lost their link-layer header (6.9) get it back (5.8).
    pub const NEW: u32 = 2;
}

/// The values that [`setting::VERSIONS`] is the sum of. What a program is not to serve, the verifier need not follow.
pub mod versions {
    /// IPv4.
    pub const V4: u32 = 1;
    /// IPv6.
    pub const V6: u32 = 2;
}

/// The values of [`setting::PORTS`].
pub mod ports {
    /// Every port of the range is served.
    pub const ALL: u32 = 1;
    /// Those are that [`super::map::PORTS`] has.
    pub const LISTED: u32 = 2;
}

/// The values of [`setting::SOURCES`].
pub mod sources {
    /// Everybody but whose addresses are nobody's, and [`super::setting::BROADCAST`].
    pub const EVERYBODY: u32 = 1;
    /// As [`super::map::SOURCES`] has it.
    pub const LISTED: u32 = 2;
}

/// The value of a setting for which there is no address.
pub const NO_ADDRESS: u64 = 1;

/// The value of [`setting::LONE_V4`] for `address`.
#[inline(always)]
pub const fn lone_v4(address: [u8; 4]) -> u64 {
    // Never zero, and not `NO_ADDRESS`.
    1 << 32 | u32::from_ne_bytes(address) as u64
}

/// The values of [`setting::LONE_V6_HIGH`] and [`setting::LONE_V6_LOW`] for `address`, which are zero or
/// [`NO_ADDRESS`] for very few addresses: these have to be looked up.
#[inline(always)]
pub fn lone_v6(address: &Address) -> [u64; 2] {
    // Addresses are full of zeros, and no setting may be zero: so here a number stands for them that no address has.
    const ZERO: u64 = 0x9e37_79b9_7f4a_7c15;
    halves(address).map(|half| half ^ ZERO)
}

/// The maps, by the names of their symbols.
pub mod map {
    /// A trie of the served addresses: key [`super::Prefix`], value a native-endian `u32`, a sum of
    /// [`super::destination`]. The longest prefix decides; zero makes a hole.
    pub const DESTINATIONS: &str = "bpfecho_to";
    /// A trie of the addresses that are answered, on every interface but loopback: key [`super::Prefix`],
    /// value a native-endian `u32`, not zero to answer. The longest prefix decides.
    pub const SOURCES: &str = "bpfecho_from";
    /// An array of bits, one for each port: bit `port % 64` of the native-endian `u64` at index `port / 64`.
    pub const PORTS: &str = "bpfecho_ports";
    /// A per-CPU array of all counters, two in each entry: [`super::CounterPair`].
    pub const COUNTERS: &str = "bpfecho_counts";
    /// A hash of the fragmented datagrams whose first fragment was sent back, the least recently used of which
    /// make room. Nothing for user space.
    pub const FRAGMENTS: &str = "bpfecho_frags";
    /// A hash of the addresses of virtual hosts that a neighbour has claimed for itself, the least recently
    /// used of which make room. Nothing for user space.
    pub const CLAIMED: &str = "bpfecho_claimed";
    /// An array of hints, found by a hash of the connection, about clients that wait for acknowledgments.
    /// Nothing for user space.
    pub const HINTS: &str = "bpfecho_hints";
    /// A per-CPU array with one entry: room for headers that are not where they usually are. Nothing for user
    /// space.
    pub const SCRATCH: &str = "bpfecho_scratch";

    /// Every map.
    pub const ALL: [&str; 8] = [DESTINATIONS, SOURCES, PORTS, COUNTERS, FRAGMENTS, CLAIMED, HINTS, SCRATCH];

    /// The entries of [`COUNTERS`].
    pub const COUNTER_PAIRS: u32 = super::COUNTERS.div_ceil(2) as u32;

    /// The entries of [`PORTS`].
    pub const PORT_WORDS: u32 = 65536 / 64;
}

/// The values that an entry of [`map::DESTINATIONS`] is the sum of.
pub mod destination {
    /// What is sent there is echoed, as [`super::setting::PROTOCOLS`] says.
    pub const ECHO: u32 = 1;
    /// The host exists in the program only: it answers ARP, neighbour solicitations and ping, too.
    pub const VIRTUAL: u32 = 2;
}

/// An address: IPv6 in network byte order, IPv4 mapped (RFC 4291 2.5.5.2).
pub type Address = [u8; 16];

/// The key of a trie (`struct bpf_lpm_trie_key` in linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Prefix {
    /// How many bits of the address count, in native byte order: 0 to 128, for IPv4 96 to 128.
    pub length: u32,
    /// The address.
    pub address: Address,
}

const _: () = assert!(size_of::<Prefix>() == 20);

impl Prefix {
    /// All of `address`.
    #[inline(always)]
    pub const fn whole(address: Address) -> Self {
        Self { length: u128::BITS, address }
    }
}

/// What is counted, in native byte order. Packets are counted as the hook sees them: one packet may be an
/// aggregate of many segments. Bytes are those of the payload that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// TCP packets over IPv4 that were sent back.
    Tcp4Packets,
    /// The payload bytes in them.
    Tcp4Bytes,
    /// TCP packets over IPv6 that were sent back.
    Tcp6Packets,
    /// The payload bytes in them.
    Tcp6Bytes,
    /// UDP packets over IPv4 that were sent back, each fragment one.
    Udp4Packets,
    /// The payload bytes in them.
    Udp4Bytes,
    /// UDP packets over IPv6 that were sent back, each fragment one.
    Udp6Packets,
    /// The payload bytes in them.
    Udp6Bytes,
    /// ICMP echo requests that were answered, each fragment one.
    Icmp4Packets,
    /// The payload bytes in them.
    Icmp4Bytes,
    /// ICMPv6 echo requests that were answered, each fragment one.
    Icmp6Packets,
    /// The payload bytes in them.
    Icmp6Bytes,
    /// SYN segments answered.
    Handshakes,
    /// FIN segments sent back.
    Closes,
    /// RST segments consumed: they are never answered.
    Resets,
    /// Segments sent twice, to a client that waits for its own delayed acknowledgment.
    Nudges,
    /// ARP requests and neighbour solicitations answered for virtual hosts.
    Neighbours,
    /// Dropped: TCP flags that belong to no connection, such as SYN with FIN, or no ACK.
    DroppedFlags,
    /// Dropped: a SYN with more data than is looked at. Clients repeat it without.
    DroppedData,
    /// Dropped: a TCP segment of a connection that began before the program did.
    DroppedStray,
    /// Dropped: from an address that is nobody's, such as a multicast address, or that is not allowed.
    DroppedSource,
    /// Dropped: from one of the echoed ports, or a port whose service answers everything: it might never end.
    DroppedLoop,
    /// Dropped: the time to live has run out.
    DroppedTtl,
    /// Dropped: the kernel had no memory to make the packet writable.
    DroppedMemory,
    // What follows is passed on: see `FIRST_PASSED`.
    /// Passed: a fragment whose datagram did not begin here.
    PassedFragment,
    /// Passed: more IPv6 extension headers than are looked at, or one that is not understood.
    PassedExtension,
    /// Passed: on loopback, source and destination are the same address and port.
    PassedOwnSource,
    /// Passed: lengths that contradict each other.
    PassedMalformed,
    /// Passed from XDP to the tc hook: the checksum is left to the device.
    PassedPartial,
    /// Passed: the frame is for another host or for many.
    PassedFrame,
}

impl Counter {
    /// Packets that are counted by this one or any behind it go on; others that are not sent back vanish.
    pub const FIRST_PASSED: Self = Self::PassedFragment;
}

/// How many counters there are.
pub const COUNTERS: usize = Counter::PassedFrame as usize + 1;

/// A value of [`map::COUNTERS`]: the counters whose numbers are twice the index, and one more. So packets and their
/// bytes are side by side, and no program has to add a variable to a pointer: see `options`.
pub type CounterPair = [u64; 2];

/// All counters, indexed by [`Counter`].
pub type Counters = [u64; COUNTERS];
