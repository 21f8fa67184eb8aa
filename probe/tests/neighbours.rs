//! Virtual hosts: found by ARP and neighbour discovery, and given up to whoever claims their addresses.

mod support;

use std::net::Ipv6Addr;

use etherparse::{Icmpv6Header, Icmpv6Type};
use probe::abi::{Counter, protocols};
use probe::host::Audience;
use probe::reflect::{Outcome, Reflected};
use support::*;

const VIRTUAL_4: &str = "203.0.113.77";
const VIRTUAL_6: &str = "2001:db8:5::77";
const BROADCAST: [u8; 6] = [0xff; 6];
const NO_MAC: [u8; 6] = [0; 6];

const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// A host with networks of virtual hosts.
fn server<const WIRE: bool>() -> Server<WIRE> {
    Server {
        virtual_hosts: vec![("203.0.113.0".parse().unwrap(), 24), ("2001:db8:5::".parse().unwrap(), 64)],
        protocols: protocols::TCP | protocols::UDP | protocols::NEIGHBOURS,
        ..Server::usual()
    }
}

/// What is to be done for an answer over Ethernet alone.
fn answered() -> Reflected {
    Reflected { packets: Counter::Neighbours, ..Reflected::default() }
}

/// The outcome for `frame`, and the finished answer.
#[track_caller]
fn ask<const WIRE: bool>(
    server: &Server<WIRE>,
    frame: &[u8],
    audience: Audience,
) -> Result<(Reflected, Vec<u8>), Outcome> {
    let mut answer = frame.to_vec();
    match run_for(server, &mut answer, audience) {
        Outcome::Reflected(reflected) => {
            finish(&mut answer, &reflected);
            Ok((reflected, answer))
        }
        outcome => Err(outcome),
    }
}

/// An ARP message (RFC 826): operation, and the addresses of sender and target.
fn arp(operation: u8, sender: ([u8; 6], &str), target: ([u8; 6], &str)) -> Vec<u8> {
    let ip = |address: &str| address.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let link = if operation == REQUEST { [BROADCAST, sender.0] } else { [target.0, sender.0] };
    let message = [&[0, 1, 8, 0, 6, 4, 0, operation][..], &sender.0, &ip(sender.1), &target.0, &ip(target.1)];
    [&link.concat()[..], &[8, 6], &message.concat()].concat()
}

fn who_has(target: &str) -> Vec<u8> {
    arp(REQUEST, (CLIENT_MAC, CLIENT_4), (NO_MAC, target))
}

/// A message of neighbour discovery (RFC 4861 section 4) about `target`, with an option if it has one.
fn neighbour(route: &Route, kind: u8, flags: u8, target: &str, option: &[u8]) -> Vec<u8> {
    let target: Ipv6Addr = target.parse().unwrap();
    let payload = [&target.octets()[..], option].concat();
    let head = Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: [flags, 0, 0, 0] };
    let (std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)) = (route.from.ip(), route.to.ip()) else {
        panic!("IPv6 only")
    };
    let header = Icmpv6Header::with_checksum(head, from.octets(), to.octets(), &payload).unwrap();
    route.frame(ICMPV6, &[&header.to_bytes(), &payload[..]].concat())
}

/// To the solicited-node address of the virtual host (RFC 4291 section 2.7.1).
fn to_all() -> Route {
    let macs = [[0x33, 0x33, 0xff, 0, 0, 0x77], CLIENT_MAC];
    Route { hops: 255, macs, ..Route::new(CLIENT_6, "ff02::1:ff00:77") }
}

/// To the virtual host itself.
fn to_it() -> Route {
    Route { hops: 255, ..Route::new(CLIENT_6, VIRTUAL_6) }
}

fn mac_option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

fn solicitation(route: &Route) -> Vec<u8> {
    neighbour(route, 135, 0, VIRTUAL_6, &mac_option(1, CLIENT_MAC))
}

/// The answer: solicited and override, from the target, and never passed on by a router.
fn advertisement(route: &Route, option: &[u8]) -> Vec<u8> {
    let macs = [CLIENT_MAC, SERVER_MAC];
    let route = Route { macs, tags: route.tags.clone(), hops: 255, ..Route::new(VIRTUAL_6, CLIENT_6) };
    neighbour(&route, 136, 0x60, VIRTUAL_6, option)
}

