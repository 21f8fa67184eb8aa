//! Addresses of both versions of IP as one kind of key.

use crate::abi::Address;
use crate::headers::Be32;

/// An IPv4 address, mapped into IPv6 (RFC 4291 section 2.5.5.2).
#[inline(always)]
pub(crate) fn mapped(address: Be32) -> Address {
    let [a, b, c, d] = address.0;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Whether an address is an IPv4 address mapped into IPv6.
#[inline(always)]
pub(crate) fn is_mapped(address: &Address) -> bool {
    let [a, b, c, _] = words(address);
    a.word() | b.word() == 0 && c.get() == 0xffff
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

/// The address as four words.
#[inline(always)]
fn words(address: &Address) -> [Be32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    [Be32([a, b, c, d]), Be32([e, f, g, h]), Be32([i, j, k, l]), Be32([m, n, o, p])]
}

/// The sum of the words of an address, for checksums.
#[inline(always)]
pub(crate) fn sum(address: &Address) -> u64 {
    let [a, b, c, d] = words(address);
    a.word() + b.word() + c.word() + d.word()
}
