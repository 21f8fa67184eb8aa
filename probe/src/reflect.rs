//! From a packet to its echo: whose it is, what becomes of it, and the edits that turn it round.
//!
//! A packet is edited in place. This module knows Ethernet, IP, TCP, UDP and ICMP; what differs between hooks is
//! behind [`Host`] and [`Frame`] and in what the caller does with the [`Outcome`].

use crate::abi::{Counter, protocols};
use crate::host::{Frame, Host, Room};
use crate::{fast_path, slow_path};

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
    /// The counter of such packets, that of their bytes follows it; and the payload that goes back, in bytes.
    pub traffic: Option<(Counter, u32)>,
    /// What else the packet was, if it is counted.
    pub event: Option<Counter>,
    /// What is left to do.
    pub finish: Finish,
}

/// The last steps of an edit, which take more than the packet's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// The checksum at an offset in bytes from the beginning of the frame is to change by a difference, in the way
    /// that is right for the state in which the kernel keeps it: new words less old words, a ones' complement sum
    /// in this machine's byte order.
    pub checksum: Option<(u32, u32)>,
    /// How the sum over the whole packet changed, for a kernel that knows that sum; likewise.
    pub unbalanced: u32,
    /// The packet is to be sent as it is, and then once more with the cut.
    pub twice: bool,
    /// The segment is to be cut off behind its first bytes, by [`slow_path::cut`].
    pub cut: Option<Cut>,
}

/// Where a TCP segment is, and what is to be left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the IP header begins, in bytes from the beginning of the frame.
    pub network: u32,
    /// Where the TCP header begins, likewise.
    pub transport: u32,
    /// How much payload is left, in bytes: 0 or 1.
    pub payload: u32,
}

/// Turns `frame` round if it is for `host`. `room` lends room for unusual packets; without it they are not ours.
#[inline(always)]
pub fn reflect<'r, H: Host, F: Frame>(
    host: &H,
    frame: &mut F,
    room: impl FnOnce() -> Option<&'r mut Room>,
) -> Outcome {
    let (length, audience) = (frame.length(), frame.audience());
    if let Some(outcome) = fast_path::reflect(host, frame.linear(), length, audience) {
        return outcome;
    }
    match room() {
        Some(room) => slow_path::reflect(host, frame, room),
        None => Outcome::NotOurs,
    }
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
