//! Random packets, the same on every machine.

use super::{Route, Tcp};

/// A small generator of random numbers (SplitMix64): the same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.number() as u8
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

/// TCP options in random order, at even and odd places, some of them broken.
fn options(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..random.below(7) {
        let length = random.below(12);
        let option = match random.below(9) {
            0 | 1 => vec![1],
            2 => [&[2, 4][..], &random.bytes(2)].concat(),
            3 => vec![3, 3, random.below(16) as u8],
            4 => vec![4, 2],
            5 | 6 => [&[8, 10][..], &random.bytes(8)].concat(),
            7 => [&[253, length as u8 + 2][..], &random.bytes(length)].concat(),
            _ => vec![random.byte(), random.below(40) as u8],
        };
        if options.len() + option.len() <= 40 {
            options.extend(option);
        }
    }
    options.resize(options.len().next_multiple_of(4), random.below(2) as u8);
    options
}

/// A segment with these flags and this payload, whose other fields are random; the numbers mostly those of a
/// connection to the mirror.
pub(crate) fn segment_with(random: &mut Random, route: &Route, flags: u8, payload: Vec<u8>) -> Tcp {
    let sequence = random.number() as u32;
    let delta = (random.below(16) as u32) << 28;
    let ahead = [0, 0, 1, u32::MAX, random.below(1 << 27) as u32][random.below(5)];
    Tcp {
        sequence,
        acknowledgment: sequence.wrapping_add(delta).wrapping_sub(ahead),
        accurate_ecn: random.chance(10),
        window: random.number() as u16 >> random.below(16),
        urgent: random.number() as u16,
        options: options(random),
        payload,
        ..Tcp::new(route, flags)
    }
}

/// Changes one to four of the first `limit` bytes of `frame`.
pub(crate) fn damage(random: &mut Random, frame: &mut [u8], limit: usize) {
    for _ in 0..1 + random.below(4) {
        let place = random.below(frame.len().min(limit));
        match random.below(3) {
            0 => frame[place] = random.byte(),
            1 => frame[place] ^= 1 << random.below(8),
            _ => frame[place] = [0, 1, 4, 0x7f, 0x80, 0xff][random.below(6)],
        }
    }
}
