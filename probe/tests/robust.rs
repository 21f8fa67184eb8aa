//! Packets nobody meant to send: random ones, broken ones, and valid ones with random fields. No outcome but
//! an answer changes a byte, and an answer to a packet with a right checksum has a right checksum.

mod support;

use probe::abi::{Counter, link, protocols};
use probe::host::Audience;
use probe::reflect::Outcome;
use support::random::{Random, damage, datagram, question, segment};
use support::*;

/// A host that answers all it can.
fn server<const WIRE: bool>() -> Server<WIRE> {
    let mut server = Server::usual();
    server.protocols = protocols::TCP | protocols::UDP | protocols::ICMP;
    if WIRE {
        server.protocols |= protocols::NEIGHBOURS;
        server.virtual_hosts =
            vec![("203.0.113.0".parse().unwrap(), 24), ("2001:db8:5::".parse().unwrap(), 64)];
    }
    server
}

/// Runs one packet. Returns whether it was reflected.
#[track_caller]
fn check<const WIRE: bool>(server: &Server<WIRE>, random: &mut Random, frame: &[u8]) -> bool {
    let audience = [Audience::Us, Audience::Us, Audience::Many, Audience::Other][random.below(4)];
    let mut answer = frame.to_vec();
    // Any part of it in reach makes no difference.
    let mut bytes = frame.to_vec();
    let linear = random.below(frame.len().min(120) + 1);
    let other = try_with(server, &mut Bytes { bytes: &mut bytes, linear, audience });
    let outcome = run_for(server, &mut answer, audience);
    assert_eq!(done(&bytes, &other), done(&answer, &outcome), "{linear} of {frame:02x?}");

    let Outcome::Reflected(reflected) = outcome else { return false };
    assert!((reflected.bytes as usize) < frame.len());
    let network = if WIRE && server.link == link::NONE { Some(0) } else { network_offset(frame) };
    finish(&mut answer, &reflected);
    assert!(answer.len() <= frame.len());
    if let Some(network) = network {
        let (packet, answer) = (&frame[network..], &answer[network..]);
        if packet_checksum_is_right(packet) == Some(true) {
            assert_eq!(packet_checksum_is_right(answer), Some(true), "\n{packet:02x?}\n{answer:02x?}");
        }
        assert_eq!(header_checksum_is_right(answer), header_checksum_is_right(packet));
    }
    true
}

fn random_bytes_are_never_changed_by_half<const WIRE: bool>(link: u32) {
    let (server, mut random) = (Server { link, ..server::<WIRE>() }, Random(1));
    for _ in 0..50_000 {
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
        check(&server, &mut random, &frame);
    }
}

#[test]
fn random_bytes_are_never_changed_by_half_on_loopback() {
    random_bytes_are_never_changed_by_half::<false>(link::ETHERNET);
}

#[test]
fn random_bytes_are_never_changed_by_half_on_the_wire() {
    random_bytes_are_never_changed_by_half::<true>(link::ETHERNET);
    random_bytes_are_never_changed_by_half::<true>(link::NONE);
}

/// Of 80,000 valid packets at least `least` are reflected.
fn random_fields_keep_a_right_checksum_right<const WIRE: bool>(link: u32, least: usize) {
    let (server, mut random) = (Server { link, ..server::<WIRE>() }, Random(2));
    let mut reflected = 0;
    for number in 0..80_000 {
        let mut frame = if number % 4 == 0 { datagram(&mut random) } else { segment(&mut random).frame() };
        assert_ne!(checksum_is_right(&frame), Some(false));
        if server.link == link::NONE {
            let Some(network) = network_offset(&frame) else { continue };
            frame.drain(..network);
        }
        reflected += usize::from(check(&server, &mut random, &frame));
    }
    assert!(reflected > least, "only {reflected}");
}

#[test]
fn random_fields_keep_a_right_checksum_right_on_loopback() {
    random_fields_keep_a_right_checksum_right::<false>(link::ETHERNET, 45_000);
}

#[test]
fn random_fields_keep_a_right_checksum_right_on_the_wire() {
    random_fields_keep_a_right_checksum_right::<true>(link::ETHERNET, 10_000);
    random_fields_keep_a_right_checksum_right::<true>(link::NONE, 10_000);
}

fn broken_packets_are_answered_whole_or_not_at_all<const WIRE: bool>(link: u32, least: usize) {
    let (server, mut random) = (Server { link, ..server::<WIRE>() }, Random(3));
    let mut reflected = 0;
    for _ in 0..80_000 {
        let mut frame = match random.below(10) {
            0 => question(&mut random),
            1 | 2 => datagram(&mut random),
            _ => segment(&mut random).frame(),
        };
        if server.link == link::NONE {
            frame.drain(..network_offset(&frame).unwrap_or(0));
        }
        // Rather the headers than the payload.
        let limit = if random.chance(80) { 100 } else { frame.len() };
        damage(&mut random, &mut frame, limit);
        if random.chance(30) {
            frame.truncate(random.below(frame.len()));
        }
        if random.chance(30) {
            let padding = random.below(20);
            frame.extend(random.bytes(padding));
        }
        reflected += usize::from(check(&server, &mut random, &frame));
    }
    assert!(reflected > least, "only {reflected}");
}

#[test]
fn broken_packets_are_answered_whole_or_not_at_all_on_loopback() {
    broken_packets_are_answered_whole_or_not_at_all::<false>(link::ETHERNET, 20_000);
}

#[test]
fn broken_packets_are_answered_whole_or_not_at_all_on_the_wire() {
    broken_packets_are_answered_whole_or_not_at_all::<true>(link::ETHERNET, 5_000);
    broken_packets_are_answered_whole_or_not_at_all::<true>(link::NONE, 5_000);
}

/// Lets two hosts play with a datagram that somebody sent one of them in the other's name. Returns how often
/// it came back, and how that ended.
fn play(route: &Route, port: u16, other_port: u16) -> (usize, Outcome) {
    let host = |port| Wire { addresses: vec![route.from.ip(), route.to.ip()], ports: vec![port], ..server() };
    let hosts = [host(port), host(other_port)];
    let mut route = route.clone();
    route.to.set_port(port);
    route.from.set_port(other_port);
    let mut frame = udp(&route, b"ball");
    for round in 0..1000 {
        match run(&hosts[round % 2], &mut frame) {
            Outcome::Reflected(reflected) => finish(&mut frame, &reflected),
            outcome => return (round, outcome),
        }
    }
    panic!("it never ends");
}

#[test]
fn two_hosts_do_not_play_forever() {
    for (from, to) in [("192.0.2.8", SERVER_4), ("2001:db8::8", SERVER_6)] {
        let route = Route { hops: 255, ..Route::new(from, to) };
        assert_eq!(play(&route, 7007, 7008), (254, consumed(Counter::DroppedTtl)));
        assert_eq!(play(&route, 7007, 7007), (0, consumed(Counter::DroppedLoop)));
    }
}
