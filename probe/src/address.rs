//! Addresses of both versions of IP as one kind of key.

use crate::abi::Address;
use crate::headers::Be32;
use crate::packet::halves;

/// An IPv4 address, mapped into IPv6 (RFC 4291 section 2.5.5.2).
#[inline(always)]
pub(crate) fn mapped(address: Be32) -> Address {
    let [a, b, c, d] = address.0;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Whether an address is an IPv4 address mapped into IPv6.
#[inline(always)]
pub(crate) fn is_mapped(address: &Address) -> bool {
    let [high, low] = halves(address);
    let [_, mapped] = halves(&self::mapped(Be32([0; 4])));
    // Of the lower half the first four bytes.
    let mask = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    high == 0 && low & mask == mapped
}

/// Whether the address is the unspecified one, which says that there is none (RFC 4291 section 2.5.2).
#[inline(always)]
pub(crate) fn is_unspecified(address: &Address) -> bool {
    sum(address) == 0
}

/// Whether the address is one that is valid on one link only (RFC 4291 section 2.5.6).
#[inline(always)]
pub(crate) fn is_link_local(address: &Address) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// Whether an IPv4 address is that of one host, and not of all, of many, or of whoever is asked (RFC 1122 section
/// 3.2.1.3, RFC 5771).
#[inline(always)]
pub fn is_of_a_host_v4(address: Be32) -> bool {
    let [first, ..] = address.0;
    first != 0 && first != 127 && first < 224
}

/// The same for IPv6 (RFC 4291 sections 2.5.2, 2.5.3 and 2.7).
#[inline(always)]
pub fn is_of_a_host_v6(address: &Address) -> bool {
    let [high, low] = halves(address);
    address[0] != 0xff && (high != 0 || u64::from_be(low) > 1)
}

/// The sum of the 32-bit words of an address, for checksums.
#[inline(always)]
pub(crate) fn sum(address: &Address) -> u64 {
    let [high, low] = halves(address);
    let words = |half: u64| (half >> 32) + (half & 0xffff_ffff);
    words(high) + words(low)
}
