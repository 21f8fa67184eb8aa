//! What may stand in front of the transport header.

use super::packet::*;

/// A name, and what is changed in a plain packet.
type Shape = (&'static str, fn(&mut Packet));

/// What may be in front of the IP header, or among its options.
pub(crate) const SHAPES_4: [Shape; 8] = [
    ("plain", |_| {}),
    ("802.1Q", |packet| packet.tags = vec![[0x81, 0x00, 0xa0, 0x2a]]),
    ("802.1ad", |packet| packet.tags = vec![[0x88, 0xa8, 0x00, 0x63]]),
    ("802.1ad and 802.1Q", |packet| packet.tags = vec![[0x88, 0xa8, 0x00, 0x63], [0x81, 0x00, 0xa0, 0x2a]]),
    ("802.1Q twice", |packet| packet.tags = vec![[0x81, 0x00, 0x0f, 0xfe], [0x81, 0x00, 0x00, 0x01]]),
    ("router alert", |packet| packet.options = vec![148, 4, 0, 0]),
    ("40 bytes of options", |packet| packet.options = [&[7, 39, 4][..], &[0x55; 36], &[0]].concat()),
    ("do not fragment", |packet| packet.fragment = 0x4000),
];

pub(crate) const HOP_BY_HOP: (u8, [u8; 7]) = (0, [0, 5, 2, 0, 0, 1, 0]);
pub(crate) const DESTINATION: (u8, [u8; 15]) = (60, [1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
/// Routing with no stop left.
pub(crate) const ROUTING: (u8, [u8; 7]) = (43, [0, 4, 0, 0, 0, 0, 0]);
/// A fragment header of a datagram that is in one piece.
const ATOMIC: (u8, [u8; 7]) = (FRAGMENT, [0, 0, 0, 1, 2, 3, 4]);
/// Authentication with 12 bytes of integrity check.
const AUTHENTICATION: (u8, [u8; 23]) =
    (51, [4, 0, 0, 0, 0, 1, 2, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

/// Puts one more extension header behind the others.
pub(crate) fn extend<const LENGTH: usize>(packet: &mut Packet, (kind, bytes): (u8, [u8; LENGTH])) {
    packet.extensions.push((kind, bytes.into()));
}

pub(crate) const SHAPES_6: [Shape; 11] = [
    SHAPES_4[0],
    SHAPES_4[1],
    SHAPES_4[2],
    SHAPES_4[3],
    SHAPES_4[4],
    ("hop-by-hop options", |packet| extend(packet, HOP_BY_HOP)),
    ("destination options", |packet| extend(packet, DESTINATION)),
    ("routing", |packet| extend(packet, ROUTING)),
    ("authentication", |packet| extend(packet, AUTHENTICATION)),
    ("atomic fragment", |packet| extend(packet, ATOMIC)),
    ("all extension headers and two tags", |packet| {
        SHAPES_4[3].1(packet);
        extend(packet, HOP_BY_HOP);
        extend(packet, DESTINATION);
        extend(packet, ROUTING);
        extend(packet, ATOMIC);
        extend(packet, AUTHENTICATION);
        extend(packet, DESTINATION);
    }),
];
