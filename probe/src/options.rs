//! TCP options: found by a bounded walk, and written anew in the answer to a SYN.

use crate::checksum::Edit;
use crate::headers::{Be16, Be32};
use crate::mirror::MAX_SCALE;
use crate::packet::{Header, Packet};

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const TIMESTAMPS: u8 = 8;

const MSS_LENGTH: usize = 4;
const WINDOW_SCALE_LENGTH: usize = 3;
const TIMESTAMPS_LENGTH: usize = 10;

/// The options a header has room for, in 32-bit words.
const MAX_WORDS: usize = 10;

/// The layout in which Linux and most others put timestamps into every segment: NOP, NOP, timestamps
/// (RFC 7323 appendix A).
const ALIGNED_TIMESTAMPS: Be32 = Be32([NOP, NOP, TIMESTAMPS, TIMESTAMPS_LENGTH as u8]);

const NOPS: Be32 = Be32([NOP; 4]);

/// Where the options that matter have their values, in bytes from the first option; zero if absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    mss: usize,
    window_scale: usize,
    timestamps: usize,
}

/// Finds the options in the `length` bytes at the cursor of `packet`.
#[inline(always)]
pub(crate) fn find(packet: &Packet, length: usize) -> Found {
    let mut found = Found::default();
    if packet.peek(0) == Some(ALIGNED_TIMESTAMPS.0) && length == 12 {
        found.timestamps = 4;
        return found;
    }
    let mut walk = Walk { packet, length, offset: 0, found };
    // Twelve options, each NOP counted as one. What lies behind is not negotiated, which is always allowed.
    let _ = walk.four_steps() && walk.four_steps() && walk.four_steps();
    walk.found
}

/// A walk from option to option. The verifier of kernels before 5.3 takes no loop, and compilers leave one
/// that may end early as it is, so its steps are written out.
struct Walk<'w, 'p> {
    packet: &'w Packet<'p>,
    length: usize,
    offset: usize,
    found: Found,
}

impl Walk<'_, '_> {
    #[inline(always)]
    fn four_steps(&mut self) -> bool {
        self.step() && self.step() && self.step() && self.step()
    }

    /// Looks at one option. Returns whether another may follow.
    #[inline(always)]
    fn step(&mut self) -> bool {
        // The mask changes nothing, as a header has at most 40 bytes of options. It shows the verifier the
        // same small range after every step, whatever the options were.
        let offset = self.offset & 0x3f;
        if offset >= self.length {
            return false;
        }
        let Some([kind, size]) = self.packet.peek::<[u8; 2]>(offset) else { return false };
        if kind == NOP {
            self.offset = offset + 1;
            return true;
        }
        let size = usize::from(size);
        if kind == END || size < 2 || offset + size > self.length {
            return false;
        }
        match (kind, size) {
            (MSS, MSS_LENGTH) => self.found.mss = offset + 2,
            (WINDOW_SCALE, WINDOW_SCALE_LENGTH) => self.found.window_scale = offset + 2,
            (TIMESTAMPS, TIMESTAMPS_LENGTH) => self.found.timestamps = offset + 2,
            _ => {}
        }
        self.offset = offset + size;
        true
    }
}

impl Found {
    /// All in one number.
    #[inline(always)]
    pub(crate) fn pack(self) -> u32 {
        (self.mss | self.window_scale << 8 | self.timestamps << 16) as u32
    }

    /// What [`Found::pack`] made of it. No offset is above 63.
    #[inline(always)]
    pub(crate) fn unpack(packed: u32) -> Self {
        let offset = |shift: u32| (packed >> shift & 0x3f) as usize;
        Self { mss: offset(0), window_scale: offset(8), timestamps: offset(16) }
    }

    /// The client's window scale, as far as it may be used; zero without the option, which means the same.
    #[inline(always)]
    pub(crate) fn window_scale(&self, packet: &Packet) -> u8 {
        match read::<[u8; 1]>(packet, self.window_scale) {
            Some([scale]) => scale.min(MAX_SCALE),
            None => 0,
        }
    }

    /// Makes the timestamps those of an answer: TSecr becomes TSval (RFC 7323 section 3.2).
    ///
    /// The server's clock is the client's own, so each TSval goes back as it came. TSecr must name the newest
    /// one: a mirrored older one distorts the client's round-trip samples, and in the answer to a SYN that
    /// reuses the port of a connection in TIME-WAIT it fails the client's check.
    #[inline(always)]
    pub(crate) fn echo_timestamp(&self, packet: &mut Packet, edit: &mut Edit) {
        if self.timestamps == 0 {
            return;
        }
        packet.skip(self.timestamps);
        if let (Some(value), Some(echo)) = (packet.take::<Be32>(), packet.take::<Be32>()) {
            // Words at an odd place count with their bytes swapped (RFC 1071 section 2 B).
            let odd = self.timestamps % 2 == 1;
            let word = |number: &Be32| {
                if odd { u64::from((number.word() as u32).swap_bytes()) } else { number.word() }
            };
            edit.replace(word(echo), word(value));
            *echo = *value;
        }
    }

    /// Writes the options of the answer to a SYN over its `length` bytes of options at the cursor: MSS, window
    /// scale and timestamps if the client offers them, and NOP for all else. Whatever is unknown is thus
    /// refused, and so is SACK, whose blocks would name places in the other sequence space. The answer's
    /// MSS is at most `max_mss` bytes. Ends, with `None`, where the room does.
    #[inline(always)]
    pub(crate) fn answer_syn(
        &self,
        packet: &mut Packet,
        length: usize,
        max_mss: u32,
        edit: &mut Edit,
    ) -> Option<()> {
        let mss = read::<Be16>(packet, self.mss);
        let scale = read::<[u8; 1]>(packet, self.window_scale);
        let timestamp = read::<Be32>(packet, self.timestamps);

        // Aligned as here, the three need no more words than in any other order, so they always have room.
        let mut writer = Writer { packet, words: length / 4, edit };
        if let Some(mss) = mss {
            let [_, _, high, low] = u32::from(mss.get()).min(max_mss).to_be_bytes();
            writer.put(Be32([MSS, MSS_LENGTH as u8, high, low]))?;
        }
        if let Some([scale]) = scale {
            writer.put(Be32([NOP, WINDOW_SCALE, WINDOW_SCALE_LENGTH as u8, scale.min(MAX_SCALE)]))?;
        }
        if let Some(timestamp) = timestamp {
            writer.put(ALIGNED_TIMESTAMPS)?;
            writer.put(timestamp)?;
            writer.put(timestamp)?;
        }
        for _ in 0..MAX_WORDS {
            writer.put(NOPS)?;
        }
        Some(())
    }
}

/// Writes options word by word, as long as there is room.
struct Writer<'w, 'p> {
    packet: &'w mut Packet<'p>,
    words: usize,
    edit: &'w mut Edit,
}

impl Writer<'_, '_> {
    /// Writes one word; `None` if there is no more room.
    #[inline(always)]
    fn put(&mut self, word: Be32) -> Option<()> {
        if self.words == 0 {
            return None;
        }
        let slot = self.packet.take::<Be32>()?;
        self.words -= 1;
        self.edit.replace(slot.word(), word.word());
        *slot = word;
        Some(())
    }
}

/// The value at `offset`, unless that is zero.
#[inline(always)]
fn read<T: Header + Copy>(packet: &Packet, offset: usize) -> Option<T> {
    if offset == 0 { None } else { packet.peek(offset) }
}
