//! Packets of every form: tags, options and extension headers, padding, and any part of them out of reach.
//! Each comes back in the form in which it came.

mod support;

use probe::abi::{Counter, link, protocols};
use probe::host::Audience;
use probe::reflect::Outcome;
use support::golden::*;
use support::*;

/// No VLAN tag, one, one of a service, and two.
const TAGS: [&[u8]; 4] =
    [&[], &[0x81, 0, 0x20, 5], &[0x88, 0xa8, 0, 7], &[0x88, 0xa8, 0, 7, 0x81, 0, 0x20, 5]];

/// Chains of IPv6 extension headers: every kind, and as many as there may be.
const CHAINS: [&[u8]; 8] = [&[], &[0], &[60], &[43], &[51], &[44], &[0, 60, 44], &[0, 60, 43, 44, 51, 60]];

/// An IPv6 extension header of this kind that stands in nobody's way.
fn extension(kind: u8, next: u8) -> Vec<u8> {
    match kind {
        // Padding; no segments left; no other fragment; of lengths that only fit their own kind.
        0 | 60 => [&[next, 1, 1, 12][..], &[0; 12]].concat(),
        43 => [&[next, 2, 0, 0][..], &[0x2a; 20]].concat(),
        44 => fragment_header(next, 0),
        51 => [&[next, 4, 0, 0][..], &[0x5a; 20]].concat(),
        _ => panic!("no such extension"),
    }
}

/// `route` with such headers before `protocol`.
fn behind(route: &Route, kinds: &[u8], protocol: u8) -> Route {
    let nexts = kinds.iter().skip(1).chain([&protocol]);
    let headers: Vec<u8> = kinds.iter().zip(nexts).flat_map(|(&kind, &next)| extension(kind, next)).collect();
    Route { extension: kinds.first().map(|&kind| (kind, headers)), ..route.clone() }
}

/// Routes of all forms for `protocol`.
fn forms(protocol: [u8; 2]) -> Vec<Route> {
    let [v4, v6] = routes();
    let with_options =
        [0, 4, 40].map(|length| Route { options: [7; 40][..length].to_vec(), ..v4.clone() }).into_iter();
    let with_extensions = CHAINS.iter().map(|kinds| behind(&v6, kinds, protocol[1]));
    let untagged: Vec<_> = with_options.chain(with_extensions).collect();
    let tagged = TAGS
        .iter()
        .flat_map(|tags| untagged.iter().map(|route| Route { tags: tags.to_vec(), ..route.clone() }));
    tagged.collect()
}

/// A host that answers pings, too.
fn server<const WIRE: bool>() -> Server<WIRE> {
    Server { protocols: protocols::TCP | protocols::UDP | protocols::ICMP, ..Server::usual() }
}

fn way_back<const WIRE: bool>(route: &Route) -> Route {
    if WIRE { route.bounced() } else { route.back() }
}

/// A segment that is mirrored as it is, on loopback, too: behind unconfirmed bytes, without a window scale.
fn segment(route: &Route, flags: u8, payload: &[u8]) -> Tcp {
    Tcp {
        sequence: SEQUENCE.wrapping_add(9),
        acknowledgment: SEQUENCE,
        payload: payload.to_vec(),
        options: aligned_timestamps(TSVAL, TSVAL),
        ..Tcp::new(route, flags)
    }
}

/// Packets of every form and kind, their answers, and what of them is counted as payload.
fn packets_and_answers<const WIRE: bool>() -> Vec<(Vec<u8>, Vec<u8>, u32)> {
    let mut all = Vec::new();
    for route in forms([UDP; 2]) {
        for payload in [&b""[..], b"a", b"datagram"] {
            let answer = udp(&way_back::<WIRE>(&route), payload);
            all.push((udp(&route, payload), answer, payload.len() as u32));
        }
    }
    for route in forms([ICMP, ICMPV6]) {
        for payload in [&b""[..], b"odds!"] {
            let answer = pong(&way_back::<WIRE>(&route), payload);
            all.push((ping(&route, payload), answer, payload.len() as u32));
        }
    }
    for route in forms([TCP; 2]) {
        let back = way_back::<WIRE>(&route);
        for (flags, payload) in
            [(ACK | PSH, &b"segment"[..]), (ACK, b""), (FIN | ACK, b""), (FIN | ACK, b"end")]
        {
            let segment = segment(&route, flags, payload);
            let answer = Tcp { route: back.clone(), ..segment.clone() };
            all.push((segment.frame(), answer.frame(), payload.len() as u32));
        }
        // So small that the form of the packet makes no difference.
        let options = [2, 4, 2, 0];
        for payload in [&b""[..], b"early"] {
            let syn = Tcp { payload: payload.to_vec(), ..syn(&route, &options) };
            let answer = Tcp { route: back.clone(), ..syn_ack(&syn, 0, &options) };
            all.push((syn.frame(), answer.frame(), 0));
        }
    }
    all
}

/// Also with `padding` behind the packet: it stays, unless something is cut off before it.
fn all_forms_come_back<const WIRE: bool>(padding: &[u8]) {
    for (frame, answer, payload) in packets_and_answers::<WIRE>() {
        let (reflected, bytes) = echo(&server::<WIRE>(), &[&frame[..], padding].concat());
        let kept = if frame.len() == answer.len() { padding } else { &[] };
        assert_eq!(bytes, [&answer[..], kept].concat(), "{frame:02x?}");
        assert_eq!(checksum_is_right(&answer), Some(true), "{answer:02x?}");
        assert_ne!(header_checksum_is_right(&answer[network_offset(&answer).unwrap()..]), Some(false));
        assert_eq!(reflected.bytes, payload);
    }
}

