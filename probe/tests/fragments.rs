//! Datagrams in pieces: all of them come back, once the first has shown that it is for us.

mod support;

use probe::abi::{Counter, protocols};
use probe::host::Audience;
use probe::reflect::Outcome;
use support::golden::*;
use support::*;

const PASSED: Outcome = passed(Counter::PassedFragment);

fn server<const WIRE: bool>() -> Server<WIRE> {
    Server { protocols: protocols::TCP | protocols::UDP | protocols::ICMP, ..Server::usual() }
}

fn way_back<const WIRE: bool>(route: &Route) -> Route {
    if WIRE { route.bounced() } else { route.back() }
}

fn payload() -> Vec<u8> {
    (0..93).map(|n| n * 2 + 1).collect()
}

/// A segment alone, for which there is window enough.
fn segment(route: &Route, flags: u8) -> Tcp {
    Tcp {
        sequence: SEQUENCE,
        acknowledgment: SEQUENCE,
        window: 65_535,
        payload: payload(),
        options: aligned_timestamps(TSVAL, TSECR),
        ..Tcp::new(route, flags)
    }
}

fn icmp(route: &Route) -> u8 {
    if route.from.is_ipv4() { ICMP } else { ICMPV6 }
}

/// A datagram in pieces.
struct Datagram {
    pieces: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    /// How much of the first piece is the transport header.
    header: u32,
}

/// A datagram of every protocol.
fn datagrams<const WIRE: bool>(route: &Route) -> [Datagram; 4] {
    let back = way_back::<WIRE>(route);
    let datagram = |protocol, frame: &[u8], answer: &[u8], header| Datagram {
        pieces: fragments(route, protocol, frame, 40),
        answers: fragments(&back, protocol, answer, 40),
        header,
    };
    // Acknowledged in advance by nobody, as nobody knows how long it is.
    let tcp = |flags| {
        let segment = segment(route, flags);
        let options = aligned_timestamps(TSVAL, TSVAL);
        let answer = Tcp { route: back.clone(), options, ..segment.clone() };
        let answer = if WIRE { answer } else { answer.balanced(&segment) };
        datagram(TCP, &segment.frame(), &answer.frame(), 32)
    };
    [
        datagram(UDP, &udp(route, &payload()), &udp(&back, &payload()), 8),
        datagram(icmp(route), &ping(route, &payload()), &pong(&back, &payload()), 8),
        tcp(ACK | PSH),
        tcp(ACK | FIN),
    ]
}

fn pieces_come_back<const WIRE: bool>() {
    let tagged = routes().map(|route| Route { tags: vec![0x81, 0, 0, 9], ..route });
    let with_options = Route { options: vec![7; 40], ..Route::new(CLIENT_4, SERVER_4) };
    for route in routes().into_iter().chain(tagged).chain([with_options]) {
        for Datagram { pieces, answers, header } in datagrams::<WIRE>(&route) {
            let server = server::<WIRE>();
            assert!(pieces.len() > 2);
            // Later ones in any order; the first again as another datagram with the same identification.
            let indices = [0].into_iter().chain((1..pieces.len()).rev()).chain([1, 0]);
            for index in indices {
                let (reflected, answer) = echo(&server, &pieces[index]);
                assert_eq!(answer, answers[index], "{index} of {pieces:02x?}");
                let network = network_offset(&answer).unwrap();
                assert_ne!(header_checksum_is_right(&answer[network..]), Some(false));
                let length = answer.len() - network;
                let ip = if route.from.is_ipv4() { 20 + route.options.len() } else { 48 };
                let header = if index == 0 { header } else { 0 };
                assert_eq!(reflected.bytes, (length - ip) as u32 - header);
            }
        }
    }
}

#[test]
fn pieces_come_back_on_loopback() {
    pieces_come_back::<false>();
}

#[test]
fn pieces_come_back_on_the_wire() {
    pieces_come_back::<true>();
}

/// Asserts that later pieces pass, also the last and those far behind, until the first was there.
fn later_pieces_pass_without_the_first<const WIRE: bool>() {
    for route in routes() {
        for Datagram { pieces, .. } in datagrams::<WIRE>(&route) {
            let server = server::<WIRE>();
            for piece in &pieces[1..] {
                assert_untouched(&server, piece, PASSED);
            }
            echo(&server, &pieces[0]);
            for piece in &pieces[1..] {
                echo(&server, piece);
            }
        }
        let mut other = route.clone();
        other.to =
            if route.from.is_ipv4() { "192.0.2.8:7007" } else { "[2001:db8::8]:7007" }.parse().unwrap();
        for piece in fragments(&other, UDP, &udp(&other, &payload()), 40) {
            assert_untouched(&server::<WIRE>(), &piece, NOT_OURS);
        }
    }
}

