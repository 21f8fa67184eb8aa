//! The stateless TCP server: how a segment of a client becomes the segment that answers it.
//!
//! An echo server sends byte *n* of the stream as byte *n* of its own stream, so one constant relates the two
//! sequence spaces for the whole life of a connection: `delta`, the server's initial sequence number less the
//! client's. On loopback the server chooses it when it answers the SYN, as the client's window scale (RFC 7323)
//! in the four highest bits, and reads it back from every later segment. On the wire it is zero. Nothing else has
//! to be remembered.

/// How many bits of a sequence number lie below the window scale that `delta` carries.
const SCALE_SHIFT: u32 = 28;

/// The largest window scale (RFC 7323 section 2.3).
pub const MAX_SCALE: u8 = 14;

/// How far the acknowledged part of the stream may lie behind, or an old segment before it, without
/// changing the scale that is read back, in bytes. No window we send may promise more.
const MAX_IN_FLIGHT: u32 = 1 << (SCALE_SHIFT - 1);

/// How much window a client must have left behind a segment that is acknowledged in advance, in bytes: half the
/// window that Linux begins with.
const MIN_FREE: u32 = 1 << 15;

/// How far the numbers of a segment on the wire may be apart, in bytes: no window is larger (RFC 7323 section 2.3).
const MAX_WINDOW: u32 = 1 << 30;

/// A place in a sequence space, where arithmetic wraps (RFC 9293 section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceNumber(pub u32);

impl SequenceNumber {
    /// The place `bytes` further on.
    #[inline(always)]
    pub fn after(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The place `bytes` before.
    #[inline(always)]
    pub fn before(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }

    /// How many bytes further on than `other` this is.
    #[inline(always)]
    pub fn since(self, other: Self) -> u32 {
        self.0.wrapping_sub(other.0)
    }
}

/// What the mirror rules read in a segment, other than a SYN, and what they write in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sequence number: of the sender's stream.
    pub sequence: SequenceNumber,
    /// The acknowledgment number: of the receiver's stream.
    pub acknowledgment: SequenceNumber,
    /// The window field, not scaled.
    pub window: u16,
}

/// The server's initial sequence number for a client that began with `client` and scales its window by
/// `scale`, at most [`MAX_SCALE`].
#[inline(always)]
pub fn initial_sequence(client: SequenceNumber, scale: u8) -> SequenceNumber {
    client.after(u32::from(scale) << SCALE_SHIFT)
}

/// The answer on the wire to `segment`, which occupies `length` places of its stream; `None` if it is of a
/// connection that was not begun here.
///
/// The answer acknowledges what the client has confirmed to have received back, and nothing else: so the client
/// keeps every byte in its own retransmission queue until it has the echo, whatever is lost on the way.
#[inline(always)]
pub fn mirrored(segment: Segment, length: u32) -> Option<Segment> {
    let Segment { sequence, acknowledgment, .. } = segment;
    // In step, as begun here, or off by what is in flight.
    if acknowledgment.since(sequence).wrapping_add(MAX_WINDOW) >= 2 * MAX_WINDOW {
        return None;
    }
    let sequence = if is_behind(sequence, acknowledgment, length) { acknowledgment } else { sequence };
    Some(Segment { sequence, ..segment })
}

/// Whether this is an empty segment from a place before what is `confirmed`: a keepalive or a zero-window probe
/// (RFC 9293 sections 3.8.4 and 3.8.6.1), or an acknowledgment of a client that sends again from there. Mirrored, it
/// would lie before the client's window: no probe would be answered, and no acknowledgment be read. So the answer to
/// it comes from where the server is.
#[inline(always)]
fn is_behind(sequence: SequenceNumber, confirmed: SequenceNumber, length: u32) -> bool {
    length == 0 && confirmed.since(sequence) < MAX_WINDOW
}

/// The answer on loopback to `segment`, which carries `payload` bytes and perhaps a FIN; `None` if no SYN of its
/// connection was answered by [`initial_sequence`].
///
/// The answer acknowledges what the client has confirmed to have received back, so the client keeps every
/// byte in its own retransmission queue until it has the echo. There is one exception. A client with Nagle's
/// algorithm sends nothing small while a byte is unacknowledged, and its own acknowledgment of the echo waits
/// for its delayed-ACK timer: each would wait for the other. So a segment that is alone, with all before it
/// confirmed, is acknowledged in its own echo, and the window shrinks by as much, so that its right edge stays
/// where the client put it. A lost echo then takes the acknowledgment with it.
///
/// That is safe as long as the client takes what its window has room for. Linux may drop it after all when
/// its receive buffer is nearly full, as small segments need more memory than window, so a client is
/// acknowledged in advance only while `MIN_FREE` of its window stays free. Others need no help to go on: one
/// that reads a message of more than half its window frees so much that it says so at once (RFC 9293 section
/// 3.8.6.2.2).
#[inline(always)]
pub fn answer(segment: Segment, payload: u32, fin: bool) -> Option<Segment> {
    let Segment { sequence, acknowledgment, window } = segment;
    // What is in flight makes the difference smaller than `delta`, a keepalive probe makes it larger by one:
    // round to the nearest scale.
    let scale = acknowledgment.since(sequence).wrapping_add(MAX_IN_FLIGHT) >> SCALE_SHIFT;
    if scale > u32::from(MAX_SCALE) {
        return None;
    }
    let delta = scale << SCALE_SHIFT;
    let confirmed = acknowledgment.before(delta);
    let window = (u32::from(window) << scale).min(MAX_IN_FLIGHT - 1);
    let length = payload + u32::from(fin);

    let mut answer_sequence = sequence.after(delta);
    let mut answer_acknowledgment = confirmed;
    let mut answer_window = window;
    if sequence == confirmed {
        let in_advance = match payload {
            0 => fin && window != 0,
            _ => payload + MIN_FREE <= window,
        };
        if in_advance {
            answer_acknowledgment = sequence.after(length);
            answer_window = window - length;
        }
    } else if is_behind(sequence, confirmed, length) {
        answer_sequence = acknowledgment;
    }
    Some(Segment {
        sequence: answer_sequence,
        acknowledgment: answer_acknowledgment,
        window: (answer_window >> scale) as u16,
    })
}