/// Asserts that a neighbour finds, or does not find, the virtual hosts.
#[track_caller]
fn assert_found(server: &Wire, v4: bool, v6: bool) {
    assert_eq!(ask(server, &who_has(VIRTUAL_4), Audience::Many).is_ok(), v4);
    assert_eq!(ask(server, &solicitation(&to_all()), Audience::Many).is_ok(), v6);
}

#[test]
fn arp_request_is_answered() {
    let padding = [0; 18];
    for target in ["203.0.113.0", VIRTUAL_4, "203.0.113.255"] {
        let expected = arp(REPLY, (SERVER_MAC, target), (CLIENT_MAC, CLIENT_4));
        for audience in [Audience::Many, Audience::Us] {
            assert_eq!(
                ask(&server::<true>(), &who_has(target), audience),
                Ok((answered(), expected.clone()))
            );
        }
        let padded = [&who_has(target)[..], &padding].concat();
        let (_, answer) = ask(&server::<true>(), &padded, Audience::Many).unwrap();
        assert_eq!(answer, [&expected[..], &padding].concat());
    }
}

#[test]
fn arp_request_in_vlans_is_answered_there() {
    for tags in [&[0x81, 0, 0x20, 5][..], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 5]] {
        let tagged = |frame: Vec<u8>| [&frame[..12], tags, &frame[12..]].concat();
        let expected = tagged(arp(REPLY, (SERVER_MAC, VIRTUAL_4), (CLIENT_MAC, CLIENT_4)));
        let outcome = ask(&server::<true>(), &tagged(who_has(VIRTUAL_4)), Audience::Many);
        assert_eq!(outcome, Ok((answered(), expected)));
    }
}

#[test]
fn arp_for_others_is_not_ours() {
    let frame = who_has(VIRTUAL_4);
    for target in ["203.0.112.255", "203.0.114.0", SERVER_4, CLIENT_4, "0.0.0.0"] {
        assert_untouched(&server::<true>(), &who_has(target), NOT_OURS);
    }
    assert_eq!(ask(&server::<true>(), &frame, Audience::Other), Err(NOT_OURS));
    assert_untouched(&server::<false>(), &frame, NOT_OURS);
    let without = Wire { protocols: protocols::TCP | protocols::UDP, ..server() };
    assert_untouched(&without, &frame, NOT_OURS);
    for length in 0..frame.len() {
        assert_untouched(&server::<true>(), &frame[..length], NOT_OURS);
    }
    // Other hardware and protocols, lengths, and operations.
    for at in ETHERNET..ETHERNET + 8 {
        for change in [1, 2, 0x80] {
            let mut frame = frame.clone();
            frame[at] ^= change;
            assert_untouched(&server::<true>(), &frame, NOT_OURS);
        }
    }
}

#[test]
fn neighbour_that_cannot_be_answered_is_not() {
    let dropped = Err(consumed(Counter::DroppedSource));
    for (frame, address) in [(who_has(VIRTUAL_4), CLIENT_4), (solicitation(&to_all()), CLIENT_6)] {
        let server = Wire { refused: vec![address.parse().unwrap()], ..server() };
        assert_eq!(ask(&server, &frame, Audience::Many), dropped);
        for station in [[1, 0, 0x5e, 0, 0, 1], [0xff; 6]] {
            let mut frame = frame.clone();
            frame[6..12].copy_from_slice(&station);
            assert_eq!(ask(&self::server::<true>(), &frame, Audience::Many), dropped);
        }
    }
}

#[test]
fn address_that_a_neighbour_claims_is_given_up() {
    // A probe, announcements of both kinds (RFC 5227 sections 1.1 and 2.3), a request and a reply of its
    // owner.
    let (mac, nobody) = (CLIENT_MAC, "0.0.0.0");
    for claim in [
        arp(REQUEST, (mac, nobody), (NO_MAC, VIRTUAL_4)),
        arp(REQUEST, (mac, VIRTUAL_4), (NO_MAC, VIRTUAL_4)),
        arp(REPLY, (mac, VIRTUAL_4), (mac, VIRTUAL_4)),
        arp(REQUEST, (mac, VIRTUAL_4), (NO_MAC, CLIENT_4)),
        arp(REPLY, (mac, VIRTUAL_4), (SERVER_MAC, CLIENT_4)),
    ] {
        let server = server::<true>();
        assert_found(&server, true, true);
        assert_eq!(ask(&server, &claim, Audience::Many), Err(NOT_OURS), "{claim:02x?}");
        assert_found(&server, false, true);
        // Only this one.
        assert!(ask(&server, &who_has("203.0.113.78"), Audience::Many).is_ok());
    }
}