#[test]
fn later_pieces_pass_without_the_first_on_loopback() {
    later_pieces_pass_without_the_first::<false>();
}

#[test]
fn later_pieces_pass_without_the_first_on_the_wire() {
    later_pieces_pass_without_the_first::<true>();
}

#[test]
fn pieces_of_other_datagrams_pass() {
    for route in routes() {
        let server = Wire { addresses: vec![route.to.ip(), other_server(&route)], ..server() };
        let pieces = fragments(&route, UDP, &udp(&route, &payload()), 40);
        echo(&server, &pieces[0]);
        // Another identification, in its first and its last byte; source; destination; protocol.
        let identification = if route.from.is_ipv4() { 18..20 } else { ETHERNET + 44..ETHERNET + 48 };
        for at in [identification.start, identification.end - 1] {
            let mut piece = pieces[1].clone();
            piece[at] ^= 1;
            assert_untouched(&server, &piece, PASSED);
        }
        let mut from = route.clone();
        from.from =
            if route.from.is_ipv4() { "198.51.100.8:1" } else { "[2001:db8:9::d]:1" }.parse().unwrap();
        let mut to = route.clone();
        to.to.set_ip(other_server(&route));
        for (route, protocol) in [(&from, UDP), (&to, UDP), (&route, TCP), (&route, icmp(&route))] {
            let piece = &fragments(route, protocol, &udp(route, &payload()), 40)[1];
            assert_untouched(&server, piece, PASSED);
        }
        echo(&server, &pieces[1]);
    }
}

fn other_server(route: &Route) -> std::net::IpAddr {
    if route.from.is_ipv4() { "192.0.2.8" } else { "2001:db8::8" }.parse().unwrap()
}

/// Asserts that the later pieces of `first`, a first piece that has this outcome, pass, even if a datagram
/// before with the same identification came back.
#[track_caller]
fn assert_forgotten<const WIRE: bool>(route: &Route, protocol: u8, first: &[u8], outcome: Outcome) {
    let server = server::<WIRE>();
    let echoed = match protocol {
        UDP => udp(route, &payload()),
        TCP => segment(route, ACK).frame(),
        _ => ping(route, &payload()),
    };
    let pieces = fragments(route, protocol, &echoed, 40);
    echo(&server, &pieces[0]);
    echo(&server, &pieces[1]);
    assert_untouched(&server, first, outcome);
    assert_untouched(&server, &pieces[1], PASSED);
}

#[test]
fn pieces_pass_behind_a_first_one_that_does_not_come_back() {
    for route in routes() {
        let first = |protocol, frame: &[u8], size| fragments(&route, protocol, frame, size).swap_remove(0);
        let mut other = route.clone();
        other.to.set_port(PORT + 1);
        let elsewhere = fragments(&other, UDP, &udp(&other, &payload()), 40).swap_remove(0);
        assert_forgotten::<true>(&route, UDP, &elsewhere, NOT_OURS);
        assert_forgotten::<false>(&route, UDP, &elsewhere, NOT_OURS);

        let reply = first(icmp(&route), &pong(&route, &payload()), 40);
        assert_forgotten::<true>(&route, icmp(&route), &reply, NOT_OURS);

        for (flags, outcome) in [
            // Its data would have to be cut off.
            (SYN, PASSED),
            (RST, consumed(Counter::Resets)),
            (SYN | FIN, consumed(Counter::DroppedFlags)),
        ] {
            let first = first(TCP, &segment(&route, flags).frame(), 40);
            assert_forgotten::<true>(&route, TCP, &first, outcome);
            assert_forgotten::<false>(&route, TCP, &first, outcome);
        }
        // The TCP header does not fit (RFC 1858).
        for size in [8, 16, 24] {
            let first = first(TCP, &segment(&route, ACK).frame(), size);
            assert_forgotten::<true>(&route, TCP, &first, passed(Counter::PassedMalformed));
            assert_forgotten::<false>(&route, TCP, &first, passed(Counter::PassedMalformed));
        }
    }
}

