//! The contract between the program in the kernel and the process that loads it: names, sizes, counters.

/// The name of the program that sits on the egress hook of loopback.
pub const LOOPBACK_PROGRAM: &str = "bpfecho_lo";

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

    /// Every setting: the only symbols that may be undefined in a linked object.
    pub const ALL: [&str; 3] = [FIRST_PORT, LAST_PORT, MTU];
}

/// The maps, by the names of their symbols.
pub mod map {
    /// A hash of the served addresses: key [`super::Address`], value one unused byte.
    pub const ADDRESSES: &str = "bpfecho_addrs";
    /// An array of bits, one for each port: bit `port % 64` of the native-endian `u64` at index `port / 64`.
    pub const PORTS: &str = "bpfecho_ports";
    /// A per-CPU array with one entry: [`super::Counters`].
    pub const COUNTERS: &str = "bpfecho_counts";

    /// The entries of [`PORTS`].
    pub const PORT_WORDS: u32 = 65536 / 64;
}

/// An address as the map of addresses holds it: IPv6 in network byte order, IPv4 mapped (RFC 4291 2.5.5.2).
pub type Address = [u8; 16];

/// What is counted, in native byte order. Packets are counted as the hook sees them: on loopback one packet
/// may be an aggregate of many segments. Bytes are those of the payload that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// TCP packets over IPv4 that were sent back.
    Tcp4Packets,
    /// The payload bytes in them.
    Tcp4Bytes,
    /// TCP packets over IPv6 that were sent back.
    Tcp6Packets,
    /// The payload bytes in them.
    Tcp6Bytes,
    /// UDP datagrams over IPv4 that were sent back.
    Udp4Packets,
    /// The payload bytes in them.
    Udp4Bytes,
    /// UDP datagrams over IPv6 that were sent back.
    Udp6Packets,
    /// The payload bytes in them.
    Udp6Bytes,
    /// SYN segments answered.
    Handshakes,
    /// FIN segments sent back.
    Closes,
    /// RST segments consumed: they are never answered.
    Resets,
    /// Dropped: TCP flags that belong to no connection, such as SYN with FIN, or no ACK.
    DroppedFlags,
    /// Dropped: a TCP segment of a connection that began before the program did.
    DroppedStray,
    /// Passed: a fragment, which goes on to the host's own stack.
    PassedFragment,
    /// Passed: an IPv6 extension header in front of the transport header.
    PassedExtension,
    /// Passed: source and destination are the same address and port.
    PassedOwnSource,
    /// Passed: lengths that contradict each other, or headers that are not in the packet's linear part.
    PassedMalformed,
}

/// How many counters there are.
pub const COUNTERS: usize = Counter::PassedMalformed as usize + 1;

/// The value of [`map::COUNTERS`], indexed by [`Counter`].
pub type Counters = [u64; COUNTERS];
