//! Packets nobody meant to send: random ones, broken ones, and valid ones with random fields. No outcome but
//! an answer changes a byte, and an answer to a packet with a right checksum has a right checksum.

mod support;

use probe::packet::Packet;
use probe::reflect::{Finish, Outcome, reflect};
use support::random::{Random, damage, segment_with};
use support::*;

/// Runs one packet of `length` bytes of which `frame` is the linear part. Returns whether it was reflected.
#[track_caller]
fn check(server: &Server, frame: &[u8], length: usize) -> bool {
    let mut answer = frame.to_vec();
    let outcome = reflect(server, Packet::new(&mut answer), length as u32);
    let Outcome::Reflected(reflected) = outcome else {
        assert_eq!(answer, frame, "{outcome:?} changed a byte");
        return false;
    };
    assert!((reflected.bytes as usize) < length);
    match reflected.finish {
        Finish::Nothing => {}
        Finish::Checksum { offset, .. } => assert!(offset as usize + 2 <= frame.len()),
        Finish::Trim(to) => assert!((to as usize) < length && reflected.bytes == 0),
    }
    if length == frame.len() {
        finish(&mut answer, &reflected);
        if checksum_is_right(frame) == Some(true) {
            assert_eq!(checksum_is_right(&answer), Some(true), "\n{frame:02x?}\n{answer:02x?}");
        }
        if frame[12..14] == [8, 0] {
            assert_eq!(header_checksum_is_right(&answer), header_checksum_is_right(frame));
        }
    }
    true
}

fn header_checksum_is_right(frame: &[u8]) -> bool {
    let length = usize::from(frame[ETHERNET] & 15) * 4;
    let header = &frame[ETHERNET..ETHERNET + length];
    etherparse::checksum::Sum16BitWords::new().add_slice(header).ones_complement() == 0
}

fn route(random: &mut Random) -> Route {
    let [v4, v6] = routes();
    let mut route = if random.chance(50) { v4 } else { v6 };
    route.from.set_port(random.number() as u16);
    let words = if random.chance(70) { 0 } else { random.below(11) };
    route.options = random.bytes(words * 4);
    route
}

/// A valid segment with random fields.
fn segment(random: &mut Random) -> Tcp {
    let flags =
        [SYN, SYN | ECE | CWR, ACK, ACK | PSH, FIN | ACK, ACK, ACK | PSH, random.byte()][random.below(8)];
    let length = [0, 0, 1, 3, random.below(64), random.below(1500)][random.below(6)];
    let payload = random.bytes(length);
    let route = route(random);
    segment_with(random, &route, flags, payload)
}

fn datagram(random: &mut Random) -> Vec<u8> {
    let length = random.below(64);
    let payload = random.bytes(length);
    udp(&route(random), &payload)
}

/// A complete checksum that equals the sum of the pseudo header is taken for the latter when data is cut off a
/// SYN: see `Datagram::trim`.
fn is_ambiguous(segment: &Tcp) -> bool {
    segment.flags & SYN != 0 && segment.frame() == segment.partial()
}

#[test]
fn random_bytes_are_never_changed_by_half() {
    let (server, mut random) = (Server::usual(), Random(1));
    for _ in 0..100_000 {
        let length = random.below(160);
        let mut frame = random.bytes(length);
        // Mostly something that looks like IP at first.
        if length > 34 && random.chance(90) {
            let v4 = random.chance(50);
            frame[12..14].copy_from_slice(if v4 { &[8, 0] } else { &[0x86, 0xdd] });
            let transport = if random.chance(50) { TCP } else { UDP };
            let extension = [0, 43, 44, 51, 60, transport][random.below(6)];
            frame[if v4 { 23 } else { 20 }] = if random.chance(70) { transport } else { extension };
        }
        let more = if random.chance(50) { 0 } else { random.below(200_000) };
        check(&server, &frame, length + more);
    }
}

#[test]
fn random_fields_keep_a_right_checksum_right() {
    let (server, mut random) = (Server::usual(), Random(2));
    let mut reflected = 0;
    for _ in 0..60_000 {
        let segment = segment(&mut random);
        if is_ambiguous(&segment) {
            continue;
        }
        let frame = segment.frame();
        assert_eq!(checksum_is_right(&frame), Some(true));
        reflected += usize::from(check(&server, &frame, frame.len()));
    }
    for _ in 0..20_000 {
        let frame = datagram(&mut random);
        assert_eq!(checksum_is_right(&frame), Some(true));
        assert!(check(&server, &frame, frame.len()));
    }
    assert!(reflected > 45_000, "only {reflected}");
}

#[test]
fn broken_packets_are_answered_whole_or_not_at_all() {
    let (server, mut random) = (Server::usual(), Random(3));
    let mut reflected = 0;
    for _ in 0..120_000 {
        let mut frame = if random.chance(80) { segment(&mut random).frame() } else { datagram(&mut random) };
        // Rather the headers than the payload.
        let limit = if random.chance(80) { 100 } else { frame.len() };
        damage(&mut random, &mut frame, limit);
        let length = frame.len();
        if random.chance(30) {
            frame.truncate(random.below(length));
        }
        let length = if random.chance(50) { frame.len() } else { frame.len() + random.below(100_000) };
        reflected += usize::from(check(&server, &frame, length));
    }
    assert!(reflected > 30_000, "only {reflected}");
}