#[test]
fn later_pieces_are_as_harmless_as_others() {
    for route in routes() {
        let pieces = |route: &Route| fragments(route, UDP, &udp(route, &payload()), 40);
        let server = server::<true>();
        let mut ordinary = pieces(&route);
        echo(&server, &ordinary[0]);
        let outcome = run_for(&server, &mut ordinary[1], Audience::Other);
        assert_eq!(outcome, passed(Counter::PassedFrame));
        let far = &pieces(&Route { hops: 1, ..route.clone() })[1];
        assert_untouched(&server, far, consumed(Counter::DroppedTtl));
        let group = &pieces(&Route { macs: [SERVER_MAC, [0xff; 6]], ..route.clone() })[1];
        assert_untouched(&server, group, consumed(Counter::DroppedSource));
        let length_at = ETHERNET + if route.from.is_ipv4() { 2 } else { 4 };
        let mut long = ordinary.swap_remove(1);
        long[length_at + 1] += 1;
        assert_untouched(&server, &long, passed(Counter::PassedMalformed));
    }
}

#[test]
fn smallest_first_piece_of_a_datagram_comes_back() {
    // RFC 791 section 3.2: eight bytes, here the header of UDP or of ping.
    for route in routes() {
        let back = route.bounced();
        for (protocol, frame, answer) in [
            (UDP, udp(&route, &payload()), udp(&back, &payload())),
            (icmp(&route), ping(&route, &payload()), pong(&back, &payload())),
        ] {
            let server = server::<true>();
            let answers = fragments(&back, protocol, &answer, 8);
            for (piece, expected) in fragments(&route, protocol, &frame, 8).iter().zip(answers) {
                assert_eq!(echo(&server, piece).1, expected);
            }
        }
    }
}

#[test]
fn headers_before_the_fragment_header_stay() {
    let pieces = |route: &Route, frame: &[u8]| {
        let mut pieces = fragments(route, UDP, frame, 40);
        for piece in &mut pieces {
            // Hop-by-hop options, a router alert and padding, announced in place of the fragment header.
            let at = ETHERNET + 40;
            piece.splice(at..at, [44, 0, 5, 2, 0, 0, 1, 0]);
            piece[ETHERNET + 6] = 0;
            piece[ETHERNET + 5] += 8;
        }
        pieces
    };
    let route = Route::new(CLIENT_6, SERVER_6);
    let back = route.bounced();
    let answers = pieces(&back, &udp(&back, &payload()));
    let server = server::<true>();
    for (piece, answer) in pieces(&route, &udp(&route, &payload())).iter().zip(answers) {
        assert_eq!(echo(&server, piece).1, answer);
    }
}

#[test]
fn fragment_header_of_a_whole_datagram_says_nothing_to_others() {
    // RFC 6946; the reserved bits of the field are not looked at (RFC 8200 section 4.5).
    for field in [0, 2, 4, 6] {
        let extension = Some((44, fragment_header(UDP, field)));
        let route = Route { extension, ..Route::new(CLIENT_6, SERVER_6) };
        let server = server::<true>();
        let (_, answer) = echo(&server, &udp(&route, b"whole"));
        assert_eq!(answer, udp(&route.bounced(), b"whole"));
        let later = Route { extension: Some((44, fragment_header(UDP, 8))), ..route };
        assert_untouched(&server, &later.frame(UDP, b"later"), PASSED);
    }
}

#[test]
fn later_piece_has_data_where_the_first_has_headers() {
    let route = Route::new(CLIENT_6, SERVER_6);
    let server = server::<true>();
    echo(&server, &fragments(&route, UDP, &udp(&route, &payload()), 40)[0]);
    // What looks like destination options before UDP.
    let later = Route { extension: Some((44, fragment_header(60, 8))), ..route };
    assert_untouched(&server, &later.frame(UDP, &[UDP, 0, 1, 4, 0, 0, 0, 0, 1, 2, 3]), PASSED);
}

#[test]
fn whole_datagram_is_no_first_piece() {
    let server = server::<true>();
    let route = Route::new(CLIENT_4, SERVER_4);
    echo(&server, &udp(&route, &payload()));
    assert_untouched(&server, &fragments(&route, UDP, &udp(&route, &payload()), 40)[1], PASSED);
}

#[test]
fn first_piece_whose_others_cannot_know_what_they_are_is_passed() {
    // The fragment header says "destination options", and only the first piece has what they announce.
    let options = [&[UDP, 0][..], &[1, 4, 0, 0, 0, 0]].concat();
    for field in [0x0001, 0x0000] {
        let extension = [fragment_header(60, field), options.clone()].concat();
        let route = Route { extension: Some((44, extension)), ..Route::new(CLIENT_6, SERVER_6) };
        let frame = udp(&route, b"piece");
        if field == 0 {
            // All in one piece.
            echo(&server::<true>(), &frame);
        } else {
            assert_untouched(&server::<true>(), &frame, passed(Counter::PassedExtension));
        }
    }
}
