//! The Internet checksum (RFC 1071): ones' complement sums of words as this machine reads them.

use crate::headers::Be16;

/// The sums of the words that an edit removed from a header and of those it put in their place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edit {
    /// The sum of the old words.
    removed: u64,
    /// The sum of the new words.
    added: u64,
}

impl Edit {
    /// Notes that the word `old` became `new`.
    #[inline(always)]
    pub(crate) fn replace(&mut self, old: u64, new: u64) {
        self.removed += old;
        self.added += new;
    }

    /// What is to become of the word `free`, which has no meaning, so that the sum stays as it was before the edit.
    #[inline(always)]
    pub(crate) fn balance(self, free: Be16) -> Be16 {
        let balance = fold_16(free.word() + self.removed + u64::from(!fold_32(self.added)));
        // Of the two zeros the one that it mostly was.
        Be16(if balance == u16::MAX { 0 } else { balance }.to_ne_bytes())
    }

    /// New less old, as the kernel's checksum helpers take a difference.
    #[inline(always)]
    pub(crate) fn difference(self) -> u32 {
        fold_32(u64::from(fold_32(self.added)) + u64::from(!fold_32(self.removed)))
    }

    /// The checksum that becomes of `checksum` with the edit (RFC 1624 equation 3).
    #[inline(always)]
    pub(crate) fn apply(self, checksum: Be16) -> Be16 {
        finish(u64::from(!checksum.word() as u16) + self.added + u64::from(!fold_32(self.removed)))
    }
}

/// The checksum over words with the sum `sum`.
#[inline(always)]
pub(crate) fn finish(sum: u64) -> Be16 {
    Be16((!fold_16(sum)).to_ne_bytes())
}

/// The checksum that becomes of `checksum` when the sum of the words gets smaller by `word` (RFC 1141).
#[inline(always)]
pub(crate) fn raise(checksum: Be16, word: Be16) -> Be16 {
    let raised = checksum.word() + word.word();
    // Of the two zeros the one that `finish` has.
    Be16(((raised + u64::from(raised >= u64::from(u16::MAX))) as u16).to_ne_bytes())
}

/// Whether `field` may have the sum `sum` itself, which a device has yet to complete and to complement.
#[inline(always)]
pub(crate) fn may_be_partial(field: Be16, sum: u64) -> bool {
    field.word() == u64::from(fold_16(sum))
}

/// `sum` in 32 bits, with the carries added in again.
#[inline(always)]
fn fold_32(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// `sum` in 16 bits, with the carries added in again: the sum of a dozen 32-bit words at most, for which three times are
/// enough.
#[inline(always)]
fn fold_16(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}