#[test]
fn all_forms_come_back_on_loopback() {
    all_forms_come_back::<false>(&[]);
}

#[test]
fn all_forms_come_back_on_the_wire() {
    all_forms_come_back::<true>(&[]);
}

#[test]
fn padding_stays_behind_all_forms() {
    all_forms_come_back::<false>(&[0xaa; 7]);
    all_forms_come_back::<true>(&[0xaa; 7]);
}

/// With any part of a packet out of reach the answer is the same.
fn any_part_may_be_out_of_reach<const WIRE: bool>() {
    let server = server::<WIRE>();
    for (frame, ..) in packets_and_answers::<WIRE>() {
        let mut whole = frame.clone();
        let expected = run(&server, &mut whole);
        for linear in 0..frame.len() {
            let mut bytes = frame.clone();
            let outcome = run_with(&server, &mut Bytes { bytes: &mut bytes, linear, audience: Audience::Us });
            assert_eq!(done(&bytes, &outcome), done(&whole, &expected), "{linear} of {frame:02x?}");
        }
    }
}

#[test]
fn any_part_may_be_out_of_reach_on_loopback() {
    any_part_may_be_out_of_reach::<false>();
}

#[test]
fn any_part_may_be_out_of_reach_on_the_wire() {
    any_part_may_be_out_of_reach::<true>();
}

/// The headers say more than there is.
fn packet_cut_short_stays_as_it_is<const WIRE: bool>() {
    for (frame, ..) in packets_and_answers::<WIRE>() {
        for length in 0..frame.len() {
            let outcome = run(&server::<WIRE>(), &mut frame[..length].to_vec());
            let Outcome::Refused(refusal) = outcome else { panic!("reflected with {length}") };
            assert!(refusal.goes_on(), "{refusal:?} with {length}");
        }
    }
}

#[test]
fn packet_cut_short_stays_as_it_is_on_loopback() {
    packet_cut_short_stays_as_it_is::<false>();
}

#[test]
fn packet_cut_short_stays_as_it_is_on_the_wire() {
    packet_cut_short_stays_as_it_is::<true>();
}

#[test]
fn packets_without_a_link_layer_header_come_back() {
    let server = Wire { link: link::NONE, ..server() };
    for (frame, answer, payload) in packets_and_answers::<true>() {
        if network_offset(&frame) == Some(ETHERNET) {
            let (reflected, bytes) = echo(&server, &frame[ETHERNET..]);
            assert_eq!(bytes, answer[ETHERNET..], "{frame:02x?}");
            assert_eq!(packet_checksum_is_right(&bytes), Some(true));
            assert_eq!(reflected.bytes, payload);
        }
    }
}

#[test]
fn checksum_of_an_ipv4_header_is_right_whatever_it_was() {
    let route = Route::new(CLIENT_4, SERVER_4);
    for number in 0..=u16::MAX {
        let [high, low] = number.to_be_bytes();
        let route = Route { from: ([198, 51, high, low], CLIENT_PORT).into(), ..route.clone() };
        let (_, answer) = echo(&Wire::usual(), &udp(&route, b""));
        assert_eq!(answer, udp(&route.bounced(), b""));
    }
}

#[test]
fn mss_has_room_for_what_is_between_the_headers() {
    let mss = |bytes: u16| [&[2, 4][..], &bytes.to_be_bytes()].concat();
    for route in forms([TCP; 2]) {
        let syn = syn(&route, &mss(65_535));
        let headers = route.headers() - ETHERNET - route.tags.len() + 20;
        let answered = mss(1500 - headers as u16);
        let answer = Tcp { route: route.bounced(), ..syn_ack(&syn, 0, &answered) };
        assert_answer(&Wire::usual(), &syn, &answer, Some(Counter::Handshakes));
    }
}

#[test]
fn seven_extension_headers_are_too_many() {
    for next in [UDP, TCP, 58] {
        let route = behind(&Route::new(CLIENT_6, SERVER_6), &[0, 60, 43, 44, 51, 60, 60], next);
        let other = Route { to: Route::new(CLIENT_6, "2001:db8::8").to, ..route.clone() };
        for (route, outcome) in [(route, passed(Counter::PassedExtension)), (other, NOT_OURS)] {
            let frame = udp(&route, b"far");
            assert_untouched(&server::<true>(), &frame, outcome);
            assert_untouched(&server::<false>(), &frame, outcome);
        }
    }
}

#[test]
fn routing_header_with_stops_left_is_passed() {
    for left in [1, 255] {
        let mut route = behind(&Route::new(CLIENT_6, SERVER_6), &[60, 43], UDP);
        let (_, headers) = route.extension.as_mut().unwrap();
        headers[16 + 3] = left;
        let frame = udp(&route, b"on the way");
        assert_untouched(&server::<true>(), &frame, passed(Counter::PassedExtension));
        assert_untouched(&server::<false>(), &frame, passed(Counter::PassedExtension));
    }
}

#[test]
fn three_tags_are_not_ours() {
    for route in routes() {
        let route = Route { tags: [TAGS[3], TAGS[1]].concat(), ..route };
        assert_untouched(&server::<true>(), &udp(&route, b"deep"), NOT_OURS);
        assert_untouched(&server::<false>(), &udp(&route, b"deep"), NOT_OURS);
    }
}

#[test]
fn what_is_encrypted_is_not_ours() {
    // ESP, alone and behind another header.
    let [v4, v6] = routes();
    for route in [v4, behind(&v6, &[], 50), behind(&v6, &[60], 50)] {
        let frame = route.frame(50, &[0x33; 40]);
        assert_untouched(&server::<true>(), &frame, NOT_OURS);
        assert_untouched(&server::<false>(), &frame, NOT_OURS);
    }
}
