//! A bounds-checked walk over the bytes of a packet.
//!
//! This is the one place of the pure half where memory is touched through pointers. Each step compares the
//! cursor with the end of the packet in the form the kernel's verifier recognises (pointer plus size against
//! end), which makes the same code provable there and safe here.

#![allow(unsafe_code)]

use core::marker::PhantomData;

/// A header that can be laid over any bytes of a packet.
///
/// # Safety
/// The type has alignment one, no padding, and every bit pattern is a valid value.
pub unsafe trait Header {}

// SAFETY: an array of bytes has alignment one, no padding, and any value.
unsafe impl<const N: usize> Header for [u8; N] {}

/// The bytes of a packet from a cursor to the end of its linear part.
pub struct Packet<'a> {
    cursor: *mut u8,
    end: *mut u8,
    bytes: PhantomData<&'a mut [u8]>,
}

impl<'a> Packet<'a> {
    /// A walk over `bytes`.
    #[inline(always)]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        let range = bytes.as_mut_ptr_range();
        Self { cursor: range.start, end: range.end, bytes: PhantomData }
    }

    /// A walk from `start` to `end`.
    ///
    /// # Safety
    /// The bytes from `start` to before `end` are valid for reads and writes, and nothing else refers to
    /// them, for as long as `'a`.
    #[inline(always)]
    pub unsafe fn from_raw(start: *mut u8, end: *mut u8) -> Self {
        Self { cursor: start, end, bytes: PhantomData }
    }

    /// The header at the cursor; `None` if the packet ends before.
    #[inline(always)]
    pub fn peek<T: Header>(&self) -> Option<&T> {
        let end = self.cursor.wrapping_add(size_of::<T>());
        // SAFETY: the bytes up to `end` are inside the packet, and `T` can be laid over any of them. No `take` hands
        // them out while `self` is borrowed.
        (end <= self.end).then(|| unsafe { &*self.cursor.cast::<T>() })
    }

    /// The header at the cursor, which moves behind it; `None` if the packet ends before.
    #[inline(always)]
    pub fn take<T: Header>(&mut self) -> Option<&'a mut T> {
        let header = self.cursor;
        let next = header.wrapping_add(size_of::<T>());
        if next > self.end {
            return None;
        }
        self.cursor = next;
        // SAFETY: the bytes up to `next` are inside the packet, `T` can be laid over any of them, and as the
        // cursor has moved behind them no other `take` of this walk hands them out.
        Some(unsafe { &mut *header.cast::<T>() })
    }
}

/// The beginning of a header as another one.
#[inline(always)]
pub fn view<T: Header, U: Header>(header: &mut T) -> &mut U {
    const { assert!(size_of::<U>() <= size_of::<T>()) };
    // SAFETY: the bytes are inside `header`, and `U` can be laid over any of them.
    unsafe { &mut *(&raw mut *header).cast::<U>() }
}

/// The two halves of sixteen bytes as this machine reads them: in two loads, where it allows that, which compilers would
/// make sixteen of.
#[inline(always)]
pub fn halves(bytes: &[u8; 16]) -> [u64; 2] {
    // SAFETY: the bytes are as many, and need not be aligned.
    unsafe { bytes.as_ptr().cast::<[u64; 2]>().read_unaligned() }
}

/// A header of zeros.
#[inline(always)]
pub fn zeroed<T: Header>() -> T {
    // SAFETY: every bit pattern is a valid value.
    unsafe { core::mem::zeroed() }
}

/// The bytes of a header.
pub fn bytes<T: Header>(header: &T) -> &[u8] {
    // SAFETY: a header has no padding, so all its bytes are there.
    unsafe { core::slice::from_raw_parts((&raw const *header).cast(), size_of::<T>()) }
}

/// The bytes of a header, to be written.
pub fn bytes_mut<T: Header>(header: &mut T) -> &mut [u8] {
    // SAFETY: likewise, and any bytes are a valid header.
    unsafe { core::slice::from_raw_parts_mut((&raw mut *header).cast(), size_of::<T>()) }
}
