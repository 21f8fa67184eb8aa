//! TCP options: found by a bounded walk, and written anew in the answer to a SYN.
//!
//! They are looked at where the frame has them, and nowhere in the programs is a variable added to a pointer. Where one
//! is, the verifier takes two states without CAP_PERFMON for the same only if every number is (`explore_alu_limits` in
//! kernel/bpf/verifier.c, kernel commit e042aa532c84): it would never come to an end.

use crate::checksum::Edit;
use crate::headers::{AlignedTimestamps, Be16, Be32, SegmentHeader, Tcp};
use crate::host::{Frame, Host};
use crate::mirror::MAX_SCALE;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;

const MSS_LENGTH: usize = 4;
const WINDOW_SCALE_LENGTH: usize = 3;
const SACK_PERMITTED_LENGTH: usize = 2;
const TIMESTAMPS_LENGTH: usize = 10;

/// The bits of [`Options::places`] for each kind: a header has at most 40 bytes of options.
const PLACE_BITS: u32 = 6;

/// Kinds above this one do not matter.
const LAST_KIND: u8 = TIMESTAMPS;

/// The options of a segment as four bytes each.
type Words = [[u8; 4]; SegmentHeader::OPTION_WORDS];

/// The options of a segment. Each value is all of an option, kind and length included; zeros without it.
#[repr(C)]
pub(crate) struct Options {
    /// Where they are, by their kind, [`PLACE_BITS`] each: in bytes from the first one, plus one; zero if absent.
    places: u64,
    /// Where the first one begins, in bytes from the beginning of the frame.
    start: u32,
    /// Where the last one ends, likewise.
    end: u32,
    /// Where the one to be looked at next begins, likewise.
    next: u32,
    timestamps: [u8; TIMESTAMPS_LENGTH],
    sack_permitted: [u8; SACK_PERMITTED_LENGTH],
    mss: [u8; MSS_LENGTH],
    window_scale: [u8; WINDOW_SCALE_LENGTH],
    /// For a multiple of eight bytes.
    padding: u8,
}

impl Options {
    /// Options from `start` to `end` that were not looked at yet.
    #[inline(always)]
    pub(crate) const fn new(start: u32, end: u32) -> Self {
        Self {
            places: 0,
            start,
            end,
            next: start,
            timestamps: [0; TIMESTAMPS_LENGTH],
            sack_permitted: [0; SACK_PERMITTED_LENGTH],
            mss: [0; MSS_LENGTH],
            window_scale: [0; WINDOW_SCALE_LENGTH],
            padding: 0,
        }
    }

    /// Finds the options in `frame`.
    #[inline(always)]
    pub(crate) fn find<F: Frame>(&mut self, frame: &F) {
        // Eight options, each NOP or two counted as one. What lies behind is not negotiated, which is always allowed.
        let _ = self.four_steps(frame) && self.four_steps(frame);
    }

    /// The verifier of kernels before 5.3 takes no loop, and compilers leave one that may end early as it is, so
    /// the steps are written out.
    #[inline(always)]
    fn four_steps<F: Frame>(&mut self, frame: &F) -> bool {
        option_step(self, frame)
            && option_step(self, frame)
            && option_step(self, frame)
            && option_step(self, frame)
    }

    /// Reads the timestamps.
    #[inline(always)]
    pub(crate) fn load_timestamps<F: Frame>(&mut self, frame: &F) {
        load(frame, self.place(TIMESTAMPS), &mut self.timestamps);
    }

    /// Reads all that a SYN may have.
    #[inline(always)]
    pub(crate) fn load_all<F: Frame>(&mut self, frame: &F) {
        self.load_timestamps(frame);
        load(frame, self.place(SACK_PERMITTED), &mut self.sack_permitted);
        load(frame, self.place(MSS), &mut self.mss);
        load(frame, self.place(WINDOW_SCALE), &mut self.window_scale);
    }

    /// Where the option of this `kind` begins, in bytes from the beginning of the frame.
    #[inline(always)]
    fn place(&self, kind: u8) -> Option<u32> {
        let place = self.places >> (u32::from(kind) * PLACE_BITS) & ((1 << PLACE_BITS) - 1);
        if place == 0 { None } else { Some(self.start + place as u32 - 1) }
    }

    /// The client's window scale, as far as it may be used; zero without the option, which means the same.
    #[inline(always)]
    pub(crate) fn window_scale(&self) -> u8 {
        let [.., scale] = self.window_scale;
        scale.min(MAX_SCALE)
    }

    /// TSval.
    #[inline(always)]
    fn timestamp(&self) -> Be32 {
        let [_, _, a, b, c, d, ..] = self.timestamps;
        Be32([a, b, c, d])
    }

