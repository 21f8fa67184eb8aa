//! From a packet to its echo: whose it is, what becomes of it, and the edits that turn it round.
//!
//! A packet is edited in place. This module knows Ethernet, IP, TCP, UDP and ICMP; what differs between hooks is
//! behind [`Host`] and [`Frame`] and in what the caller does with the [`Outcome`].

use crate::abi::{Counter, protocols};
use crate::fast_path::{self, Obstacle};
use crate::host::{Audience, Extent, Frame, Host, Room};
use crate::packet::Packet;
use crate::slow_path;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The packet is its own answer now, and this is left to do and to count.
    Reflected(Reflected),
    /// It is not.
    Refused(Refusal),
}

/// A packet that is not reflected, and untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, if it is for us.
    pub reason: Option<Counter>,
}

impl Refusal {
    /// The packet is not for us.
    pub const NOT_OURS: Self = Self { reason: None };

    /// The packet is for us, but has no answer.
    #[inline(always)]
    pub const fn because(reason: Counter) -> Self {
        Self { reason: Some(reason) }
    }

    /// Whether the packet goes on; else it is to vanish, as if it had been received.
    #[inline(always)]
    pub fn goes_on(self) -> bool {
        self.reason.is_none_or(|reason| reason as u8 >= Counter::FIRST_PASSED as u8)
    }
}

/// What is left to do, and to count, for a packet that was turned round.
///
/// There is one from the beginning, which the rules fill in, and each field always has a value: of one without,
/// compilers make reads of memory that was never written, which the verifier of kernels before 6.3 refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Reflected {
    /// The payload that goes back, in bytes.
    pub bytes: u32,
    /// Where a checksum is that is to change, in bytes from the beginning of the frame; zero for none.
    pub checksum: u32,
    /// By how much it is to change for what it covers, in the way that is right for the state in which the kernel
    /// keeps it: new words less old words, a ones' complement sum in this machine's byte order.
    pub difference: u32,
    /// By how much it is to change for its pseudo header; likewise.
    pub pseudo_difference: u32,
    /// How the sum over the whole packet changes, for a kernel that knows that sum; likewise.
    pub unbalanced: u32,
    /// The length to which the frame is to be cut off then, in bytes; zero to leave it. (The kernel forgets the sum.)
    pub cut: u32,
    /// The counter of such packets; that of their bytes follows it.
    pub packets: Counter,
    /// Whether the packet is to be sent twice.
    pub twice: bool,
    /// What else the packet was, if it is counted.
    pub event: Option<Counter>,
}

impl Default for Reflected {
    #[inline(always)]
    fn default() -> Self {
        Self {
            packets: Counter::Tcp4Packets,
            bytes: 0,
            event: None,
            checksum: 0,
            difference: 0,
            pseudo_difference: 0,
            unbalanced: 0,
            cut: 0,
            twice: false,
        }
    }
}

/// Turns `packet` round, the linear part of a frame of this `extent` for `audience`, if it is for `host` and nothing
/// is unusual in it. `None` for what [`reflect`] is to look at, as most is not.
#[inline(always)]
pub fn reflect_usual<H: Host>(
    host: &H,
    packet: Packet,
    extent: &impl Extent,
    audience: Audience,
) -> Option<Outcome> {
    match fast_path::reflect(host, packet, extent, audience) {
        Ok(reflected) => Some(Outcome::Reflected(reflected)),
        Err(Obstacle::Refused(refusal)) => Some(Outcome::Refused(refusal)),
        Err(Obstacle::Unusual) => None,
    }
}

/// Turns `frame` round if it is for `host`, whatever form it has. `room` is room for its headers.
#[inline(always)]
pub fn reflect<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Outcome {
    room.reflected = Reflected::default();
    match slow_path::reflect(host, frame, room) {
        Ok(()) => Outcome::Reflected(room.reflected),
        Err(refusal) => Outcome::Refused(refusal),
    }
}

/// Where a packet ends that begins at `start` and says to be `said` bytes long, in a frame of `length` bytes. An
/// aggregate that is too long for its length field has zero there (RFC 2675, BIG TCP), and is as long as the kernel
/// says.
#[inline(always)]
pub(crate) fn end(start: u32, said: u32, length: u32) -> u32 {
    if said == 0 && length > start + u32::from(u16::MAX) { length } else { start + said }
}

/// Whether `port` is one of those that are echoed.
#[inline(always)]
pub(crate) fn serves(host: &impl Host, port: u16) -> bool {
    let (first, last) = host.port_range();
    u64::from(port) >= first && u64::from(port) <= last && host.serves_port(port)
}

/// Whether ARP requests and neighbour solicitations are answered.
#[inline(always)]
pub(crate) fn has_neighbours<H: Host>(host: &H) -> bool {
    H::WIRE && host.protocols() & protocols::NEIGHBOURS != 0
}

/// Whether a UDP port is that of a service which answers whatever comes, so that it and an echo would never end
/// (CERT CA-1996-01, CVE-2024-2169): echo, active users, daytime, quote of the day, chargen, time, DNS, TFTP, NTP.
#[inline(always)]
pub(crate) fn is_responder(port: u16) -> bool {
    matches!(port, 7 | 11 | 13 | 17 | 19 | 37 | 53 | 69 | 123)
}
