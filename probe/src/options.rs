//! TCP options: found by a bounded walk, and written anew in the answer to a SYN.

use crate::checksum::Edit;
use crate::headers::{AlignedTimestamps, Be16, Be32, SegmentHeader};
use crate::host::Host;
use crate::mirror::MAX_SCALE;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;

const MSS_LENGTH: u8 = 4;
const WINDOW_SCALE_LENGTH: u8 = 3;
const SACK_PERMITTED_LENGTH: u8 = 2;
const TIMESTAMPS_LENGTH: u8 = 10;

/// An offset into the options with this mask is inside their room, and so are the bytes of an option that begins
/// there. It changes nothing, as a header has at most 40 bytes of options, but shows that to the verifier.
const MASK: usize = 0x3f;

/// Room for the options of a segment, zeros behind them: see [`SegmentHeader`].
type Bytes = [u8; 80];

/// Where options are, by their kind: in bytes from the first one, plus one; zero if absent.
type Places = [u8; KINDS];

/// How many kinds are noted: all that matter, and a power of two.
const KINDS: usize = 16;

/// The options of a segment.
pub(crate) struct Options<'r> {
    /// All of them.
    pub(crate) bytes: &'r mut Bytes,
    /// How many bytes they have.
    pub(crate) length: usize,
    /// Where they are, once found.
    pub(crate) places: &'r mut Places,
}

