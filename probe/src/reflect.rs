//! From a packet to its echo: whose it is, what becomes of it, and the edits that turn it round.
//!
//! A packet is edited in place. This module knows Ethernet, IP, TCP, UDP and ICMP; what differs between hooks is
//! behind [`Host`] and [`Frame`] and in what the caller does with the [`Outcome`].

use crate::abi::{Counter, protocols};
use crate::host::{Audience, Frame, Host, Room};
use crate::packet::Packet;
use crate::{fast_path, slow_path};

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
    /// Whether it goes on; else it is to vanish, as if it had been received.
    pub goes_on: bool,
    /// Why, if it is for us.
    pub reason: Option<Counter>,
}

impl Refusal {
    /// The packet is not for us.
    pub const NOT_OURS: Self = Self { goes_on: true, reason: None };

    /// The packet is for us, but not to be reflected: it goes on.
    #[inline(always)]
    pub const fn passed(reason: Counter) -> Self {
        Self { goes_on: true, reason: Some(reason) }
    }

    /// The packet is for us and has no answer.
    #[inline(always)]
    pub const fn consumed(reason: Counter) -> Self {
        Self { goes_on: false, reason: Some(reason) }
    }
}

/// What is left to do, and to count, for a packet that was turned round.
///
/// There is one from the beginning, which the rules fill in, and each field always has a value: of one without,
/// compilers make reads of memory that was never written, which the verifier of kernels before 6.3 refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reflected {
    /// The counter of such packets; that of their bytes follows it.
    pub packets: Counter,
    /// The payload that goes back, in bytes.
    pub bytes: u32,
    /// What else the packet was, if it is counted.
    pub event: Option<Counter>,
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
    /// Whether the packet is to be sent twice.
    pub twice: bool,
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

/// Turns `frame` round if it is for `host`. `room` lends room for unusual packets; without it they are not ours.
#[inline(always)]
pub fn reflect<'r, H: Host, F: Frame>(
    host: &H,
    frame: &mut F,
    room: impl FnOnce() -> Option<&'r mut Room>,
) -> Outcome {
    let mut reflected = Reflected::default();
    let (length, audience) = (frame.length(), frame.audience());
    let answer = match fast_path::reflect(host, frame.linear(), length, audience, &mut reflected) {
        Some(answer) => answer,
        None => match room() {
            Some(room) => slow_path::reflect(host, frame, room, &mut reflected),
            None => Err(Refusal::NOT_OURS),
        },
    };
    match answer {
        Ok(()) => Outcome::Reflected(reflected),
        Err(refusal) => Outcome::Refused(refusal),
    }
}

/// Turns `packet` round in XDP, a frame of `length` bytes, checksum and all, if it is for `host` and nothing is unusual
/// in it. Every other packet goes on.
#[inline(always)]
pub fn reflect_in_xdp<H: Host>(host: &H, packet: Packet, length: u32) -> Outcome {
    const { assert!(H::WIRE && H::XDP) };
    let mut reflected = Reflected::default();
    match fast_path::reflect(host, packet, length, Audience::Us, &mut reflected) {
        Some(Ok(())) => Outcome::Reflected(reflected),
        Some(Err(refusal)) => Outcome::Refused(refusal),
        None => Outcome::Refused(Refusal::NOT_OURS),
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
    port >= first && port <= last && host.serves_port(port)
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
