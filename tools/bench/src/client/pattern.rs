//! What clients send, those of tests, too: a stream of which each byte is known.

use std::sync::LazyLock;

/// The length of the pattern that streams repeat: a prime, so that nothing that is a power of two too many or too few
/// goes unnoticed.
pub const PERIOD: usize = 1_048_583;

/// The pattern twice, so that a piece of up to a period is in one slice wherever it begins.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let once = std::iter::repeat_with(|| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    once.take(PERIOD).collect::<Vec<u8>>().repeat(2)
});

/// The bytes of the stream from `offset` on, `length` of them, but no more than [`PERIOD`].
pub fn piece(offset: u64, length: usize) -> &'static [u8] {
    let start = (offset % PERIOD as u64) as usize;
    &PATTERN[start..start + length.min(PERIOD)]
}

/// Whether `bytes` are those of the stream from `offset` on; if not, which is wrong.
pub(crate) fn compare(bytes: &[u8], offset: u64) -> Result<(), String> {
    let wanted = piece(offset, bytes.len());
    if bytes == wanted {
        return Ok(());
    }
    let wrong = bytes.iter().zip(wanted).take_while(|(byte, wanted)| byte == wanted).count();
    Err(format!(
        "a wrong byte behind {}: {:#04x} instead of {:#04x}",
        offset + wrong as u64,
        bytes[wrong],
        wanted[wrong]
    ))
}
