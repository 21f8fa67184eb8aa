//! Clients that wait for their own acknowledgment, and how they are told from others.
//!
//! A client with Nagle's algorithm (RFC 9293 section 3.7.4) sends nothing small while a byte is
//! unacknowledged. The mirror acknowledges nothing before the client does, and the client's acknowledgment of
//! the echo waits for its delayed-ACK timer: some 40 ms for each message. What makes a client acknowledge at once
//! is a segment that it has received already (RFC 5681 section 4.2), so an echo is sent twice. Nothing is acknowledged
//! that was not received, so nothing can be lost. (The first byte of it would do, but a packet that was damaged on the
//! way could get a right checksum when it is cut off.)
//!
//! Whether that is of use is learned from the connection. The symptom: before each message comes a mere
//! acknowledgment of everything. A client without Nagle's algorithm sends its acknowledgment with the next
//! message. Once nudged, any client acknowledges at once, so now and then a message is not repeated, to see
//! whether the client still waits.
//!
//! A hint is a number: the lowest bit says that everything was acknowledged since the last message, the others
//! count the messages in a row that had the symptom. It is only a hint: if two connections share one, or it is
//! forgotten, then a message waits or is repeated in vain.

use crate::headers::{Be32, Ports};

/// From which message with the symptom on a client is nudged. At the beginning of a connection Linux
/// acknowledges some messages at once even if it could wait.
const NUDGED_FROM: u16 = 3;

/// From which message on those are left out whose number is a power of two.
const TESTED_FROM: u16 = 16;

/// Where counting goes back by half, so the messages that are left out become rare but never end.
const COUNTED_TO: u16 = 1 << 13;

/// What [`slot`] takes of a connection's addresses: the sums of their words.
#[inline(always)]
pub(crate) fn addresses(source: u64, destination: u64) -> u64 {
    source << 1 ^ destination
}

/// The place of a connection's hint: a hash.
#[inline(always)]
pub(crate) fn slot(addresses: u64, ports: &Ports) -> u16 {
    let [a, b] = ports.source.0;
    let [c, d] = ports.destination.0;
    // Fibonacci hashing: the multiplier is 2^64 divided by the golden ratio.
    let mixed = addresses << 32 ^ addresses ^ Be32([a, b, c, d]).word();
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
}

/// The hint after a segment that acknowledges everything: a small message, whose echo may have to be sent twice, or one
/// that carries nothing.
#[inline(always)]
pub fn after(hint: u16, is_message: bool) -> (u16, bool) {
    if !is_message {
        return (hint | 1, false);
    }
    if hint & 1 == 0 {
        return (0, false);
    }
    let mut count = (hint >> 1) + 1;
    let tested = count >= TESTED_FROM && count & (count - 1) == 0;
    let nudged = count >= NUDGED_FROM && !tested;
    if count >= COUNTED_TO {
        count = COUNTED_TO / 2;
    }
    (count << 1, nudged)
}