#[test]
fn claims_to_other_addresses_change_nothing() {
    let server = server::<true>();
    for claimed in [CLIENT_4, SERVER_4, "203.0.113.78"] {
        let claim = arp(REQUEST, (CLIENT_MAC, claimed), (NO_MAC, claimed));
        assert_untouched(&server, &claim, NOT_OURS);
    }
    assert_found(&server, true, true);
}

#[test]
fn virtual_host_that_asks_is_none() {
    // Somebody with one of the addresses gets an answer about another, and has made its claim.
    let server = server::<true>();
    let question = arp(REQUEST, (CLIENT_MAC, "203.0.113.9"), (NO_MAC, VIRTUAL_4));
    assert!(ask(&server, &question, Audience::Many).is_ok());
    assert_eq!(ask(&server, &who_has("203.0.113.9"), Audience::Many), Err(NOT_OURS));

    let route = Route { from: "[2001:db8:5::9]:1".parse().unwrap(), ..to_all() };
    assert!(ask(&server, &solicitation(&route), Audience::Many).is_ok());
    let question = neighbour(&to_all(), 135, 0, "2001:db8:5::9", &mac_option(1, CLIENT_MAC));
    assert_eq!(ask(&server, &question, Audience::Many), Err(NOT_OURS));
    assert_found(&server, true, true);
}

#[test]
fn solicitation_is_answered_with_an_advertisement() {
    for route in [to_all(), to_it(), Route { tags: vec![0x81, 0, 0, 5], ..to_all() }] {
        let frame = solicitation(&route);
        let expected = advertisement(&route, &mac_option(2, SERVER_MAC));
        let (reflected, answer) = ask(&server::<true>(), &frame, Audience::Many).unwrap();
        assert_eq!(answer, expected);
        assert_eq!(checksum_is_right(&answer), Some(true));
        assert_eq!(reflected.checksum as usize, route.headers() + 2);
        assert_eq!((reflected.packets, reflected.bytes), (Counter::Neighbours, 0));
    }
}

#[test]
fn solicitation_without_an_option_is_answered_to_whoever_knows_us() {
    // RFC 4861 sections 4.3 and 4.4: only a multicast one needs the option.
    let frame = neighbour(&to_it(), 135, 0, VIRTUAL_6, &[]);
    let (_, answer) = ask(&server::<true>(), &frame, Audience::Us).unwrap();
    assert_eq!(answer, advertisement(&to_it(), &[]));
    let frame = neighbour(&to_all(), 135, 0, VIRTUAL_6, &[]);
    assert_eq!(ask(&server::<true>(), &frame, Audience::Many), Err(NOT_OURS));
}

#[test]
fn other_neighbour_messages_are_not_ours() {
    let option = mac_option(1, CLIENT_MAC);
    for target in ["2001:db8:5:1::77", SERVER_6, CLIENT_6, "::ffff:203.0.113.77"] {
        let frame = neighbour(&to_all(), 135, 0, target, &option);
        assert_eq!(ask(&server::<true>(), &frame, Audience::Many), Err(NOT_OURS), "{target}");
    }
    let passed_on = solicitation(&Route { hops: 254, ..to_all() });
    let mut with_code = solicitation(&to_all());
    with_code[to_all().headers() + 1] = 1;
    for frame in [
        passed_on,
        with_code,
        // An advertisement, a router solicitation, and options that are not the sender's MAC address.
        neighbour(&to_all(), 136, 0x20, VIRTUAL_6, &option),
        neighbour(&to_all(), 133, 0, VIRTUAL_6, &option),
        neighbour(&to_all(), 135, 0, VIRTUAL_6, &mac_option(2, CLIENT_MAC)),
        neighbour(&to_all(), 135, 0, VIRTUAL_6, &mac_option(14, CLIENT_MAC)),
    ] {
        assert_eq!(ask(&server::<true>(), &frame, Audience::Many), Err(NOT_OURS));
    }
    let frame = solicitation(&to_all());
    assert_eq!(ask(&server::<true>(), &frame, Audience::Other), Err(NOT_OURS));
    assert_eq!(ask(&server::<false>(), &frame, Audience::Many), Err(NOT_OURS));
    let without = Wire { protocols: protocols::TCP | protocols::UDP, ..server() };
    assert_eq!(ask(&without, &frame, Audience::Many), Err(NOT_OURS));
    for length in 0..frame.len() {
        assert_untouched(&server::<true>(), &frame[..length], NOT_OURS);
    }
}

