//! The kernel's helper functions (linux/bpf.h), called by number.

use core::ffi::c_void;
use core::mem::transmute;

use super::SkBuff;
use super::maps::MapDefinition;
use super::xdp::XdpBuff;

/// Declares a helper. The address that is called is the helper's number: so the compiler emits the
/// instruction `call number`, which is how BPF calls the kernel.
macro_rules! helpers {
    ($($(#[$doc:meta])* $number:literal $name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $($(#[$doc])*
        /// # Safety
        /// The arguments are what the helper takes; the verifier checks them.
        #[inline(always)]
        pub(super) unsafe fn $name($($argument: $kind),*) -> $result {
            // SAFETY: the number is never an address, it becomes the operand of the call.
            let helper: extern "C" fn($($kind),*) -> $result = unsafe { transmute($number as usize) };
            helper($($argument),*)
        })*
    };
}

helpers! {
    /// The value of `key`, null if there is none.
    1 map_lookup_elem(map: *mut MapDefinition, key: *const c_void) -> *mut c_void;
    /// Sets the value of `key`.
    2 map_update_elem(map: *mut MapDefinition, key: *const c_void, value: *const c_void, flags: u64) -> i64;
    /// Removes `key`.
    3 map_delete_elem(map: *mut MapDefinition, key: *const c_void) -> i64;
    /// Writes `length` bytes at `offset` into the packet.
    9 skb_store_bytes(skb: *mut SkBuff, offset: u32, from: *const c_void, length: u32, flags: u64) -> i64;
    /// Corrects the checksum `offset` bytes into the packet: with a size of zero in `flags`, by the
    /// difference `to`.
    11 l4_csum_replace(skb: *mut SkBuff, offset: u32, from: u64, to: u64, flags: u64) -> i64;
    /// Sends a copy of the packet out of an interface.
    13 clone_redirect(skb: *mut SkBuff, ifindex: u32, flags: u64) -> i64;
    /// Gives the verdict that sends the packet out of an interface.
    23 redirect(ifindex: u32, flags: u64) -> i64;
    /// Reads `length` bytes at `offset` of the packet.
    26 skb_load_bytes(skb: *const SkBuff, offset: u32, to: *mut c_void, length: u32) -> i64;
    /// The sum `seed`, plus the words of `to`, less those of `from`; lengths are multiples of four.
    28 csum_diff(from: *const c_void, from_length: u32, to: *const c_void, to_length: u32, seed: u32) -> i64;
    /// Cuts the packet to `length` bytes.
    38 skb_change_tail(skb: *mut SkBuff, length: u32, flags: u64) -> i64;
    /// Adds `difference` to the sum that a device has made of the packet, if one has.
    40 csum_update(skb: *mut SkBuff, difference: u32) -> i64;
    /// Puts `length` zeros in front of the packet, as its link-layer header.
    43 skb_change_head(skb: *mut SkBuff, length: u32, flags: u64) -> i64;
    /// Reads `length` bytes at `offset` from a header, [`HEADER_START_MAC`], wherever the packet begins.
    68 skb_load_bytes_relative(skb: *const SkBuff, offset: u32, to: *mut c_void, length: u32, start: u32) -> i64;
    /// The length of the frame in bytes.
    188 xdp_get_buff_len(frame: *mut XdpBuff) -> u64;
}
