//! TCP segments: each is edited into the one that answers it.

use crate::abi::Counter;
use crate::checksum::Edit;
use crate::headers::{Be16, Be32, SegmentHeader, Tcp, flag};
use crate::host::Host;
use crate::mirror::{self, Segment, SequenceNumber};
use crate::options::Options;

/// Whether the flags are those that a segment in an established connection mostly has: on loopback without URG, see
/// [`write()`].
#[inline(always)]
pub(crate) fn is_usual<H: Host>(flags: u8) -> bool {
    let urgent = if H::WIRE { 0 } else { flag::URG };
    flags & (flag::SYN | flag::RST | flag::ACK | urgent) == flag::ACK
}

/// Whether the flags belong together: SYN alone, or ACK with or without FIN. A null segment and a Xmas tree have
/// no ACK.
#[inline(always)]
pub(crate) fn is_sensible(flags: u8) -> bool {
    const FIN_ACK: u8 = flag::FIN | flag::ACK;
    matches!(flags & (flag::SYN | flag::FIN | flag::ACK), flag::SYN | flag::ACK | FIN_ACK)
}

/// A segment other than a SYN that is to be answered.
pub(crate) struct Established {
    segment: Segment,
    fin: bool,
    /// The bytes of payload in the packet.
    payload: u32,
    /// Whether the packet has all of the segment, and is no fragment.
    whole: bool,
}

impl Established {
    /// What `tcp` says.
    #[inline(always)]
    pub(crate) fn new(tcp: &Tcp, payload: u32, whole: bool) -> Self {
        let segment = Segment {
            sequence: SequenceNumber(tcp.sequence.get()),
            acknowledgment: SequenceNumber(tcp.acknowledgment.get()),
            window: tcp.window.get(),
        };
        Self { segment, fin: tcp.flags & flag::FIN != 0, payload, whole }
    }

    /// Whether `answer` has the same numbers, as on the wire most have.
    #[inline(always)]
    pub(crate) fn is_like(&self, answer: &Segment) -> bool {
        self.segment == *answer
    }

    /// Whether it says something of its sender, who may wait for acknowledgments: see [`crate::hint`]. It is `length`
    /// bytes long with its IP header.
    #[inline(always)]
    pub(crate) fn is_telling<H: Host>(&self, host: &H, length: u32) -> bool {
        let alone = self.segment.sequence == self.segment.acknowledgment && !self.fin && self.whole;
        H::WIRE && alone && length <= host.mtu()
    }

    /// The answer; else why there is none.
    #[inline(always)]
    pub(crate) fn answer<H: Host>(&self) -> Result<Segment, Counter> {
        let Self { segment, fin, .. } = *self;
        // How long a segment in fragments is nobody knows here: too long to acknowledge it in advance.
        let payload = if self.whole { self.payload } else { UNKNOWN_LENGTH };
        let answer = if H::WIRE {
            mirror::mirrored(segment, payload + u32::from(fin))
        } else {
            mirror::answer(segment, payload, fin)
        };
        answer.ok_or(Counter::DroppedStray)
    }

    /// What kind of segment it is, if it is counted.
    #[inline(always)]
    pub(crate) fn event(&self) -> Option<Counter> {
        self.fin.then_some(Counter::Closes)
    }
}

/// Edits the numbers in `tcp` into those of `answer`, behind what was edited before. Returns what is left to do for the
/// checksum.
///
/// On loopback that is mostly nothing: the urgent pointer, which has no meaning without URG (RFC 9293 section 3.1),
/// makes up for all that was edited. So the checksum stays right in whatever state the kernel keeps it, and no helper has
/// to be asked for that, which would take longer than all the rest.
#[inline(always)]
pub(crate) fn write<H: Host>(answer: Segment, tcp: &mut Tcp, mut edit: Edit) -> Option<Edit> {
    set_numbers(tcp, answer.sequence, answer.acknowledgment, &mut edit);
    if H::WIRE {
        return Some(edit);
    }
    let window = Be16::new(answer.window);
    edit.replace(tcp.window.word(), window.word());
    tcp.window = window;
    if tcp.flags & flag::URG != 0 {
        return Some(edit);
    }
    tcp.urgent = edit.balance(tcp.urgent);
    None
}

/// More than any window.
const UNKNOWN_LENGTH: u32 = 1 << 30;

/// Edits a SYN, with zeros behind its options, into its answer, which promises an MSS of at most `max_mss` bytes.
#[inline(always)]
pub(crate) fn answer_syn<H: Host>(
    segment: &mut SegmentHeader,
    options: &Options,
    max_mss: u32,
    edit: &mut Edit,
) {
    let tcp = &mut segment.tcp;
    let client = SequenceNumber(tcp.sequence.get());
    let scale = if H::WIRE { 0 } else { options.window_scale() };
    set_numbers(tcp, mirror::initial_sequence(client, scale), client.after(1), edit);
    edit.replace(tcp.urgent.word(), 0);
    tcp.urgent = Be16::new(0);
    // Exactly these flags: ECE and CWR mirrored are the broken answer of RFC 3168 section 6.1.1, and the
    // reserved bits may carry AccECN.
    let old = tcp.offset_flags_word();
    tcp.offset &= 0xf0;
    tcp.flags = flag::SYN | flag::ACK;
    edit.replace(old, tcp.offset_flags_word());
    options.answer_syn::<H>(segment, max_mss, edit);
}

#[inline(always)]
fn set_numbers(tcp: &mut Tcp, sequence: SequenceNumber, acknowledgment: SequenceNumber, edit: &mut Edit) {
    let (sequence, acknowledgment) = (Be32::new(sequence.0), Be32::new(acknowledgment.0));
    edit.replace(tcp.sequence.word(), sequence.word());
    edit.replace(tcp.acknowledgment.word(), acknowledgment.word());
    tcp.sequence = sequence;
    tcp.acknowledgment = acknowledgment;
}