#[test]
fn pieces_are_no_solicitations() {
    // RFC 6980 section 5: neighbour discovery in fragments is ignored.
    for field in [1, 0x100] {
        let extension = Some((44, fragment_header(ICMPV6, field)));
        for route in [to_all(), to_it()] {
            let frame = solicitation(&Route { extension: extension.clone(), ..route });
            assert!(ask(&server::<true>(), &frame, Audience::Us).is_err(), "{field:#x}");
        }
    }
}

#[test]
fn duplicate_address_detection_claims_the_address() {
    // RFC 4862 section 5.4.2: the source is unspecified.
    let server = server::<true>();
    let route = Route { from: "[::]:0".parse().unwrap(), ..to_all() };
    for option in [&[][..], &[14, 1, 1, 2, 3, 4, 5, 6]] {
        let other = neighbour(&route, 135, 0, "2001:db8:5::78", option);
        assert_eq!(ask(&server, &other, Audience::Many), Err(NOT_OURS));
    }
    assert_found(&server, true, true);
    let detection = neighbour(&route, 135, 0, VIRTUAL_6, &[]);
    assert_eq!(ask(&server, &detection, Audience::Many), Err(NOT_OURS));
    assert_found(&server, true, false);
}

#[test]
fn virtual_hosts_echo_and_answer_pings() {
    let server = server::<true>();
    for (client, host) in [(CLIENT_4, VIRTUAL_4), (CLIENT_6, VIRTUAL_6)] {
        let route = Route::new(client, host);
        assert_eq!(echo(&server, &udp(&route, b"virtual")).1, udp(&route.bounced(), b"virtual"));
        assert_eq!(echo(&server, &ping(&route, b"ping")).1, pong(&route.bounced(), b"ping"));
        let pieces =
            fragments(&route, if route.from.is_ipv4() { ICMP } else { ICMPV6 }, &ping(&route, &[1; 60]), 32);
        pieces.iter().for_each(|piece| drop(echo(&server, piece)));
        // Pings to hosts that exist are answered by themselves.
        let [v4, v6] = routes();
        for route in [v4, v6] {
            assert_untouched(&server, &ping(&route, b"ping"), NOT_OURS);
        }
    }
}

#[test]
fn pings_to_virtual_hosts_on_loopback_are_not_ours() {
    // Whatever comes by there has a host that exists.
    for (client, host) in [(CLIENT_4, VIRTUAL_4), (CLIENT_6, VIRTUAL_6)] {
        let route = Route::new(client, host);
        assert_untouched(&server::<false>(), &ping(&route, b"ping"), NOT_OURS);
    }
}

#[test]
fn solicitation_from_a_link_local_address_is_answered_to_all() {
    // It does not say who will use the host, which is asked again then.
    let source = "fe80::c";
    let macs = to_all().macs;
    let refused = vec![source.parse().unwrap()];
    let host = Wire { refused, ..server::<true>() };
    let route = Route { hops: 255, macs, ..Route::new(source, "ff02::1:ff00:77") };
    let (_, answer) = ask(&host, &solicitation(&route), Audience::Many).unwrap();
    let back = Route { macs: [CLIENT_MAC, SERVER_MAC], hops: 255, ..Route::new(VIRTUAL_6, source) };
    assert_eq!(answer, neighbour(&back, 136, 0x60, VIRTUAL_6, &mac_option(2, SERVER_MAC)));
    let datagram = udp(&Route::new(source, VIRTUAL_6), b"x");
    assert_untouched(&host, &datagram, consumed(Counter::DroppedSource));
}
