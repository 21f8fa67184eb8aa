//! Whether checksums are right, by etherparse's arithmetic.

use etherparse::checksum::Sum16BitWords;

use super::{ETHERNET, ICMP, ICMPV6, TCP, UDP};

/// Where the IP header of `frame` begins, behind up to two VLAN tags; `None` if what is there is not IP.
pub(crate) fn network_offset(frame: &[u8]) -> Option<usize> {
    let is_tag = |word: &&[u8]| matches!(word, [0x81, 0, ..] | [0x88, 0xa8, ..]);
    let tags = frame.get(12..)?.chunks(4).take(2).take_while(is_tag).count();
    let offset = ETHERNET + 4 * tags;
    matches!(frame.get(offset - 2..=offset)?, [8, 0, 0x40..=0x4f] | [0x86, 0xdd, 0x60..=0x6f])
        .then_some(offset)
}

/// The ones' complement sum of the words of `bytes` in this machine's byte order, which is below 0xffff.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|word| [word[0], *word.get(1).unwrap_or(&0)]);
    words.map(|word| u64::from(u16::from_ne_bytes(word))).sum::<u64>() % 0xffff
}

/// Whether the checksum of a TCP, UDP, ICMP or ICMPv6 frame is right, if the frame has all of it. A UDP
/// checksum of zero over IPv4 is right.
pub(crate) fn checksum_is_right(frame: &[u8]) -> Option<bool> {
    packet_checksum_is_right(&frame[network_offset(frame)?..])
}

/// Likewise, for a packet without a link-layer header.
pub(crate) fn packet_checksum_is_right(ip: &[u8]) -> Option<bool> {
    let (protocol, addresses, transport) = transport(ip)?;
    let least = match protocol {
        TCP => 20,
        UDP | ICMP | ICMPV6 => 8,
        _ => return None,
    };
    if transport.len() < least {
        return None;
    }
    if protocol == UDP && addresses.len() == 8 && transport[6..8] == [0, 0] {
        return Some(true);
    }
    let mut sum = Sum16BitWords::new();
    if protocol != ICMP {
        let length = (transport.len() as u32).to_be_bytes();
        sum = sum.add_slice(addresses).add_4bytes(length).add_2bytes([0, protocol]);
    }
    Some(sum.add_slice(transport).ones_complement() == 0)
}

/// Protocol, addresses and transport packet of an IP packet, unless it is a fragment.
fn transport(ip: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let number = |at: usize| Some(u16::from_be_bytes([*ip.get(at)?, *ip.get(at + 1)?]));
    if ip.first()? >> 4 == 4 {
        let start = usize::from(ip[0] & 15) * 4;
        if start < 20 || number(6)? & 0x3fff != 0 {
            return None;
        }
        return Some((*ip.get(9)?, ip.get(12..20)?, ip.get(start..usize::from(number(2)?))?));
    }
    let (mut next, mut start) = (*ip.get(6)?, 40);
    loop {
        let length = usize::from(*ip.get(start + 1).unwrap_or(&0));
        let size = match next {
            0 | 43 | 60 => 8 + 8 * length,
            51 => 8 + 4 * length,
            44 if number(start + 2)? & 0xfff9 == 0 => 8,
            44 => return None,
            _ => break,
        };
        next = *ip.get(start)?;
        start += size;
    }
    Some((next, ip.get(8..40)?, ip.get(start..40 + usize::from(number(4)?))?))
}

/// Whether the checksum of the IPv4 header of a packet is right, if it has one.
pub(crate) fn header_checksum_is_right(ip: &[u8]) -> Option<bool> {
    let header = ip.get(..usize::from(ip.first()? & 15) * 4)?;
    (ip[0] >> 4 == 4).then(|| Sum16BitWords::new().add_slice(header).ones_complement() == 0)
}