    /// Makes the timestamps in `frame` those of an answer: TSecr becomes TSval (RFC 7323 section 3.2). `None` if they
    /// cannot be written.
    ///
    /// The server's clock is the client's own, so each TSval goes back as it came. TSecr must name the newest
    /// one: a mirrored older one distorts the client's round-trip samples, and in the answer to a SYN that
    /// reuses the port of a connection in TIME-WAIT it fails the client's check.
    #[inline(always)]
    pub(crate) fn echo_timestamp<F: Frame>(&self, frame: &mut F, edit: &mut Edit) -> Option<()> {
        let Some(at) = self.place(TIMESTAMPS) else { return Some(()) };
        if self.timestamps[0] == 0 {
            return Some(());
        }
        // From where it is: a copy on the stack may be written byte by byte, which old verifiers may refuse.
        let [_, _, value @ .., _, _, _, _] = &self.timestamps;
        let [.., a, b, c, d] = self.timestamps;
        let (old, new) = (Be32([a, b, c, d]).word() as u32, Be32(*value).word() as u32);
        // Words at an odd place count with their bytes swapped (RFC 1071 section 2 B).
        if (at - self.start) % 2 == 1 {
            edit.replace(u64::from(old.swap_bytes()), u64::from(new.swap_bytes()));
        } else {
            edit.replace(u64::from(old), u64::from(new));
        }
        frame.store(at + 6, value).then_some(())
    }

    /// Writes the options of the answer to a SYN over its own, which are in `segment` with zeros behind them: MSS,
    /// window scale, timestamps, and on the wire SACK-permitted, each if the client offers it, and NOP for all else.
    /// Whatever is unknown is thus refused. On loopback the blocks of SACK would name places in the other sequence
    /// space. The answer's MSS is at most `max_mss` bytes.
    #[inline(always)]
    pub(crate) fn answer_syn<H: Host>(&self, segment: &mut SegmentHeader, max_mss: u32, edit: &mut Edit) {
        let sack = H::WIRE && self.sack_permitted[0] != 0;
        let words = &mut segment.options;
        let old = sum(words);
        *words = [[NOP; 4]; SegmentHeader::OPTION_WORDS];
        // The last one first. Aligned as here, the four need no more words than in any other order, so they always
        // have room.
        if self.timestamps[0] != 0 {
            let [nop, _, kind, size] = AlignedTimestamps::KIND.0;
            let [first, second] =
                if sack { [SACK_PERMITTED, SACK_PERMITTED_LENGTH as u8] } else { [nop, nop] };
            push(words, self.timestamp().0);
            push(words, self.timestamp().0);
            push(words, [first, second, kind, size]);
        } else if sack {
            push(words, [NOP, NOP, SACK_PERMITTED, SACK_PERMITTED_LENGTH as u8]);
        }
        if self.window_scale[0] != 0 {
            push(words, [NOP, WINDOW_SCALE, WINDOW_SCALE_LENGTH as u8, self.window_scale()]);
        }
        if self.mss[0] != 0 {
            let [_, _, high, low] = self.mss;
            let mss = u32::from(Be16([high, low]).get()).min(max_mss);
            let [_, _, high, low] = mss.to_be_bytes();
            push(words, [MSS, MSS_LENGTH as u8, high, low]);
        }
        let unused = (Tcp::MAX_LENGTH - segment.tcp.header_length()) as u64 / 4;
        edit.replace(old + unused * Be32([NOP; 4]).word(), sum(words));
    }
}

/// The sum of the words, for checksums.
#[inline(always)]
fn sum(words: &Words) -> u64 {
    words.iter().map(|word| Be32(*word).word()).sum()
}

/// Puts `word` in front of those that are there, of which the last is lost.
#[inline(always)]
fn push(words: &mut Words, word: [u8; 4]) {
    let [a, b, c, d, ..] = *words;
    [words[0], words[1], words[2], words[3], words[4]] = [word, a, b, c, d];
}

/// Looks at one option. Returns whether another may follow.
#[inline(never)]
fn option_step<F: Frame>(options: &mut Options, frame: &F) -> bool {
    let start = options.next;
    // Behind the last one may be no byte: what is alone there is no option but NOP.
    let mut head = [0; 2];
    if start >= options.end || !frame.load(start, &mut head) {
        return false;
    }
    let [kind, size] = head;
    if kind == NOP {
        options.next = start + if size == NOP { 2 } else { 1 };
        return true;
    }
    let end = start + u32::from(size);
    if kind == END || size < 2 || end > options.end {
        return false;
    }
    options.next = end;
    if kind <= LAST_KIND {
        let at = u32::from(kind) * PLACE_BITS;
        let place = u64::from(start - options.start + 1);
        options.places = options.places & !(((1 << PLACE_BITS) - 1) << at) | place << at;
    }
    true
}

/// Reads the option that is at `place`, if it has the length of `option`.
#[inline(always)]
fn load<F: Frame, const LENGTH: usize>(frame: &F, place: Option<u32>, option: &mut [u8; LENGTH]) {
    let Some(place) = place else { return };
    if !frame.load(place, option) || usize::from(option[1]) != LENGTH {
        *option = [0; LENGTH];
    }
}