impl Options<'_> {
    /// Finds the options whose kind is below [`KINDS`].
    #[inline(always)]
    pub(crate) fn find(&mut self) {
        *self.places = [0; KINDS];
        // Twelve options, each NOP counted as one. What lies behind is not negotiated, which is always allowed.
        let _ = self.four_steps() && self.four_steps() && self.four_steps();
    }

    /// The verifier of kernels before 5.3 takes no loop, and compilers leave one that may end early as it is, so
    /// the steps are written out.
    #[inline(always)]
    fn four_steps(&mut self) -> bool {
        let Self { bytes, length, places } = self;
        option_step(bytes, *length, places)
            && option_step(bytes, *length, places)
            && option_step(bytes, *length, places)
            && option_step(bytes, *length, places)
    }

    /// Where the value of the option of this `kind` and `size` is; zero if there is no such option.
    #[inline(always)]
    fn value(&self, kind: u8, size: u8) -> usize {
        let place = usize::from(self.places[usize::from(kind)]) & MASK;
        if place == 0 || self.bytes[place] != size { 0 } else { place + 1 }
    }

    /// The client's window scale, as far as it may be used; zero without the option, which means the same.
    #[inline(always)]
    pub(crate) fn window_scale(&self) -> u8 {
        match self.value(WINDOW_SCALE, WINDOW_SCALE_LENGTH) {
            0 => 0,
            at => self.bytes[at].min(MAX_SCALE),
        }
    }

    /// Makes the timestamps those of an answer: TSecr becomes TSval (RFC 7323 section 3.2).
    ///
    /// The server's clock is the client's own, so each TSval goes back as it came. TSecr must name the newest
    /// one: a mirrored older one distorts the client's round-trip samples, and in the answer to a SYN that
    /// reuses the port of a connection in TIME-WAIT it fails the client's check.
    #[inline(always)]
    pub(crate) fn echo_timestamp(&mut self, edit: &mut Edit) {
        let at = self.value(TIMESTAMPS, TIMESTAMPS_LENGTH);
        if at == 0 {
            return;
        }
        let (value, echo) = (self.word(at), self.word(at + 4));
        self.set_word(at + 4, value);
        let (old, new) = (echo.word() as u32, value.word() as u32);
        // Words at an odd place count with their bytes swapped (RFC 1071 section 2 B).
        if at % 2 == 1 {
            edit.replace(u64::from(old.swap_bytes()), u64::from(new.swap_bytes()));
        } else {
            edit.replace(u64::from(old), u64::from(new));
        }
    }

    /// Writes the options of the answer to a SYN over its own: MSS, window scale, timestamps, and on the wire
    /// SACK-permitted, each if the client offers it, and NOP for all else. Whatever is unknown is thus refused. On
    /// loopback the blocks of SACK would name places in the other sequence space. The answer's MSS is at most
    /// `max_mss` bytes.
    #[inline(always)]
    pub(crate) fn answer_syn<H: Host>(&mut self, host: &H, max_mss: u32, edit: &mut Edit) {
        let mss_at = self.value(MSS, MSS_LENGTH);
        let scale_at = self.value(WINDOW_SCALE, WINDOW_SCALE_LENGTH);
        let timestamps_at = self.value(TIMESTAMPS, TIMESTAMPS_LENGTH);
        let sack = H::WIRE && self.value(SACK_PERMITTED, SACK_PERMITTED_LENGTH) != 0;
        // Of an option that is absent these have no meaning.
        let Be32([high, low, ..]) = self.word(mss_at);
        let scale = self.window_scale();
        let timestamp = self.word(timestamps_at);

        let mut old = 0;
        for index in 0..SegmentHeader::OPTION_WORDS {
            old += self.word(index * 4).word();
            self.set_word(index * 4, Be32([NOP; 4]));
        }
        // Aligned as here, the four need no more words than in any other order, so they always have room.
        let mut writer = Writer { host, options: self, next: 0, added: 0 };
        if mss_at != 0 {
            let mss = u32::from(Be16([high, low]).get()).min(max_mss);
            let [_, _, high, low] = mss.to_be_bytes();
            writer.put([MSS, MSS_LENGTH, high, low]);
        }
        if scale_at != 0 {
            writer.put([NOP, WINDOW_SCALE, WINDOW_SCALE_LENGTH, scale]);
        }
        if timestamps_at != 0 {
            let [nop, _, kind, size] = AlignedTimestamps::KIND.0;
            if sack {
                writer.put([SACK_PERMITTED, SACK_PERMITTED_LENGTH, kind, size]);
            } else {
                writer.put([nop, nop, kind, size]);
            }
            writer.put(timestamp.0);
            writer.put(timestamp.0);
        } else if sack {
            writer.put([NOP, NOP, SACK_PERMITTED, SACK_PERMITTED_LENGTH]);
        }
        let Writer { next, added, .. } = writer;
        let rest = (self.length as u64 - u64::from(next)) / 4;
        edit.replace(old, added + rest * Be32([NOP; 4]).word());
    }

    /// The four bytes at `offset`.
    #[inline(always)]
    fn word(&self, offset: usize) -> Be32 {
        let bytes = &self.bytes[offset..offset + 4];
        Be32([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline(always)]
    fn set_word(&mut self, offset: usize, word: Be32) {
        let bytes = &mut self.bytes[offset..offset + 4];
        [bytes[0], bytes[1], bytes[2], bytes[3]] = word.0;
    }
}

/// Looks at one option. Returns whether another may follow. Where it is stands at the place of the end of options,
/// which has none: there the verifier does not keep track of it.
#[inline(never)]
fn option_step(bytes: &Bytes, length: usize, places: &mut Places) -> bool {
    let offset = &mut places[usize::from(END)];
    let start = usize::from(*offset) & MASK;
    if start >= length {
        return false;
    }
    let kind = bytes[start];
    if kind == NOP {
        *offset = start as u8 + 1;
        return true;
    }
    let end = start + usize::from(bytes[start + 1]);
    if kind == END || end < start + 2 || end > length {
        return false;
    }
    *offset = end as u8;
    let kind = usize::from(kind);
    if kind < KINDS {
        places[kind % KINDS] = start as u8 + 1;
    }
    true
}

/// Writes options word by word.
struct Writer<'w, 'r, H> {
    host: &'w H,
    options: &'w mut Options<'r>,
    /// Where the next one belongs, in bytes from the first option.
    next: u32,
    /// The sum of what was written.
    added: u64,
}

impl<H: Host> Writer<'_, '_, H> {
    #[inline(always)]
    fn put(&mut self, word: [u8; 4]) {
        let offset = self.host.forget(self.next) as usize & MASK;
        self.options.set_word(offset, Be32(word));
        self.added += Be32(word).word();
        self.next += 4;
    }
}
